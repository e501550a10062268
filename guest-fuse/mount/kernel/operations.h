/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The kernel's requests, each with at most one request to the server, or two for a bound file (kernel/rebind.h). Every
 * operation runs in a thread that serves the kernel, and has the request at hand in thread_current().
 */
#pragma once

struct client;
struct fuse_lowlevel_ops;

/* All operations but init. */
void operations_fill(const struct client *client, struct fuse_lowlevel_ops *ret_ops);
