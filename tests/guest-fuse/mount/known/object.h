/* SPDX-License-Identifier: Apache-2.0 */
/* A table of objects with a root, and one file that it learns, for its tests; needs cmocka.h before it. */
#pragma once

#include <sys/stat.h>

#include "guest-fuse/mount/known/objects.h"

#define ROOT PROTO_ID(7, 0)
#define NODE PROTO_ID(9, 3)

static inline int set_up(void **state)
{
	return objects_new(ROOT, (struct objects **) state);
}

static inline int tear_down(void **state)
{
	objects_free(*state);
	return 0;
}

static inline struct proto_entry entry_of(uint64_t object, uint32_t type)
{
	return (struct proto_entry){ .node = object, .attr = { .mode = type | 0644, .size = 10, .mtime = { 100, 5 } } };
}

static inline int learn(struct objects *objects, uint64_t object, uint32_t type)
{
	struct proto_entry entry = entry_of(object, type);

	return objects_learn(objects, ROOT, "name", &entry, 1);
}
