/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Brings changes to the host's disk before the guest has its reply. A file opened with O_SYNC or O_DSYNC is opened so
 * on the host; these functions are for everything else, and for the mount options sync and dirsync. Each returns 0 or a
 * negative errno, and 0 at once when neither was asked for.
 */
#pragma once

#include "fileserver/worker/session/session.h"

/* After a change of names (dirsync). directory: any descriptor of it. */
int durable_names(struct session *session, int directory);

/* After a change of contents, not by WRITE (sync). fd must be open for writing. */
int durable_contents(const struct session *session, int fd);

/* After a change of attributes (sync). fd: any descriptor of the object. */
int durable_attributes(struct session *session, int fd);

/* After WRITE, whose flags (PROTO_WRITE_*) say what is to be on disk. */
int durable_write(int fd, uint32_t flags);
