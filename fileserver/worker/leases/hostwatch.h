/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Watches directories, or files, of the host for changes, by fanotify or, where that is not to be had, by inotify.
 * Neither needs a privilege, except that the object can be read.
 *
 * An event says "look again": several changes of one object may have become one event with several bits, so nothing
 * follows from their order. It is queued before the system call that made the change returns.
 *
 * What does not come to a directory's watch: changes by another name of a hard link or by a shared mapping (CONTENTS at
 * munmap(2)); a new name elsewhere (st_nlink); times and st_nlink of a subdirectory. With fanotify a subdirectory's
 * attributes come only to its own watch, with inotify also to that of its parent.
 *
 * A file's own watch (HOSTWATCH_*_FILES) tells of changes by every name, also of one that is made, removed or renamed
 * (ATTRIBUTES). Its directory's watch tells of those by names in it as well.
 *
 * What ends a watch in silence: with fanotify, that its file system is unmounted. With both, an object that was removed
 * is GONE when its last descriptor has been closed and not before; the name is told to its parent's watch.
 *
 * Here (Linux 6.18, ext4 and tmpfs, without privilege) a new watch takes 3 to 5 us with fanotify and 2 to 4 us with
 * inotify, 180 bytes of this process and 110 of the kernel, which also keeps the object's inode in memory for it.
 * hostwatch_free() may wait tens of milliseconds for the kernel.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum hostwatch_kind { HOSTWATCH_FANOTIFY, HOSTWATCH_INOTIFY, HOSTWATCH_FANOTIFY_FILES, HOSTWATCH_INOTIFY_FILES };

enum {
	HOSTWATCH_NAME = 1,       /* a name was made, removed or renamed; a rename is an event for each of its names */
	HOSTWATCH_ATTRIBUTES = 2, /* mode, owner, times, extended attributes */
	HOSTWATCH_CONTENTS = 4,   /* written, or closed after it was open for writing: size and times also changed */
	HOSTWATCH_OVERFLOW = 8,   /* events were lost: everything may have changed. Belongs to no watch */
	HOSTWATCH_GONE = 16,      /* the watched object does not exist any more, nor does its watch */
	HOSTWATCH_OPENED = 32,    /* a file that is watched itself was opened, for whatever */
};

struct hostwatch_event {
	uint64_t watch; /* as given to hostwatch_add(); 0: none */
	unsigned what;
	bool own;         /* done by this process. Always false with inotify, and of HOSTWATCH_GONE */
	bool directory;   /* what changed is a directory */
	const char *name; /* "": the watched object itself; a directory with HOSTWATCH_NAME: it was moved */
};

/* May call everything here but hostwatch_read() and hostwatch_free(). */
typedef void hostwatch_take(void *context, const struct hostwatch_event *event);

struct hostwatch;

/* 0 or a negative errno. -EMFILE: the user has as many of this kind as are allowed; others: not to be had here. */
int hostwatch_new(enum hostwatch_kind kind, struct hostwatch **ret_hostwatch);
/* NULL is allowed. */
void hostwatch_free(struct hostwatch *hostwatch);

/* Readable when there are events. */
int hostwatch_fd(const struct hostwatch *hostwatch);

/*
 * Watches a directory, or a file: every change after the return comes as an event of this watch, an id of the caller's
 * other than 0. What changed before may come or not. Again for a watched object: the watch gets this id, the old one is
 * forgotten. An id of another object goes over to this one, and the other's mark is dead. object: may be O_PATH. Any
 * thread.
 *
 * Returns 0 or a negative errno. -ENOSPC: the user has as many marks as are allowed; -EACCES: the object cannot be
 * read; -EOPNOTSUPP, -ENODEV, -EXDEV: not on this file system.
 */
int hostwatch_add(struct hostwatch *hostwatch, int object, uint64_t watch);

/*
 * Ends a watch, if there is one of this id: hostwatch_read() begins no more events of it. object: a descriptor of the
 * object, also O_PATH, or -EBADF where there is none. Any thread.
 *
 * fanotify needs the descriptor. Without one, or when the object cannot be read any more, a dead mark stays: it counts
 * against the user's limit until the object is gone, is watched again, or all is flushed.
 */
void hostwatch_remove(struct hostwatch *hostwatch, uint64_t watch, int object);

/* How many dead marks there are. */
uint32_t hostwatch_dead(struct hostwatch *hostwatch);

/*
 * Ends all watches and removes the dead marks. Waits for the calls of hostwatch_add() and hostwatch_remove() that other
 * threads are in. 0 or a negative errno.
 */
int hostwatch_flush(struct hostwatch *hostwatch);

/*
 * Gives take every event that is queued. Never waits; one thread at a time. Events of nobody's watch are read and not
 * given. Returns how many were read, or a negative errno.
 */
int hostwatch_read(struct hostwatch *hostwatch, hostwatch_take *take, void *context);

/* How many marks a user may have here, those of his other programs included; 8192 where the kernel does not say. */
uint32_t hostwatch_limit(enum hostwatch_kind kind);
