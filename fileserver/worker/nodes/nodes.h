/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The objects that a session knows and the descriptors that it holds: identity, names, references, budget.
 *
 * A node is one inode: its identity (identity.h), the names under which the guest was told of it (places.c), the
 * references that the guest holds, and, while it is used and the budget lasts, an O_PATH descriptor. A node without one
 * is reopened by parent and name and compared by identity: another file under the old name is -ESTALE, never served. A
 * handle is an open file or directory; its descriptor counts against the same budget and serves its node, too.
 *
 * One mutex guards the table. It is never held over a system call that can block: callers pin what they use. Lock
 * order: a directory handle's lock, then the table's.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

#include "protocol/counters.h"
#include "protocol/fields.h"
#include "protocol/lock.h"

struct node;
struct ownership;
struct nodes;

struct handle {
	int fd;
	struct node *node;
	bool directory, readable, writable;
	struct lock lock; /* directories: guards the position of fd */
	/* Of a file, for leases: CLOCK_REALTIME in ns. */
	_Atomic int64_t mtime; /* as it was seen last; 0: never */
	int64_t suspect;       /* since when others seem to store into it, 0: they do not; of the thread that looks */
	/* private to nodes/ */
	struct handle *next_of_node;
	uint64_t id;
	uint32_t users;
	uint32_t kept_round; /* nodes->kept_round when it was kept */
	bool closed;
	bool kept; /* nodes_keeps() */
};

/* A descriptor of a node that is not closed before nodes_fd_done(). */
struct node_fd {
	int fd;
	struct node *node;
	struct handle *handle; /* the handle whose descriptor it is, or NULL */
};

/*
 * Makes a table with a root node. Takes over root, an O_PATH descriptor, on success. counters may be NULL. Returns 0,
 * -ENOMEM, or an error of statx(2) on root.
 */
int nodes_new(int root, uint32_t nodes_max, uint32_t descriptors_max, struct proto_counters *counters,
              struct nodes **ret_nodes);
/* How to open a name in a directory with O_PATH: resolve_pin() unless set. */
typedef int nodes_pin(void *context, int directory, const char *name);
void nodes_set_pin(struct nodes *nodes, nodes_pin *pin, void *context);
void nodes_free(struct nodes *nodes);

/*
 * For leases. Whether a watch of its own tells of changes in a directory, or of a file; is_watched() also notes that
 * somebody asked, has_watch() does not; is_asked() says whether somebody has, and was_asked() whether since it was
 * called last. Any thread, without a lock.
 */
void nodes_set_watched(struct node *node, bool watched);
bool nodes_has_watch(const struct node *node);
bool nodes_is_watched(struct node *node);
bool nodes_is_asked(const struct node *node);
bool nodes_was_asked(struct node *node);
/*
 * Called, with the table's lock held, before a watched object leaves the table. fd: its descriptor or -EBADF. told: the
 * guest still refers to it.
 */
typedef void nodes_freed(void *context, uint64_t id, int fd, bool told);
void nodes_set_freed(struct nodes *nodes, nodes_freed *freed, void *context);
/* Where the guest was told of the node last: pins the directory. Returns 0, or -ESTALE as nodes_parent(). */
int nodes_place(struct nodes *nodes, struct node *node, struct node **ret_parent, char ret_name[PROTO_NAME_MAX + 1]);
/*
 * Pins a directory and returns it with the name of an object in it that is no directory: the only name that the guest
 * was told of, in a watched directory. Returns 0, or -ENOENT.
 */
int nodes_watched_name(struct nodes *nodes, struct node *node, struct node **ret_directory,
                       char ret_name[PROTO_NAME_MAX + 1]);

/* The mask for statx(2) that nodes need. NODES_STATX_SUBVOLUME is STATX_SUBVOL of Linux 6.10. */
enum { NODES_STATX_SUBVOLUME = 0x8000, NODES_STATX = STATX_BASIC_STATS | STATX_BTIME | NODES_STATX_SUBVOLUME };

/* The root's id. The root needs no reference and cannot be forgotten. */
uint64_t nodes_root(const struct nodes *nodes);

/* Unpins a node that nodes_get() (ids.h), nodes_learn() or nodes_parent() pinned. */
void nodes_put(struct nodes *nodes, struct node *node);
uint64_t nodes_id(const struct node *node);
mode_t nodes_type(const struct node *node);
/* Pins the directory where the node was last seen. Returns 0, or -ESTALE for the root and what never had a name. */
int nodes_parent(struct nodes *nodes, struct node *node, struct node **ret_parent);
/* The device number: major in the high 32 bits, minor in the low ones. */
uint64_t nodes_device(const struct node *node);
/* Whether stx describes an object on the device of the share's root. */
bool nodes_on_root_device(const struct nodes *nodes, const struct statx *stx);

/* As devices_meet() (identity.h), before an object is looked for or learned. reach_stat() calls it. */
void nodes_meet(struct nodes *nodes, const struct statx *stx, int fd, const char *name);

/*
 * Finds or makes the node of the object at name in parent that stx describes, pins it, notes the place, and counts a
 * reference of the guest if reference is set. pinned: an O_PATH descriptor of it, taken over on success, or -EBADF. At
 * the limit of nodes others are forgotten; the guest then finds them stale and looks them up again. Returns 0, or
 * -ENOMEM when all nodes are in use.
 */
int nodes_learn(struct nodes *nodes, struct node *parent, const char *name, const struct statx *stx, int pinned,
                bool reference, struct node **ret_node);
/* The id of the node with the identity in stx, or 0. */
uint64_t nodes_find(struct nodes *nodes, const struct statx *stx);
/*
 * Before and after a name is removed. nodes_needs_pin(): whether the object is known and has no descriptor. Then the
 * caller must open one (O_PATH) first, since nothing leads to the object afterwards, and the guest may still use it (as
 * a working directory, by an O_PATH descriptor). nodes_orphan() always takes over pinned, that descriptor or -EBADF.
 * The removed name was name in parent; parent is NULL when there was none. An object that has another name is no
 * orphan.
 */
bool nodes_needs_pin(struct nodes *nodes, const struct statx *stx);
void nodes_orphan(struct nodes *nodes, const struct statx *stx, const struct node *parent, const char *name,
                  int pinned);
/*
 * After ENOSPC: what the guest has just removed occupies room until its FORGET arrives. Waits for one FORGET, at most
 * 100 ms. Returns true when an orphan has gone, so that another try makes sense.
 */
bool nodes_wait_for_orphans(struct nodes *nodes);
/*
 * Notes that the object with the identity in stx, if it is known, is now at name in parent and no longer at the old
 * place.
 */
void nodes_moved(struct nodes *nodes, const struct statx *stx, const struct node *old_parent, const char *old_name,
                 struct node *parent, const char *name);
/*
 * Whether every name that the guest may go by, from the root down, still leads to this object. Returns 0; -ESTALE when
 * the host has put another object there, or none; or an error of the system calls. A guest's kernel goes by a name for
 * a second; before it changes anything it is told that the name is stale, and looks it up again.
 */
int nodes_check(struct nodes *nodes, struct node *node);
/* Drops count references of the guest, or all if there are fewer. The guest may send any id and count. */
void nodes_forget(struct nodes *nodes, uint64_t id, uint64_t count);

/*
 * Gets a descriptor of the node, reopened if necessary. Returns 0, -ESTALE, or an error of opening it. Undone by
 * nodes_fd_done().
 */
int nodes_fd(struct nodes *nodes, struct node *node, struct node_fd *ret_fd);
/* The same, but a directory that is not where it was is not searched for, which takes long: -ESTALE. */
int nodes_fd_in_place(struct nodes *nodes, struct node *node, struct node_fd *ret_fd);
void nodes_fd_done(struct nodes *nodes, struct node_fd *fd);

/*
 * Closes descriptors that nobody has used for a while: they keep files on disk that the host has deleted, and disks
 * mounted. To be called when nodes_timer(), a timerfd, is readable, which happens only while there is something to do.
 */
int nodes_timer(const struct nodes *nodes);
void nodes_tick(struct nodes *nodes);

/*
 * Whether a file was found missing from its name a moment ago. The guest's kernel looks such a name up again, once.
 * What this look-up finds must be opened at once, or a program may get -ESTALE where files come and go quickly.
 */
bool nodes_names_move(const struct nodes *nodes);

/*
 * The view of the object, kept for the ctime in stx; see host/ownership.c. node may be NULL: then the node with the
 * identity in stx. nodes_keep_view(): view is NULL for the default view; bare is kept separately.
 */
enum nodes_view { NODES_VIEW_UNKNOWN, NODES_VIEW_DEFAULT, NODES_VIEW_KEPT };
enum nodes_view nodes_view_at(struct nodes *nodes, const struct node *node, const struct statx *stx,
                              struct ownership *ret_view);
void nodes_keep_view(struct nodes *nodes, struct node *node, const struct statx *stx, const struct ownership *view,
                     bool bare);
/* Drops the view before the record changes, maybe within one tick of the clock. */
void nodes_drop_view(struct nodes *nodes, const struct statx *stx);

/*
 * Makes a pinned handle. Takes over fd on success. *ret_id is its id on the wire. Returns 0, -ENFILE when the budget is
 * used up, or -ENOMEM.
 */
int nodes_open(struct nodes *nodes, struct node *node, int fd, bool directory, bool readable, bool writable,
               uint64_t *ret_id, struct handle **ret_handle);
/*
 * For leases: who else writes to a file. This session's own descriptors that are open for writing are counted, since
 * while there is one, the host's kernel does not say whether there are others. A handle counts by itself, until it is
 * closed; nodes_write_begin() and nodes_write_end() are around the call that opens it. begin: true for the first: the
 * caller finds out whether there are others, and tells by nodes_note_others() with asked. Any thread.
 */
/* ASKED: it is not known, or not any more. */
enum nodes_others { NODES_OTHERS_NONE, NODES_OTHERS_WRITE, NODES_OTHERS_ASKED };
bool nodes_write_begin(struct nodes *nodes, struct node *node);
void nodes_write_end(struct nodes *nodes, struct node *node);
/* True: this session writes itself, and *ret_others is what was found before. */
bool nodes_writes(struct nodes *nodes, struct node *node, enum nodes_others *ret_others);
/* That there are no others is to be found out again, unless the session writes itself. */
void nodes_ask_again(struct nodes *nodes, struct node *node);
/* Nobody writes to it as far as was found: neither this session nor others. */
bool nodes_nobody_writes(struct nodes *nodes, struct node *node);
/*
 * What was found when the kernel was asked, unless the session has begun to write meanwhile. Returns what holds:
 * whether others may write.
 */
bool nodes_note_others(struct nodes *nodes, struct node *node, bool others, bool asked);
/*
 * Pins a handle of an open file, of each file only one, the next after the last call with this place; 0 at the
 * beginning. NULL: there is no more.
 */
struct handle *nodes_next_open_file(struct nodes *nodes, uint32_t *place);
/* Pins a handle of this file that is open for reading; NULL: there is none. */
struct handle *nodes_reader(struct nodes *nodes, struct node *node);
/* So few handles are open that some may stay so which nobody uses at the moment: a quarter of the budget is left. */
bool nodes_may_keep_handles(struct nodes *nodes);
/*
 * The guest may keep this handle when nobody uses it any more, and gives it back when it is told ENFILE. As long as
 * there are such handles, what the guest has removed does not lose its descriptor to new ones.
 */
void nodes_keeps(struct nodes *nodes, uint64_t handle);

/* Unpins a handle that nodes_handle() (ids.h) or nodes_open() pinned. */
void nodes_handle_put(struct nodes *nodes, struct handle *handle);
/* Makes the handle's id invalid; the handle is closed when nobody uses it any more. */
void nodes_close(struct nodes *nodes, struct handle *handle);
