/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A sequence of random file operations, done on two directories that must behave alike: a local one and a mount.
 *
 * An operation is a function of the seed and its number alone, so that any part of a sequence can be done again.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum { MODEL_SLOTS = 12, MODEL_PATH = 64, MODEL_DATA = 20000, MODEL_SIZE_MAX = 300000 };

#define MODEL_KINDS(X)                                                                                                 \
	X(open, 14)                                                                                                    \
	X(close, 5)                                                                                                    \
	X(read, 3)                                                                                                     \
	X(write, 5)                                                                                                    \
	X(pread, 5)                                                                                                    \
	X(pwrite, 6)                                                                                                   \
	X(ftruncate, 3)                                                                                                \
	X(truncate, 2)                                                                                                 \
	X(fallocate, 2)                                                                                                \
	X(lseek, 2)                                                                                                    \
	X(mkdir, 6)                                                                                                    \
	X(rmdir, 3)                                                                                                    \
	X(unlink, 5)                                                                                                   \
	X(rename, 7)                                                                                                   \
	X(link, 4)                                                                                                     \
	X(symlink, 3)                                                                                                  \
	X(readlink, 2)                                                                                                 \
	X(mknod, 2)                                                                                                    \
	X(stat, 5)                                                                                                     \
	X(lstat, 4)                                                                                                    \
	X(fstat, 4)                                                                                                    \
	X(chmod, 2)                                                                                                    \
	X(fchmod, 2)                                                                                                   \
	X(chown, 1)                                                                                                    \
	X(utimens, 1)                                                                                                  \
	X(list, 3)                                                                                                     \
	X(setxattr, 1)                                                                                                 \
	X(getxattr, 1)                                                                                                 \
	X(listxattr, 1)                                                                                                \
	X(access, 1)                                                                                                   \
	X(fsync, 1)                                                                                                    \
	X(copy_range, 2)                                                                                               \
	X(map_read, 2)                                                                                                 \
	X(map_write, 2)                                                                                                \
	X(tmpfile, 1)                                                                                                  \
	X(link_open, 1)                                                                                                \
	X(open_again, 2)

enum model_kind {
#define KIND(name, weight) MODEL_##name,
	MODEL_KINDS(KIND)
#undef KIND
};

struct model_operation {
	enum model_kind kind;
	int slot, other; /* open descriptors; a slot that is not open gives EBADF on both sides */
	int base, base2; /* where a path begins: a slot, or MODEL_SLOTS for the root */
	char path[MODEL_PATH], path2[MODEL_PATH];
	int flags;
	mode_t mode;
	off_t offset;
	size_t length;
	uint64_t seed; /* of the bytes that are written */
};

/* One directory with what is open in it. */
struct model_side {
	const char *name;
	int root;
	int fds[MODEL_SLOTS];
};

struct model_result {
	int64_t value; /* what the call returned, or 0 for a descriptor */
	int error;     /* errno, 0 for none */
	uint64_t seen; /* a hash of what came back: data, attributes, names */
	char text[160];
};

/* generate.c */
uint64_t model_next(uint64_t *state);
void model_generate(uint64_t seed, uint64_t number, struct model_operation *ret_operation);
const char *model_kind_name(enum model_kind kind);
void model_print(uint64_t number, const struct model_operation *operation);

/* operations.c */
void model_do(struct model_side *side, const struct model_operation *operation, struct model_result *ret_result);
uint64_t model_hash(uint64_t hash, const void *bytes, size_t size);

/* trees.c: false after printing how they differ, unless quiet. */
bool model_same_trees(const char *left, const char *right, bool contents_only, bool quiet);
void model_remove_tree(const char *path);
