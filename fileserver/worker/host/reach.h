/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Getting at objects on the host, past the owner's own mode bits where that is allowed (lift.h). Each returns 0 or a
 * descriptor, or a negative errno.
 */
#pragma once

#include "fileserver/worker/session/session.h"

/* statx of a descriptor, and of a name in a directory (no link followed, nothing mounted by looking). */
int reach_stat(struct session *session, int fd, struct statx *ret_stx);
int reach_stat_name(struct session *session, int directory, const char *name, struct statx *ret_stx);

/* An O_PATH descriptor of what is at name. */
int reach_pin(struct session *session, int directory, const char *name);

/* open(2)'s flags for PROTO_OPEN_*. */
int reach_flags(uint32_t flags);
/* Opens a pinned regular file as PROTO_OPEN_* say. */
int reach_open(struct session *session, int pinned, uint32_t flags);
/* Makes a regular file and opens it with open(2)'s flags. */
int reach_create(struct session *session, int directory, const char *name, int flags, mode_t mode);
