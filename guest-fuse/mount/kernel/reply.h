/* SPDX-License-Identifier: Apache-2.0 */
/* Answers on their way to the kernel. */
#pragma once

#include <sys/types.h>
#include <sys/uio.h>

struct thread;

/*
 * The answer to the thread's request: what iov holds, a struct fuse_out_header first. More than 0; or -1 and errno
 * ENOENT: the kernel has an answer already or took the request back, so that the caller undoes what it gave.
 */
ssize_t reply_send(struct thread *thread, const struct iovec *iov, int count);
