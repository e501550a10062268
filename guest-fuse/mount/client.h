/* SPDX-License-Identifier: Apache-2.0 */
/* One mount: what all parts of the client share. */
#pragma once

#include <stdatomic.h>

#include "guest-fuse/mount/known/ahead.h"
#include "guest-fuse/mount/known/file-binds.h"
#include "guest-fuse/mount/server/forgets.h"
#include "guest-fuse/mount/kernel/threads.h"
#include "guest-fuse/mount/known/objects.h"
#include "guest-fuse/mount/kernel/notifier.h"
#include "guest-fuse/mount/mount-options.h"
#include "guest-fuse/mount/known/recent.h"
#include "guest-fuse/mount/server/stale.h"
#include "guest-fuse/mount/stats.h"
#include "protocol/handshake.h"

struct fuse_session;

struct client {
	const struct options *options;
	struct proto_token token;
	struct proto_proof_reply welcome;
	bool read_only; /* asked for, or the server's word */
	double timeout; /* of names, negative names and attributes in the kernel, in seconds */
	struct objects *objects;
	struct recent recent;
	struct ahead ahead;
	struct forgets forgets;
	struct follow follow;
	struct stale stale;
	struct lanes lanes;
	struct notifier notifier;
	struct stats stats;
	int device; /* /dev/fuse: the descriptor that the mount was made with; the lanes' are clones of it */
	struct fuse_session *fuse;
	uint64_t init_flags;      /* FUSE_* bits that the kernel offered; written before the first reply */
	_Atomic bool initialized; /* the kernel has the answer to INIT */
	_Atomic int dead;         /* 0, or the positive errno that every operation fails with */
	int alive;                /* a FIFO of whoever keeps the mount; closed when the session is over */
	int wake;                 /* eventfd: the keeper looks at everything again */
	_Atomic bool dozing;      /* the keeper sleeps until the next heartbeat: nothing is under way */
};

/* A FUSE node id as the server knows it. */
static inline uint64_t client_node(const struct client *client, uint64_t ino)
{
	return ino == 1 ? client->welcome.root.node : ino;
}

/* The server's node that a request for one of the kernel's is about. */
static inline uint64_t client_target(struct client *client, uint64_t ino)
{
	return follow_target(&client->follow, client_node(client, ino));
}

/*
 * For how many seconds from now the kernel may keep what the server was asked for after since (clock_ns()): the
 * time-out counts from when it was true, however long the answer took.
 */
double client_keep(const struct client *client, int64_t since);

/* Any thread: the keeper looks at everything again. */
void client_wake(struct client *client);
/* A lane's thread, before it waits for the server without an end: the keeper is to watch over it. */
void client_stir(struct client *client);
/*
 * Any thread: the session is over. Every request in flight and every later one fails with error (positive). Only the
 * first call has an effect; true for that one.
 */
bool client_die(struct client *client, int error);
