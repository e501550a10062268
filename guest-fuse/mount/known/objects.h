/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The objects (files, directories and so on) that the kernel holds references to. For each: its last known name and
 * parent, the kernel's look-up count (nlookup of fuse(4)), how many references the server counts for us, and which
 * state of it the kernel was last told. Every function may be called from any thread.
 *
 * An id is the server's node id (PROTO_ID). Functions do nothing when the id is not in the table.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "protocol/fields.h"

struct answer;
struct objects;
struct validity;

/* 0 or -ENOMEM. root is the id of the root directory, which stays in the table. */
int objects_new(uint64_t root, struct objects **ret_objects);
void objects_free(struct objects *objects);
size_t objects_count(struct objects *objects);

/* The most objects that the server keeps for this session (WELCOME). Before this call there is no limit. */
void objects_limit(struct objects *objects, size_t most);
/* How many the kernel should forget: 0 below seven eighths of the limit, else what is above three quarters of it. */
size_t objects_excess(struct objects *objects);
/*
 * Up to most ids, in the order in which the objects were learned. Each call goes on where the last one ended, and wraps
 * around. The root and open files are left out, directories too unless asked for. Returns how many.
 */
size_t objects_oldest(struct objects *objects, bool directories, uint64_t *ids, size_t most);
/* A file is opened (change 1) or closed (-1). buffered: not with O_DIRECT. */
void objects_in_use(struct objects *objects, uint64_t id, bool buffered, int change);
/* Whether it is open somewhere without O_DIRECT, so that reads go through the page cache. */
bool objects_read_buffered(struct objects *objects, uint64_t id);

/*
 * Call before a reply tells the kernel of an object: adds one look-up of the kernel's, and references that the server
 * counts for us. The name leads to this object then, and to no other one; "" is no name (O_TMPFILE). 0; -ENOMEM; -EIO
 * when the server's entry is impossible: the root as a child, an invalid id, or a type that differs from the object's.
 * After an error, or when the kernel did not take the reply, the caller gives the references back (server/forgets.h).
 */
int objects_learn(struct objects *objects, uint64_t parent, const char *name, const struct proto_entry *entry,
                  uint64_t references);

/* The same without a reference of the server's: only for an object that is in the table. */
bool objects_learn_again(struct objects *objects, uint64_t parent, const char *name, const struct proto_entry *entry);

/* At this time (clock_ns()) the kernel sent a LOOKUP whose answer was this object. */
void objects_looked_up(struct objects *objects, uint64_t id, int64_t asked);
/* The time of the last such LOOKUP; 0: none. */
int64_t objects_looked_up_at(struct objects *objects, uint64_t id);

/*
 * The kernel's FORGET. Returns how many of the server's references are to be given back: all once the kernel's look-up
 * count is 0, none before.
 */
uint64_t objects_forget(struct objects *objects, uint64_t id, uint64_t lookups);

/* The kernel is told these attributes in answer to a question. 0, or -EIO when the type differs from the object's. */
int objects_told(struct objects *objects, uint64_t id, const struct proto_attr *attr);
/* The same in answer to a change of them from here, after which the kernel may keep them for a moment. */
int objects_told_change(struct objects *objects, uint64_t id, const struct proto_attr *attr);

/*
 * Its place: the parent and name under which the kernel was told of it last. It stays the same when the name leads to
 * another object or to nothing since. False: not in the table, the root, or no name is known.
 */
bool objects_place(struct objects *objects, uint64_t id, uint64_t *ret_parent, struct proto_name *ret_name);
/*
 * The object that the kernel was last told of under this name; 0: none is known. Of a file with several names only its
 * place leads to it, so the kernel may know more names than these.
 */
uint64_t objects_named(struct objects *objects, uint64_t parent, const char *name);
/* Whether an object has this place, also one that the name does not lead to any more: the kernel may know the name. */
bool objects_was_named(struct objects *objects, uint64_t parent, const char *name);
/*
 * All objects whose place is in this directory, or is this name in it, also those to which their names do not lead any
 * more. name NULL: whatever their names are; parent 0: every object but the root. 0, and the caller frees *ret_ids; or
 * -ENOMEM.
 */
int objects_children(struct objects *objects, uint64_t parent, const char *name, uint64_t **ret_ids, size_t *ret_count);
bool objects_is_directory(struct objects *objects, uint64_t id);
/* A directory was opened, under a lease, by a request of events (held_now()); whether one ever was, and then. */
void objects_note_listed(struct objects *objects, uint64_t id, uint64_t events);
bool objects_listed(struct objects *objects, uint64_t id, uint64_t *ret_events);

/* The name leads to nothing any more. */
void objects_unname(struct objects *objects, uint64_t parent, const char *name);

/*
 * PROTO_ATTR_* flags that the server sent with an answer to a request of since (clock_ns()); and those that still hold:
 * they are valid and nothing was changed from here meanwhile. Else 0.
 */
void objects_note_flags(struct objects *objects, uint64_t id, uint32_t flags, int64_t since);
uint32_t objects_flags(struct objects *objects, const struct validity *validity, uint64_t id);

/*
 * After a RENAME from here: the object's new parent and name. Without memory for the name it is among the directory's
 * children, and no name leads to it.
 */
void objects_moved(struct objects *objects, uint64_t id, uint64_t parent, const char *name);

/* It was changed from here: nothing that was read of it before may reach the kernel any more. */
void objects_changed(struct objects *objects, uint64_t id);
/*
 * clock_ns() of the last change from here, or when the server was first known to have another size or time; 0: never.
 * For an object that the kernel has forgotten since it may be too late a time (of another object's change), never too
 * early a one.
 */
int64_t objects_changed_at(struct objects *objects, uint64_t id);

/* Its contents were changed from here, through the page cache or in step with it. attr: the state afterwards. */
void objects_wrote(struct objects *objects, uint64_t id, const struct proto_attr *attr);
/* Something other than the contents was changed from here: the page cache is as right as before. */
void objects_touched(struct objects *objects, uint64_t id, const struct proto_attr *attr);
/* Its contents were changed in a way that the page cache does not show. */
void objects_unsure(struct objects *objects, uint64_t id);

/*
 * A file is opened (change 1) or closed (-1) in a mode that allows a writable shared mapping. What was written through
 * a mapping may be nowhere but in the kernel's pages.
 */
void objects_mappable(struct objects *objects, uint64_t id, int change);
bool objects_may_be_mapped(struct objects *objects, uint64_t id);

/*
 * A write left a page that the kernel does not keep, since it has only part of it: what unread says, until something is
 * read. It need not be right.
 */
void objects_missing(struct objects *objects, uint64_t id);
/* How many bytes of this file are not in the page cache: its size, or 0 when the cache has its contents. */
uint64_t objects_unread(struct objects *objects, uint64_t id);

/*
 * A file that was opened by a request of since (clock_ns()) was not changed from here since, and the page cache has its
 * contents, which are of the size and time that the kernel was told of last.
 */
bool objects_is_unchanged(struct objects *objects, uint64_t id, int64_t since);

/*
 * The kernel is to be given these attributes: for how many seconds it may keep them (validity.h). If it may, that is
 * noted, before it is looked at whether they still hold: so whoever acts on an INVALIDATE finds the note, or the answer
 * is 0 here. The object is in the table.
 */
double objects_keep(struct objects *objects, const struct validity *validity, uint64_t id,
                    const struct proto_attr *attr, const struct answer *answer);
/* The kernel asks for its attributes (change 1); has got its answer (-1). */
void objects_asking(struct objects *objects, uint64_t id, int change);
/* Contents of it are read into the page cache. */
void objects_paged(struct objects *objects, uint64_t id);

/* What the kernel may have of a regular file. */
struct objects_kernel {
	bool attributes; /* from before the last change */
	bool pages;      /* likewise */
	bool asking;     /* it asks for its attributes right now */
	int64_t asked;   /* clock_ns() when it was last given some; 0: never */
	int64_t changed; /* as objects_changed_at() */
};
/* False: it is none, or not in the table. */
bool objects_kernel(struct objects *objects, uint64_t id, struct objects_kernel *ret_kernel);
/* Call before the kernel is told to drop its attributes; pages: these as well. */
void objects_kernel_told(struct objects *objects, uint64_t id, bool pages);

struct objects_opened {
	bool keep_cache;  /* the page cache still holds this state */
	bool attr_differ; /* the kernel was told another size or time, and keeps it; it is to be told now */
	uint32_t drop;    /* for objects_dropped(); 0: the kernel drops nothing */
};
/*
 * OPEN was answered with attr. 0 or -EIO as objects_told(). When the kernel is told not to keep its pages, it drops
 * them some time after the answer, in the thread that opens: until objects_dropped() no other open is told to keep
 * them.
 */
int objects_opened(struct objects *objects, uint64_t id, const struct proto_attr *attr,
                   struct objects_opened *ret_opened);
/* The file that was opened with this drop was used or closed: the kernel has dropped the pages by now. */
void objects_dropped(struct objects *objects, uint64_t id, uint32_t drop);
