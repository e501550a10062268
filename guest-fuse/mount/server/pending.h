/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The requests that may be waiting for the server: one for each thread that serves. Whoever watches over them, or ends
 * them, finds them here.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>

enum { PENDING_MAX = 64 };

struct request;
struct server;

struct pending {
	struct server *server;
	struct request *all[PENDING_MAX];
	_Atomic unsigned count; /* of all; grows only */
};

/* NULL: out of memory. */
struct pending *pending_new(struct server *server);
void pending_free(struct pending *pending);

/* One caller at a time, at most PENDING_MAX times: request can be seen by other threads from here on. */
void pending_add(struct pending *pending, struct request *request);

/* The server has not answered one of them yet. Any thread. */
bool pending_are_there(struct pending *pending);
/* How many of the connections that they go over are there. Any thread. */
unsigned pending_connected(struct pending *pending);
/* Every connection breaks, so that nobody waits for the server any more. Any thread. */
void pending_kill(struct pending *pending);
/*
 * Any thread: the session is over. Every request in flight and every later one fails with error (positive). Only the
 * first call has an effect; true for that one.
 */
bool pending_fail(struct pending *pending, int error);
