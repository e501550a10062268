/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Guests that follow the list: each is told which directories are shared, how they are to be mounted, and when that
 * changes. What they are told opens nothing: a mount is a HELLO of its own.
 *
 * A guest says something at least every GUESTS_SILENCE_MS or is dropped. Its requests are answered in order and one at
 * a time; one that does not read its answers is dropped. All in the loop's thread, but for RESOLVE, which asks the
 * host's file system in a thread of libuv's pool.
 */
#pragma once

#include <uv.h>

#include "fileserver/broker/events.h"
#include "fileserver/broker/shares.h"
#include "protocol/handshake.h"
#include "protocol/log.h"

enum { GUESTS_MAX = 16, GUESTS_SILENCE_MS = 180000, GUESTS_RESOLVE_MAX = 2, GUESTS_TOLD_PATH_MAX = 1024 };

struct guests_share; /* of guests.c */

struct guests {
	uv_loop_t *loop;
	const struct shares *shares;
	struct events *events; /* NULL: nobody is told what containers were refused */

	struct guest *guests; /* kept by guests.c */
	unsigned count, resolving;
	bool closed;
	uint64_t generation;
	struct guests_share *list;
	size_t list_count;
	struct log_limit event_limit; /* of bind-refused, which a guest causes */
};

/* Takes fd, of a guest that has shown its token, when it returns 0; else -EACCES and the refusal. */
int guests_add(struct guests *guests, int fd, struct proto_refusal *ret_refusal);
/* The shares may have changed: compares, and tells everybody if so. */
void guests_look(struct guests *guests);
/* Drops all. The memory must live until the loop has run to its end. */
void guests_close(struct guests *guests);
