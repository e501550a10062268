/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the server is steered by is not changed through a share: settings, policy, token, log, programs, the control
 * socket's directory, the units of the service manager. The broker makes the list (broker/steering.h), every worker has
 * all of it, and the gate here is asked before each operation's handler.
 *
 * The list names objects by device and inode number, so that it holds by whatever path, hard link or mount a guest
 * comes; and names in directories, for what is not there yet, what is replaced, and each step of the way to it. A file
 * that is about to become one of these, an editor's new version of it say, is not on any list: so nothing at all that
 * lies directly in such a file's directory can be changed.
 */
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

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
	char name[PROTECT_NAME_SIZE];
};

#define PROTECT_DEVICE(major, minor) ((uint64_t) (major) << 32 | (minor))

struct protect {
	pthread_rwlock_t lock;
	const struct protect_entry *entries;
	size_t count;
	_Atomic bool secrets; /* something is kept back from readers, too */
	/* Called, at most once a second, when a guest tried to change something of this subject. */
	void (*refused)(void *context, uint32_t subject);
	void *context;
	_Atomic int64_t told_at;
};

struct session;
struct node;

void protect_init(struct protect *protect);
void protect_done(struct protect *protect);
/* Takes the list in fd, which stays the caller's, in place of the one before. 0 or a negative errno. */
int protect_take(struct protect *protect, int fd);

/* The gate: 0; -EPERM, or -ENOENT where even that it is there is kept back. request: of this operation, decoded. */
int protect_permit(struct session *session, unsigned op, const void *request);
/* The same for an object that was only found beneath the gate: a name that is opened by CREATE. */
int protect_permit_object(struct session *session, dev_t device, ino_t ino);
/* Whether a directory's listing leaves a name out. */
bool protect_hides(struct session *session, const struct node *directory, const char *name);
