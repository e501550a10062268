/* SPDX-License-Identifier: Apache-2.0 */
/* After an object was made at a name, and before anybody is told. */
#pragma once

#include "fileserver/worker/session/pinned.h"
#include "fileserver/worker/session/session.h"

/*
 * Sets the mode that was asked for where a default ACL changed it, records what cannot be real, fills the entry and the
 * directory's attributes. fd: any descriptor of the object; pinned and ret_node as in entries_learn(); name: NULL for a
 * file that has none.
 */
int make_known(struct session *session, const struct pinned *directory, const char *name, int fd, int pinned,
               const struct proto_owner *owner, mode_t mode, uint32_t rdev, struct proto_entry *ret_entry,
               struct proto_attr *ret_parent, struct node **ret_node);

/* Takes back what was made at name and cannot be finished. flags: as of unlinkat(). */
void make_undo(struct session *session, const struct pinned *directory, const char *name, int flags);
