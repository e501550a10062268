/* SPDX-License-Identifier: Apache-2.0 */
/* The step before a name is removed. */
#pragma once

#include "fileserver/worker/session/pinned.h"
#include "fileserver/worker/session/session.h"

/*
 * Keeps an object within reach that is about to lose its name: an O_PATH descriptor of it if it needs one (see
 * nodes_needs_pin()), else -EBADF.
 */
int remove_pin(struct session *session, const struct pinned *directory, const char *name, const struct statx *stx);
