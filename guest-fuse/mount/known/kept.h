/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Handles of regular files that stay open at the server after the guest has closed them, so that the next open for
 * reading needs no message (PROTO_ATTR_KEEP). All opens of a file that come while the lease on its contents holds share
 * one. What such a handle leads to is the object that was opened, whatever becomes of its names. Any thread.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "protocol/fields.h"

struct answer;
struct kept;

struct kept_file {
	uint64_t node, handle;
	int64_t since;   /* clock_ns() before the server was asked */
	uint64_t events; /* held_now() then */
	struct proto_attr attr;
};

/* A handle is to be closed at the server. Called without a lock. */
typedef void kept_close(void *data, uint64_t handle);

/* NULL: out of memory. */
struct kept *kept_new(kept_close *close, void *data);
/* The session is over: handles are not closed one by one. */
void kept_free(struct kept *kept);

/*
 * The server allows to keep this handle. Returns it with one user, or NULL: it is the caller's alone, since there is no
 * memory. A handle of this node from before is kept no longer.
 */
struct kept_file *kept_add(struct kept *kept, uint64_t node, uint64_t handle, const struct answer *answer,
                           const struct proto_attr *attr);
/* The handle of this node, with one user more, or NULL. Whether the lease still holds is the caller's to find out. */
struct kept_file *kept_take(struct kept *kept, uint64_t node);
/* What is known of that handle; false: there is none. */
bool kept_look(struct kept *kept, uint64_t node, struct kept_file *ret_file);
/* A user less. The last one of a handle that is kept no longer closes it. */
void kept_put(struct kept *kept, struct kept_file *file);
/* The handle of this node, or of all, is kept no longer than somebody uses it. */
void kept_drop(struct kept *kept, uint64_t node);
void kept_drop_all(struct kept *kept);
