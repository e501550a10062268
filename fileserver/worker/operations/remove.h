/* SPDX-License-Identifier: Apache-2.0 */
/* Before a name is taken away. */
#pragma once

#include "fileserver/worker/session/pinned.h"
#include "fileserver/worker/session/session.h"

/* What is about to lose its name stays within reach: an O_PATH descriptor when it needs one, or -EBADF. */
int remove_pin(struct session *session, const struct pinned *directory, const char *name, const struct statx *stx);
