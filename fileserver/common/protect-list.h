/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The list of what the server is steered by, which no guest may change: the broker makes it (broker/steering.h), each
 * worker's gate reads it (worker/protect.h).
 *
 * The list names objects by device and inode number, so that it holds by whatever path, hard link or mount a guest
 * comes; and names in directories, for what is not there yet, what is replaced, and each step of the way to it. A file
 * that is about to become one of these, an editor's new version of it say, is not on any list: so nothing at all that
 * lies directly in such a file's directory can be changed.
 */
#pragma once

#include <stdint.h>

enum protect_kind {
	/*
	 * device, ino: a directory; name in it is not made, taken away or replaced. What lies at it and is not what the
	 * broker has seen there, nor anything beneath that, is not changed: the broker knows the next steps only then.
	 */
	PROTECT_NAME = 1,
	PROTECT_OBJECT, /* not changed and not opened for that */
	PROTECT_WAY,    /* a directory whose permissions are not changed */
	PROTECT_SEALED, /* a directory in which nothing is changed, what lies deeper is free */
	PROTECT_TREE,   /* a directory beneath which nothing is changed */
};

enum {
	PROTECT_SECRET = 1 << 0, /* NAME: not shown either, nor names that begin so; OBJECT: not opened at all */
	PROTECT_FOLDED = 1 << 1, /* NAME: the directory may take other spellings for the same name */
};

enum { PROTECT_ENTRIES_MAX = 4096, PROTECT_NAME_SIZE = 256 };

/* The list is an array of these in a memfd of that size, sorted by ino. */
struct protect_entry {
	uint64_t device, ino; /* device: major and minor, 32 bits each */
	uint32_t kind, flags;
	uint32_t subject; /* the broker's number of what it is about */
	uint32_t padding;
	uint64_t child_device, child_ino; /* NAME: what was seen there; ino 0: nothing */
	/* So that an inode number that is used again is not taken for it; 0, 0: not known. */
	int64_t birth_seconds, birth_nanoseconds;
	int64_t child_birth_seconds, child_birth_nanoseconds;
	char name[PROTECT_NAME_SIZE];
};

#define PROTECT_DEVICE(major, minor) ((uint64_t) (major) << 32 | (minor))
