/* SPDX-License-Identifier: Apache-2.0 */
/* The parts of a reply that describe an object at a name, and a directory whose names were changed. */
#pragma once

#include "fileserver/worker/session/pinned.h"
#include "fileserver/worker/session/session.h"

/*
 * Fills the entry of the object at name that stx describes; its node gains a reference. pinned: an O_PATH descriptor of
 * it, taken over on success, or -EBADF. ret_node may be NULL; if not, the node is pinned for the caller.
 */
int entries_learn(struct session *session, const struct pinned *directory, const char *name, struct statx *stx,
                  int pinned, struct proto_entry *ret_entry, struct node **ret_node);

/*
 * The same for an object whose attributes were read already, and stand in the entry. fresh: just now, so that the node
 * may keep the view.
 */
int entries_learn_read(struct session *session, const struct pinned *directory, const char *name,
                       const struct statx *stx, int pinned, bool fresh, struct proto_entry *entry,
                       struct node **ret_node);

/*
 * The directory's attributes after a change of names in it. The change cannot fail any more: if they cannot be read,
 * mode is 0, and the guest asks for them.
 */
void entries_changed(struct session *session, const struct pinned *directory, struct proto_attr *ret_attr);
/* The same when its attributes afterwards are at hand. */
void entries_left(const struct pinned *directory, const struct statx *stx);
/* Whether the directory, as it is in stx, was changed last by the session, and by nobody else since. */
bool entries_are_left(const struct pinned *directory, const struct statx *stx);
