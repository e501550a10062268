/* SPDX-License-Identifier: Apache-2.0 */
/* Answers on their way to the kernel. */
#pragma once

#include <sys/types.h>
#include <sys/uio.h>

struct thread;
struct uring_entry;

/*
 * Sends the answer to the thread's request: what iov holds, a struct fuse_out_header first. More than 0; or -1 and
 * errno ENOENT: the kernel has an answer already or took the request back, and the caller undoes what the answer gave.
 */
ssize_t reply_send(struct thread *thread, const struct iovec *iov, int count);

/*
 * The same to a request's entry or device, without asking whether there is an answer already: the caller knows by
 * request_answer(). Any thread.
 */
ssize_t reply_write(struct uring_entry *entry, int device, const struct iovec *iov, int count);
