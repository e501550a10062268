/* SPDX-License-Identifier: Apache-2.0 */
/*
 * RENAME_WHITEOUT, by which overlayfs hides a name of the layers beneath: a character device 0:0 takes the old name. On
 * the host it is an empty file with a record, like every device of the guest's.
 */
#pragma once

#include "fileserver/worker/session/pinned.h"
#include "fileserver/worker/session/session.h"

/* Before the rename: a whiteout without a name. A descriptor; -EINVAL where the file system can have none; an errno. */
int whiteout_make(struct session *session, const struct pinned *directory);
/* After it: gives it the name that has become free. 0 or an errno. */
int whiteout_place(struct session *session, int whiteout, const struct pinned *directory, const char *name);
