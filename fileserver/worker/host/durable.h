/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is to be on the host's disk before the guest has its answer. Files that are opened with O_SYNC or O_DSYNC are so
 * opened here; what is done in other ways, and what the mount's options sync and dirsync ask for, is brought there by
 * these. Each returns 0 or a negative errno, 0 at once where nobody asked.
 */
#pragma once

#include "fileserver/worker/session/session.h"

/* Names were changed in the directory that this is any descriptor of (dirsync). */
int durable_names(struct session *session, int directory);

/* Contents were changed by way of fd, which is open for writing, and not by WRITE (sync). */
int durable_contents(const struct session *session, int fd);

/* Attributes were changed, of what fd is any descriptor of (sync). */
int durable_attributes(struct session *session, int fd);

/* After WRITE, whose PROTO_WRITE_* say what was asked for. */
int durable_write(int fd, uint32_t flags);
