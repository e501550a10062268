/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The protect list: the files that decide what the server does (settings, token, programs ...), which no guest may
 * change. The broker makes it (broker/steering.h), the gate of each worker obeys it (worker/session/protect.h).
 *
 * The list names objects by device and inode number, so it holds by whatever path, hard link or mount a guest comes. It
 * also names entries of directories: for what does not exist yet, for what may be replaced, and for each step of the
 * path to it. A file that is about to become a protected one, such as an editor's new version, is on no list; so
 * nothing that lies directly in the directory of such a file can be changed.
 */
#pragma once

#include <stdint.h>

enum protect_kind {
	/*
	 * device, ino: a directory, in which name must not be made, removed or replaced. If another object lies at name
	 * than the broker has seen there, neither it nor anything beneath it may be changed: the broker does not know
	 * yet what lies there.
	 */
	PROTECT_NAME = 1,
	PROTECT_OBJECT, /* must not be changed, nor opened for writing */
	PROTECT_WAY,    /* a directory whose permissions must not be changed */
	PROTECT_SEALED, /* a directory in which nothing may be changed; deeper levels are free */
	PROTECT_TREE,   /* a directory beneath which nothing may be changed */
};

enum {
	PROTECT_SECRET = 1 << 0, /* NAME: hidden, and so are names that begin with it; OBJECT: not opened at all */
	PROTECT_FOLDED = 1 << 1, /* NAME: the directory may fold case, or have other spellings for the same name */
};

enum { PROTECT_ENTRIES_MAX = 4096, PROTECT_NAME_SIZE = 256 };

/* The list is a memfd that holds an array of these and nothing else, sorted by ino. */
struct protect_entry {
	uint64_t device, ino; /* device: major and minor, 32 bits each */
	uint32_t kind, flags;
	uint32_t subject; /* the broker's number of the setting or file that it protects */
	uint32_t padding;
	uint64_t child_device, child_ino; /* NAME: the object that the broker has seen there; ino 0: none */
	/* Times of birth, so that a reused inode number is not taken for the object; 0, 0: unknown. */
	int64_t birth_seconds, birth_nanoseconds;
	int64_t child_birth_seconds, child_birth_nanoseconds;
	char name[PROTECT_NAME_SIZE];
};

#define PROTECT_DEVICE(major, minor) ((uint64_t) (major) << 32 | (minor))
