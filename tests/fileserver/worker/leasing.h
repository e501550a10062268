/* SPDX-License-Identifier: Apache-2.0 */
/* Leases on a scratch directory, without a session: what the guest would be told. Each fails the test when it cannot.
 */
#pragma once

#include "fileserver/worker/leases/leases.h"
#include "fileserver/worker/nodes/nodes.h"
#include "protocol/counters.h"
#include "protocol/lock.h"

enum { LEASING_TOLD = 1024 };

struct leasing {
	struct nodes *nodes;
	struct leases *leases;
	struct proto_counters counters;
	pthread_t thread;
	int end; /* eventfd */
	bool running;
	_Atomic bool acknowledges; /* the thread reads it while a test changes it */
	struct lock lock;          /* guards what follows */
	struct proto_invalidate_request told[LEASING_TOLD];
	unsigned count;
	uint64_t synced; /* the last ticket */
	unsigned synced_count;
};

/* most: as leases_new(). */
void leasing_begin(struct leasing *leasing, uint32_t most);
/* Starts the thread. acknowledges: each message is acknowledged at once. */
void leasing_run(struct leasing *leasing, bool acknowledges);
void leasing_end(struct leasing *leasing);

/* Learns a directory or file below a parent (NULL: the root), with so many references of the guest's; pinned. */
struct node *leasing_learn(struct leasing *leasing, struct node *parent, const char *name, const char *path,
                           unsigned references);
/* leases_hold() of a node. */
bool leasing_hold(struct leasing *leasing, struct node *node);

/* Waits until a message about this directory and name, with all of these bits, has come. Its index. */
unsigned leasing_wait(struct leasing *leasing, uint64_t directory, const char *name, uint32_t what);
/* The message at an index. */
struct proto_invalidate_request leasing_told(struct leasing *leasing, unsigned index);
unsigned leasing_count(struct leasing *leasing);

/* Runs a shell command in the scratch directory: a foreign process. */
void leasing_elsewhere(const char *command);
