/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Extended attributes by descriptor (O_PATH too), or by a name in a directory. No symbolic link is followed. Each
 * returns what the system call of that name returns, with a negative errno in place of -1.
 *
 * The way by /proc, which every Linux has, costs three times as much as getxattrat (Linux 6.13) or a call on an open
 * descriptor: so it is tried last.
 */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

/*
 * name: an entry of the directory fd, or NULL: fd's object itself. directory: that object is one; it only decides which
 * way is tried first.
 */
ssize_t xattr_at_get(int fd, const char *name, bool directory, const char *attribute, void *value, size_t size);
ssize_t xattr_at_list(int fd, const char *name, bool directory, char *names, size_t size);

/* flags: those of setxattr(2). */
int xattr_at_set(int fd, const char *attribute, const void *value, size_t size, int flags);
int xattr_at_remove(int fd, const char *attribute);
