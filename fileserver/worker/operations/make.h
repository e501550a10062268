/* SPDX-License-Identifier: Apache-2.0 */
/* The steps after an object was made at a name and before the guest is told of it. */
#pragma once

#include "fileserver/worker/session/pinned.h"
#include "fileserver/worker/session/session.h"

/*
 * Sets the mode that was asked for where a default ACL changed it, records what cannot be real, and fills the entry and
 * the directory's attributes. fd: any descriptor of the object. pinned and ret_node: as in entries_learn(). name: NULL
 * for a file without a name. Returns 0 or a negative errno.
 */
int make_known(struct session *session, const struct pinned *directory, const char *name, int fd, int pinned,
               const struct proto_owner *owner, mode_t mode, uint32_t rdev, struct proto_entry *ret_entry,
               struct proto_attr *ret_parent, struct node **ret_node);

/* Removes the object made at name, which cannot be finished. flags: those of unlinkat(2). */
void make_undo(struct session *session, const struct pinned *directory, const char *name, int flags);
