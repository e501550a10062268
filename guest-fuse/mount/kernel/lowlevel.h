/* SPDX-License-Identifier: Apache-2.0 */
/* The kernel's side of a mount: libfuse's low-level session over the lanes' own descriptors. */
#pragma once

#include <sys/uio.h>

#include "guest-fuse/mount/client.h"

/* After client->device is there, before the lanes start. 0 or -ENOMEM, -EINVAL. */
int session_new(struct client *client);
void session_free(struct client *client);

/* The lane's thread: answers the request in its buffer. */
void session_process(struct lane *lane);

/*
 * A reply to the lane's request: what iov holds, a struct fuse_out_header first. 0; -1 and errno ENOENT: the kernel has
 * an answer already or took the request back, so that the caller undoes what it gave.
 */
ssize_t session_reply(struct lane *lane, const struct iovec *iov, int count);
