/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The server as this mount knows it: where it is, what its WELCOME said, and whether the session with it lasts. What
 * this room needs of the threads that read the kernel's requests it is given as functions.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>

#include "protocol/counters.h"
#include "protocol/handshake.h"

struct forgets;
struct mount_options;
struct stale;

/* Any thread may call them; data is their first argument. */
struct server_threads {
	/* Somebody waits for the kernel's next request, or is about to. */
	bool (*are_reading)(const void *data);
	/* For a thread that has a request: how many others have one. */
	unsigned (*others)(const void *data);
	/* Sees to it that somebody waits for the kernel's next request. */
	void (*grow)(void *data);
	void *data;
};

struct server {
	const struct mount_options *options;
	const struct proto_token *token;
	struct proto_proof_reply welcome;
	struct server_threads threads;
	struct forgets *forgets;
	struct stale *stale;
	struct proto_counters counters; /* of messages, by operation */
	_Atomic int dead;               /* 0, or the positive errno that every operation fails with */
	int alive;                      /* a FIFO of whoever keeps the mount; closed when the session is over */
	int wake;                       /* eventfd: the keeper looks at everything again */
	_Atomic bool dozing;            /* the keeper sleeps until the next heartbeat: nothing is under way */
};

/* NULL: out of memory. options and token must outlive it; alive and wake are closed with it. */
struct server *server_new(const struct mount_options *options, const struct proto_token *token);
void server_free(struct server *server);

/* Any thread: the keeper looks at everything again. */
void server_wake(struct server *server);
/* Before a thread waits for the server without an end: the keeper is to watch over it. */
void server_stir(struct server *server);

/* Sees to it that somebody waits for the kernel's next request. Any thread. */
static inline void server_grow(struct server *server)
{
	server->threads.grow(server->threads.data);
}

/* References to a node that nobody needs any more; they go back with others. Any thread. */
void server_give_back(struct server *server, uint64_t node, uint64_t references);

/* One message went out at begin (clock_ns()); result: negative for an error; bytes: of its data. Any thread. */
void server_count(struct server *server, enum proto_op op, int result, int64_t begin, size_t bytes);
