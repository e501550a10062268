/* SPDX-License-Identifier: Apache-2.0 */
/*
 * RENAME_WHITEOUT, by which overlayfs hides a name of a lower layer: a character device 0:0 takes the old name. On the
 * host it is an empty file with a record, like every device that a guest makes.
 */
#pragma once

#include "fileserver/worker/session/pinned.h"
#include "fileserver/worker/session/session.h"

/*
 * Before the rename: makes a whiteout without a name. Returns a descriptor; -EINVAL: the file system lacks O_TMPFILE or
 * user.* attributes; or another negative errno.
 */
int whiteout_make(struct session *session, const struct pinned *directory);
/* After the rename: gives the whiteout the old name. Returns 0 or a negative errno. */
int whiteout_place(struct session *session, int whiteout, const struct pinned *directory, const char *name);
