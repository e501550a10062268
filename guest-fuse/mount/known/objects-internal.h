/* SPDX-License-Identifier: Apache-2.0 */
/* The table of objects: private to objects.c, objects-names.c and objects-contents.c. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "guest-fuse/mount/known/hash-table.h"

#include "guest-fuse/mount/known/names.h"
#include "protocol/fields.h"
#include "protocol/lock.h"

/* One state of a file. Two states with equal stamps have equal contents. */
struct stamp {
	uint64_t size;
	int64_t mtime, ctime;
	uint32_t mtime_ns, ctime_ns;
};

enum contents {
	CONTENTS_NONE,   /* never opened: the page cache is empty */
	CONTENTS_KNOWN,  /* the page cache holds parts of the state that object.contents names */
	CONTENTS_UNSURE, /* it may hold another state */
};

struct object {
	struct named named; /* its last known place; the name is the object's */
	uint64_t id;
	uint64_t lookups, references;
	int64_t changed, looked_up;
	struct stamp told, contents;
	int64_t flags_at;
	uint64_t listed_events;
	uint32_t type, flags; /* PROTO_ATTR_* as the server said at flags_at */
	uint8_t state;        /* enum contents */
	bool out_of_memory, listed;
	bool missing;      /* contents are known, and most likely not all of them are in the page cache */
	int64_t kept;      /* clock_ns() of the oldest attributes that the kernel may have of it; 0: it has none */
	uint16_t asking;   /* questions for its attributes that are under way; stays at the largest value */
	int64_t asked;     /* clock_ns() when the last one was answered */
	int64_t wrote;     /* clock_ns() when a write from here was answered last */
	int64_t paged;     /* clock_ns() of the oldest page that the kernel may have of it; 0: it has none */
	uint16_t mappable; /* open files that allow a shared mapping; stays at the largest value */
	uint32_t opens, buffered; /* open files; those that use the page cache */
	uint32_t drop;            /* numbers the states for which the kernel was to drop its pages */
	bool dropping;            /* it may not have done so yet for the last of them */
	UT_hash_handle hh;
};

enum { OBJECTS_GONE = 1024 };

struct gone {
	uint64_t id;
	int64_t changed; /* its last change */
	int64_t others;  /* the last change of any object that stood here before */
};

struct objects {
	struct lock lock; /* guards all but count and most */
	struct object *table;
	struct names names;
	uint64_t root;
	_Atomic size_t count, most; /* objects; 0: no limit */
	struct object *hand;        /* where objects_oldest() goes on: after this one; NULL: with the first */
	/* Objects that were changed and that the kernel has forgotten since, by their slot (modulo OBJECTS_GONE). */
	struct gone gone[OBJECTS_GONE];
};

/* NULL: not in the table. */
struct object *objects_find(struct objects *objects, uint64_t id) LOCK_HELD(objects->lock);

/* The kernel is told of the object under this name: its place. 0; -ENOMEM: the place is as it was. */
int objects_settle(struct objects *objects, struct object *object, uint64_t parent, const char *name)
        LOCK_HELD(objects->lock);
/* The object has no place any more. */
void objects_unsettle(struct objects *objects, struct object *object) LOCK_HELD(objects->lock);

struct stamp objects_stamp(const struct proto_attr *attr);
/*
 * The kernel is told these in answer to a question. If size or time is another one, it drops the pages by itself, and
 * what came before this answer must not reach it any more.
 */
void objects_tell(struct object *object, const struct proto_attr *attr);
