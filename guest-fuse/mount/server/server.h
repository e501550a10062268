/* SPDX-License-Identifier: Apache-2.0 */
/*
 * This mount's session with the server: where the server is, what its WELCOME said, and whether the session lasts.
 * Which threads read the kernel's requests is not known in this folder: struct server_threads has functions for it.
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
	/* Wakes or starts a thread if nobody waits for the kernel's next request. */
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
	int alive;                      /* a FIFO that tells the mount's owner; closed when the session is over */
	_Atomic uint64_t
	        acknowledged; /* sequence of the last INVALIDATE that was acted on; the keeper tells the server */
	int wake;             /* eventfd that wakes the keeper */
	_Atomic bool dozing;  /* no request is under way, and the keeper sleeps until the next heartbeat */
};

/* NULL: out of memory. options and token must outlive it; alive and wake are closed with it. */
struct server *server_new(const struct mount_options *options, const struct proto_token *token);
void server_free(struct server *server);

/* Wakes the keeper, which looks at everything again. Any thread. */
void server_wake(struct server *server);
/* Called before a thread waits for the server without a limit: from now on the keeper looks at its request. */
void server_stir(struct server *server);

/* See server_threads. Any thread. */
static inline void server_grow(struct server *server)
{
	server->threads.grow(server->threads.data);
}

/* Gives back references to a node, some time later and together with others. Any thread. */
void server_give_back(struct server *server, uint64_t node, uint64_t references);

/* Closes a handle of the server's, in the same way. Any thread. */
void server_close_later(struct server *server, uint64_t handle);

/* Counts one message that was sent at begin (clock_ns()). result: negative for an error. bytes: of data. Any thread. */
void server_count(struct server *server, enum proto_op op, int result, int64_t begin, size_t bytes);
