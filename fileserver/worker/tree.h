/* SPDX-License-Identifier: Apache-2.0 */
/* What the operations on names share: a directory in use, and the reply's entry for an object in it. */
#pragma once

#include "fileserver/worker/attributes.h"

/* A directory that an operation works in. */
struct tree_directory {
	struct node *node;
	struct node_fd fd;
	struct space_claim claim; /* of the name that is made */
};

/* 0, -ESTALE, -ENOTDIR, or what opening says. Undone by tree_leave(). */
int tree_enter(struct session *session, uint64_t id, struct tree_directory *ret_directory);
/*
 * The same for an operation that changes something in it: -ESTALE also when the directory is not any more where the
 * guest knows it to be (nodes_check()).
 */
int tree_enter_to_change(struct lane *lane, uint64_t id, struct tree_directory *ret_directory);
/* The same before a name is made in it; also -ENOSPC: the reserve is not for the guest. */
int tree_enter_to_make(struct lane *lane, uint64_t id, struct tree_directory *ret_directory);
void tree_leave(struct session *session, struct tree_directory *directory);
/* nodes_check(), unless the guest says that it has just looked the names up. */
int tree_check(const struct lane *lane, struct node *node);

/*
 * The directory's attributes after a change of names in it. What is done is done: when they cannot be had, mode is 0,
 * and the guest asks for them.
 */
void tree_changed(struct session *session, const struct tree_directory *directory, struct proto_attr *ret_attr);

/*
 * The entry of what stx says is at name, which gains a reference. pinned: an O_PATH descriptor of it, taken on success,
 * or -EBADF. ret_node, when not NULL, is pinned for the caller.
 */
int tree_entry(struct session *session, const struct tree_directory *directory, const char *name, struct statx *stx,
               int pinned, struct proto_entry *ret_entry, struct node **ret_node);

/*
 * After making an object at name: sets the mode that was asked for where a default ACL changed it, records what cannot
 * be real, fills the entry and the directory's attributes. fd: any descriptor of the object; pinned as in tree_entry().
 */
int tree_made(struct session *session, const struct tree_directory *directory, const char *name, int fd, int pinned,
              const struct proto_owner *owner, mode_t mode, uint32_t rdev, struct proto_entry *ret_entry,
              struct proto_attr *ret_parent, struct node **ret_node);

/* Takes back what was made at name and cannot be finished; with lifting. flags: as of unlinkat(). */
void tree_unmake(struct session *session, const struct tree_directory *directory, const char *name, int flags);

/* An O_PATH descriptor of what is at name; with lifting. */
int tree_pin_name(struct session *session, int directory, const char *name);
