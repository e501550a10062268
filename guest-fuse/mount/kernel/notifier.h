/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tells the kernel to drop pages and to forget names, from a thread of its own: the kernel waits for pages that are
 * being filled and for directories that are being changed, and those that do so must not wait for it.
 */
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

struct client;

enum { NOTIFIER_QUEUE = 256 };

struct notifier {
	struct client *client;
	pthread_mutex_t lock;
	pthread_cond_t wake;
	pthread_t thread;
	bool running, ending;
	struct notifier_range {
		uint64_t ino, offset, length; /* length 0: to the end */
	} queue[NOTIFIER_QUEUE];
	unsigned first, count;
	uint64_t queued, done; /* ranges, ever */
	_Atomic bool pruning;  /* asked for, and not yet done */
	bool prune;            /* asked for, and not yet begun */
	pthread_cond_t progress;
};

void notifier_init(struct notifier *notifier);
/* Starts the thread. 0 or a negative errno. */
int notifier_start(struct notifier *notifier, struct client *client);
/* Any thread, often: has the kernel forget what is more than the server may know (prune.h), when there is such. */
void notifier_prune(struct notifier *notifier);
/* Any thread. When the queue is full the range is left to the time-outs. */
void notifier_invalidate(struct notifier *notifier, uint64_t ino, uint64_t offset, uint64_t length);
/*
 * Has the kernel drop pages of a file, after writing what was changed in them by way of mappings, and waits for it, for
 * so long as the lanes need that others hold. length 0: to the end. False: it did not happen.
 */
bool notifier_drop(struct notifier *notifier, uint64_t ino, uint64_t offset, uint64_t length);
/* Waits for the thread; the mount is gone, so that nothing blocks it. */
void notifier_stop(struct notifier *notifier);
