/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the client knows of each object that the kernel references: where it is, how often the kernel and the server
 * count it, and which state of it the kernel was told. Every function may be called from any thread.
 *
 * Ids are the wire's (PROTO_ID); the root's is nodes_root(). Functions that are given an id that is not known do
 * nothing.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "protocol/fields.h"

struct nodes;

/* 0 or -ENOMEM. root is never forgotten. */
int nodes_new(uint64_t root, struct nodes **ret_nodes);
void nodes_free(struct nodes *nodes);
size_t nodes_count(struct nodes *nodes);

/* How many the server may know for us; until then there is no limit. */
void nodes_limit(struct nodes *nodes, size_t most);
/* How many the kernel is to forget: 0 while they are fewer than seven eighths of that, else all beyond three quarters.
 */
size_t nodes_excess(struct nodes *nodes);
/*
 * Ids of nodes, at most as many as asked for, in the order in which they were learned, going on where the last call
 * ended and beginning again after the last: never the root, nor a file that is open; directories only when asked for.
 * Returns how many.
 */
size_t nodes_oldest(struct nodes *nodes, bool directories, uint64_t *ids, size_t most);
/* A file is opened (1) or closed (-1); buffered: not for direct I/O. */
void nodes_in_use(struct nodes *nodes, uint64_t id, bool buffered, int change);
/* Whether somebody has it open who reads by way of the page cache. */
bool nodes_read_buffered(struct nodes *nodes, uint64_t id);

/*
 * Before a reply names an object to the kernel: one more look-up of the kernel's, and references more that the server
 * counts for us. 0; -ENOMEM; -EIO when the server lies: the root as a child, an id of no such form, or another type
 * than the object had. After an error, and after a reply that the kernel did not take, the caller gives the references
 * back (forgets.h).
 */
int nodes_learn(struct nodes *nodes, uint64_t parent, const char *name, const struct proto_entry *entry,
                uint64_t references);

/* The same for an object whose server's references are held elsewhere: only when it is known. */
bool nodes_learn_again(struct nodes *nodes, const struct proto_entry *entry);

/* The kernel drops look-ups of its own. Returns how many references the server is to drop: 0 while it is known. */
uint64_t nodes_forget(struct nodes *nodes, uint64_t id, uint64_t lookups);

/* The kernel is told these attributes. 0, or -EIO when the type differs from before. */
int nodes_told(struct nodes *nodes, uint64_t id, const struct proto_attr *attr);

/* Where an object was last seen. False: it is not known, or the root, or its name is not. */
bool nodes_place(struct nodes *nodes, uint64_t id, uint64_t *ret_parent, struct proto_name *ret_name);

/*
 * The server said at since (clock_ns() before it was asked) what PROTO_ATTR_* tell of an object's extended attributes;
 * and what is known of them, for timeout seconds or until a change from here.
 */
void nodes_note_flags(struct nodes *nodes, uint64_t id, uint32_t flags, int64_t since);
uint32_t nodes_flags(struct nodes *nodes, uint64_t id, double timeout);

/* Own RENAME, done: the object's new place. */
void nodes_moved(struct nodes *nodes, uint64_t id, uint64_t parent, const char *name);

/* Something of the object was changed from here: what was read of it earlier must not reach the kernel any more. */
void nodes_changed(struct nodes *nodes, uint64_t id);
/*
 * clock_ns() of the last nodes_changed() or nodes_wrote(), 0 for never; for a node that the kernel has forgotten never
 * earlier than it was.
 */
int64_t nodes_changed_at(struct nodes *nodes, uint64_t id);

/* The contents were changed from here, and the kernel has the same in its page cache; attr is the state afterwards. */
void nodes_wrote(struct nodes *nodes, uint64_t id, const struct proto_attr *attr);
/* Something else was changed from here: the page cache is as good as it was before. */
void nodes_touched(struct nodes *nodes, uint64_t id, const struct proto_attr *attr);
/* The contents were changed in a way that the page cache does not show. */
void nodes_unsure(struct nodes *nodes, uint64_t id);

/*
 * A file is opened (1) or closed (-1) in a way that allows a shared mapping: what was changed by way of one may be
 * nowhere but in the kernel's pages.
 */
void nodes_mappable(struct nodes *nodes, uint64_t id, int change);
bool nodes_may_be_mapped(struct nodes *nodes, uint64_t id);

/* How many bytes the kernel is to read when it opens this file: its size, or 0 when the page cache has its contents. */
uint64_t nodes_unread(struct nodes *nodes, uint64_t id);

struct nodes_opened {
	bool keep_cache;  /* the page cache still holds this state */
	bool attr_differ; /* the kernel was told another size or time */
	uint32_t drop;    /* for nodes_dropped(); 0: nothing is dropped */
};
/*
 * OPEN answered with attr. 0 or -EIO as nodes_told(). A kernel that is not to keep its pages drops them when the thread
 * that opens has come so far, some time after the answer: until nodes_dropped() no other is told to keep them.
 */
int nodes_opened(struct nodes *nodes, uint64_t id, const struct proto_attr *attr, struct nodes_opened *ret_opened);
/* The file that was opened with this drop is used or closed, so that its pages have been dropped. */
void nodes_dropped(struct nodes *nodes, uint64_t id, uint32_t drop);
