/* SPDX-License-Identifier: Apache-2.0 */
/* What a reply says of an object at a name, and of the directory whose names were changed. */
#pragma once

#include "fileserver/worker/session/pinned.h"
#include "fileserver/worker/session/session.h"

/*
 * The entry of what stx says is at name, which gains a reference. pinned: an O_PATH descriptor of it, taken on success,
 * or -EBADF. ret_node, when not NULL, is pinned for the caller.
 */
int entries_learn(struct session *session, const struct pinned *directory, const char *name, struct statx *stx,
                  int pinned, struct proto_entry *ret_entry, struct node **ret_node);

/*
 * The directory's attributes after a change of names in it. What is done is done: when they cannot be had, mode is 0,
 * and the guest asks for them.
 */
void entries_changed(struct session *session, const struct pinned *directory, struct proto_attr *ret_attr);
