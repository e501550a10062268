/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the client knows of each object that the kernel references: where it is, how often the kernel and the server
 * count it, and which state of it the kernel was told. Every function may be called from any thread.
 *
 * Ids are the wire's (PROTO_ID); the root's is objects_root(). Functions that are given an id that is not known do
 * nothing.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "protocol/fields.h"

struct objects;
struct validity;

/* 0 or -ENOMEM. root is never forgotten. */
int objects_new(uint64_t root, struct objects **ret_objects);
void objects_free(struct objects *objects);
size_t objects_count(struct objects *objects);

/* How many the server may know for us; until then there is no limit. */
void objects_limit(struct objects *objects, size_t most);
/* How many the kernel is to forget: 0 while they are fewer than seven eighths of that, else all beyond three quarters.
 */
size_t objects_excess(struct objects *objects);
/*
 * Ids of objects, at most as many as asked for, in the order in which they were learned, going on where the last call
 * ended and beginning again after the last: never the root, nor a file that is open; directories only when asked for.
 * Returns how many.
 */
size_t objects_oldest(struct objects *objects, bool directories, uint64_t *ids, size_t most);
/* A file is opened (1) or closed (-1); buffered: not for direct I/O. */
void objects_in_use(struct objects *objects, uint64_t id, bool buffered, int change);
/* Whether somebody has it open who reads by way of the page cache. */
bool objects_read_buffered(struct objects *objects, uint64_t id);

/*
 * Before a reply names an object to the kernel: one more look-up of the kernel's, and references more that the server
 * counts for us. 0; -ENOMEM; -EIO when the server lies: the root as a child, an id of no such form, or another type
 * than the object had. After an error, and after a reply that the kernel did not take, the caller gives the references
 * back (forgets.h).
 */
int objects_learn(struct objects *objects, uint64_t parent, const char *name, const struct proto_entry *entry,
                  uint64_t references);

/* The same for an object whose server's references are held elsewhere: only when it is known. */
bool objects_learn_again(struct objects *objects, const struct proto_entry *entry);

/* The kernel asked at this time (clock_ns()) where a name leads, and the answer was this object. */
void objects_looked_up(struct objects *objects, uint64_t id, int64_t asked);
/* When it did so last; 0: not yet. */
int64_t objects_looked_up_at(struct objects *objects, uint64_t id);

/* The kernel drops look-ups of its own. Returns how many references the server is to drop: 0 while it is known. */
uint64_t objects_forget(struct objects *objects, uint64_t id, uint64_t lookups);

/* The kernel is told these attributes. 0, or -EIO when the type differs from before. */
int objects_told(struct objects *objects, uint64_t id, const struct proto_attr *attr);

/* Where an object was last seen. False: it is not known, or the root, or its name is not. */
bool objects_place(struct objects *objects, uint64_t id, uint64_t *ret_parent, struct proto_name *ret_name);

/*
 * The server said at since (clock_ns() before it was asked) what PROTO_ATTR_* tell of an object's extended attributes;
 * and what is known of them, as long as it is valid or until a change from here.
 */
void objects_note_flags(struct objects *objects, uint64_t id, uint32_t flags, int64_t since);
uint32_t objects_flags(struct objects *objects, const struct validity *validity, uint64_t id);

/* Own RENAME, done: the object's new place. */
void objects_moved(struct objects *objects, uint64_t id, uint64_t parent, const char *name);

/* Something of the object was changed from here: what was read of it earlier must not reach the kernel any more. */
void objects_changed(struct objects *objects, uint64_t id);
/*
 * clock_ns() of the last objects_changed() or objects_wrote(), 0 for never; for a object that the kernel has forgotten
 * never earlier than it was.
 */
int64_t objects_changed_at(struct objects *objects, uint64_t id);

/* The contents were changed from here, and the kernel has the same in its page cache; attr is the state afterwards. */
void objects_wrote(struct objects *objects, uint64_t id, const struct proto_attr *attr);
/* Something else was changed from here: the page cache is as good as it was before. */
void objects_touched(struct objects *objects, uint64_t id, const struct proto_attr *attr);
/* The contents were changed in a way that the page cache does not show. */
void objects_unsure(struct objects *objects, uint64_t id);

/*
 * A file is opened (1) or closed (-1) in a way that allows a shared mapping: what was changed by way of one may be
 * nowhere but in the kernel's pages.
 */
void objects_mappable(struct objects *objects, uint64_t id, int change);
bool objects_may_be_mapped(struct objects *objects, uint64_t id);

/* How many bytes the kernel is to read when it opens this file: its size, or 0 when the page cache has its contents. */
uint64_t objects_unread(struct objects *objects, uint64_t id);

struct objects_opened {
	bool keep_cache;  /* the page cache still holds this state */
	bool attr_differ; /* the kernel was told another size or time */
	uint32_t drop;    /* for objects_dropped(); 0: nothing is dropped */
};
/*
 * OPEN answered with attr. 0 or -EIO as objects_told(). A kernel that is not to keep its pages drops them when the
 * thread that opens has come so far, some time after the answer: until objects_dropped() no other is told to keep them.
 */
int objects_opened(struct objects *objects, uint64_t id, const struct proto_attr *attr,
                   struct objects_opened *ret_opened);
/* The file that was opened with this drop is used or closed, so that its pages have been dropped. */
void objects_dropped(struct objects *objects, uint64_t id, uint32_t drop);
