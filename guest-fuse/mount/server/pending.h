/* SPDX-License-Identifier: Apache-2.0 */
/*
 * All requests that may be waiting for the server: one for each thread that serves the kernel. The keeper, interrupts
 * and the end of the session find them here.
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

/* Adds one; from here on other threads see it. One caller at a time, at most PENDING_MAX times. */
void pending_add(struct pending *pending, struct request *request);

/* Whether at least one of them waits for the server. Any thread. */
bool pending_are_there(struct pending *pending);
/* How many of their connections are up. Any thread. */
unsigned pending_connected(struct pending *pending);
/* Breaks every connection, so that nobody waits for the server any more. Any thread. */
void pending_kill(struct pending *pending);
/*
 * Ends the session: every request under way and every later one fails with error (a positive errno). Only the first
 * call has an effect; true for that one. Any thread.
 */
bool pending_fail(struct pending *pending, int error);
