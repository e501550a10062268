/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names that the kernel was told not to exist, without a time limit: those that it must look up again when the
 * directory changes. Each one that is taken out of the table without a change is for the caller to have the kernel
 * forget.
 *
 * Every function may be called from any thread.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "protocol/fields.h"

struct absent;

struct absent_name {
	uint64_t parent;
	struct proto_name name;
};

/* At most so many names. NULL: out of memory. */
struct absent *absent_new(size_t most);
void absent_free(struct absent *absent);
size_t absent_count(struct absent *absent);

/*
 * Call before the kernel is told. A name that is there already becomes the newest. 0; 1: there was no room, the oldest
 * name was taken out and is in ret_evicted; -ENOMEM: nothing has changed; -EINVAL, -ENAMETOOLONG: not a name.
 */
int absent_add(struct absent *absent, uint64_t parent, const char *name, struct absent_name *ret_evicted);
/* The name exists, or the kernel has forgotten it. False: it was not there. */
bool absent_remove(struct absent *absent, uint64_t parent, const char *name);
/* Takes up to most names of a directory (parent 0: of any) out, the oldest first. Returns how many. */
size_t absent_take(struct absent *absent, uint64_t parent, struct absent_name *ret_names, size_t most);
