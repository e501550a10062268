/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which directory it is, whatever its path: another one under the same name is told apart even where the inode number
 * was used again, and the same one is known again after its file system was unmounted and mounted.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum { IDENTITY_HANDLE_MAX = 128 };

struct identity {
	uint64_t filesystem; /* its id where it has one, else the device's number */
	uint64_t ino;
	int64_t birth; /* nanoseconds since 1970, 0 where the file system does not tell */
	uint32_t handle_type, handle_size;
	uint8_t handle[IDENTITY_HANDLE_MAX]; /* the kernel's file handle, which has the inode's generation */
};

/* Of a descriptor, O_PATH or not. 0 or a negative errno. */
int identity_of(int fd, struct identity *ret_identity);
/* Of a directory by its path, links followed. 0, -ENOTDIR, or what open says. */
int identity_of_directory(const char *path, struct identity *ret_identity);
bool identity_equal(const struct identity *left, const struct identity *right);
