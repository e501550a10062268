/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The objects that a session knows, and the descriptors that it holds: identity, names, references, budget.
 *
 * A node is one inode: its identity (identity.h), the names under which the guest was told of it (places.c), the
 * references that the guest holds, and, while it is used and the budget lasts, an O_PATH descriptor. A node without one
 * is reopened by parent and name and compared by identity: another file under the old name is -ESTALE, never served. A
 * handle is an open file or directory; its descriptor counts against the same budget and serves as its node's, too.
 *
 * One mutex guards the table. It is never held over a system call that can block: the callers pin what they use.
 * Lock order: a directory handle's lock, the table's.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

#include "protocol/counters.h"
#include "protocol/lock.h"

struct node;
struct ownership;
struct nodes;

struct handle {
	int fd;
	struct node *node;
	bool directory, readable, writable;
	struct lock lock; /* directories: the position of fd */
	/* private to nodes.c */
	struct handle *next_of_node;
	uint64_t id;
	uint32_t users;
	bool closed;
};

/* A descriptor of a node that cannot be closed while it is used. */
struct node_fd {
	int fd;
	struct node *node;
	struct handle *handle; /* whose descriptor it is, or NULL */
};

/* Takes root on success. counters may be NULL. 0, -ENOMEM, or what statx says of root. */
int nodes_new(int root, uint32_t nodes_max, uint32_t descriptors_max, struct proto_counters *counters,
              struct nodes **ret_nodes);
/* How to pin a name of a directory; resolve_pin() unless set. */
typedef int nodes_pin(void *context, int directory, const char *name);
void nodes_set_pin(struct nodes *nodes, nodes_pin *pin, void *context);
void nodes_free(struct nodes *nodes);

/* The mask for statx that nodes need; the last is STATX_SUBVOL of Linux 6.10. */
enum { NODES_STATX_SUBVOLUME = 0x8000, NODES_STATX = STATX_BASIC_STATS | STATX_BTIME | NODES_STATX_SUBVOLUME };

/* The root's id; it needs no reference and cannot be forgotten. */
uint64_t nodes_root(const struct nodes *nodes);

/* A node that was pinned (nodes-ids.h, nodes_learn()) is not in use any more. */
void nodes_put(struct nodes *nodes, struct node *node);
uint64_t nodes_id(const struct node *node);
mode_t nodes_type(const struct node *node);
/* The directory that a node was last seen in, pinned; -ESTALE for the root and for what never had a name. */
int nodes_parent(struct nodes *nodes, struct node *node, struct node **ret_parent);
/* Major number in the high 32 bits, minor in the low ones. */
uint64_t nodes_device(const struct node *node);
/* Whether this is the device that the share's root is on. */
bool nodes_on_root_device(const struct nodes *nodes, const struct statx *stx);

/* Before an object is looked for or learned, as devices_meet() (identity.h): reach_stat() does it. */
void nodes_meet(struct nodes *nodes, const struct statx *stx, int fd, const char *name);

/*
 * The node of what statx says is at name in parent: found or made, pinned, its place noted, and one reference of the
 * guest's counted when reference is set. pinned: an O_PATH descriptor of it, taken on success, or -EBADF. At the limit
 * of nodes others are forgotten, which the guest then finds stale and looks up again; -ENOMEM when all are in use.
 */
int nodes_learn(struct nodes *nodes, struct node *parent, const char *name, const struct statx *stx, int pinned,
                bool reference, struct node **ret_node);
/* The id of the node with this identity, or 0. */
uint64_t nodes_find(struct nodes *nodes, const struct statx *stx);
/*
 * Before and after a name is taken away. Whether the object with this identity is known and has no descriptor: then the
 * caller pins it first, since nothing would lead to it afterwards. The guest may go on using it (a working directory,
 * an O_PATH descriptor). nodes_orphan() takes pinned, an O_PATH descriptor of it or -EBADF; the name that was taken
 * away is name in parent, or parent is NULL when there was none. What still has a name is no orphan.
 */
bool nodes_needs_pin(struct nodes *nodes, const struct statx *stx);
void nodes_orphan(struct nodes *nodes, const struct statx *stx, const struct node *parent, const char *name,
                  int pinned);
/*
 * After ENOSPC: what the guest removed a moment ago takes room as long as its FORGET is on its way. Waits for one, 100
 * ms at most. True: something left, and trying again makes sense.
 */
bool nodes_wait_for_orphans(struct nodes *nodes);
/* Notes that the object with this identity, if it is known, is now at name in parent, and not at the old place. */
void nodes_moved(struct nodes *nodes, const struct statx *stx, const struct node *old_parent, const char *old_name,
                 struct node *parent, const char *name);
/*
 * Whether every name that the guest may go by, from the root down, leads to this object: 0; -ESTALE when the host has
 * put something else there, or nothing; or what looking says. A guest's kernel goes by a name for a second; before it
 * changes anything it is told that the name is stale, and looks it up again.
 */
int nodes_check(struct nodes *nodes, struct node *node);
/* Takes count references of the guest's back, at most as many as there are; an unknown id is passed over. */
void nodes_forget(struct nodes *nodes, uint64_t id, uint64_t count);

/* A descriptor of the node, reopened if need be: 0, -ESTALE, or what opening says. Undone by nodes_fd_done(). */
int nodes_fd(struct nodes *nodes, struct node *node, struct node_fd *ret_fd);
void nodes_fd_done(struct nodes *nodes, struct node_fd *fd);

/*
 * Descriptors that nobody has used for a while are closed, since they keep what the host has deleted on the disk, and
 * keep a disk mounted. nodes_tick() does it; due whenever the descriptor nodes_timer() is readable, which it is only as
 * long as there is something to do.
 */
int nodes_timer(const struct nodes *nodes);
void nodes_tick(struct nodes *nodes);

/*
 * Whether a file was not at its name any more a moment ago. The guest's kernel looks such a name up again, once: what
 * that look-up finds is to be pinned, or a program may get -ESTALE where files come and go quickly.
 */
bool nodes_names_move(const struct nodes *nodes);

/*
 * How the object appears, kept for the ctime that stx has; see ownership.c. node may be NULL: then the one with that
 * identity. A view of NULL is the default one; bare is kept apart.
 */
enum nodes_view { NODES_VIEW_UNKNOWN, NODES_VIEW_DEFAULT, NODES_VIEW_KEPT };
enum nodes_view nodes_view_at(struct nodes *nodes, const struct node *node, const struct statx *stx,
                              struct ownership *ret_view);
void nodes_keep_view(struct nodes *nodes, struct node *node, const struct statx *stx, const struct ownership *view,
                     bool bare);
/* The record changes, maybe within one tick of the clock. */
void nodes_drop_view(struct nodes *nodes, const struct statx *stx);

/*
 * Makes a handle of an open descriptor, which is taken on success. -ENFILE when the budget is spent. *ret_id is the id
 * on the wire.
 */
int nodes_open(struct nodes *nodes, struct node *node, int fd, bool directory, bool readable, bool writable,
               uint64_t *ret_id, struct handle **ret_handle);
/* A handle that was pinned (nodes-ids.h, nodes_open()) is not in use any more. */
void nodes_handle_put(struct nodes *nodes, struct handle *handle);
/* Its id leads nowhere from now on; it is closed once nobody uses it. */
void nodes_close(struct nodes *nodes, struct handle *handle);
