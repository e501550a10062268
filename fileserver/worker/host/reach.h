/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Access to objects on the host, past the owner's own mode bits where that is allowed (lift.h). Each returns 0 or a
 * descriptor, or a negative errno.
 */
#pragma once

#include "fileserver/worker/session/session.h"

/* statx(2) of a descriptor, and of a name in a directory: no symbolic link is followed, no automount is triggered. */
int reach_stat(struct session *session, int fd, struct statx *ret_stx);
int reach_stat_name(struct session *session, int directory, const char *name, struct statx *ret_stx);

/* An O_PATH descriptor of the object at name. */
int reach_pin(struct session *session, int directory, const char *name);

/* The flags of open(2) for PROTO_OPEN_*. */
int reach_flags(uint32_t flags);
/* Opens a regular file by its O_PATH descriptor. flags: PROTO_OPEN_*. */
int reach_open(struct session *session, int pinned, uint32_t flags);
/* Makes a regular file and opens it. flags: those of open(2). */
int reach_create(struct session *session, int directory, const char *name, int flags, mode_t mode);
