/* SPDX-License-Identifier: Apache-2.0 */
/* What differs between fanotify and inotify: private to hostwatch. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * fanotify: the id of the file system, 8 bytes, then type and bytes of a file handle, of which there are 128 at most.
 * inotify: the watch descriptor.
 */
enum { HOSTWATCH_KEY_MAX = 8 + 4 + 128, HOSTWATCH_NUMBER_SIZE = sizeof(int) };

/* What tells a watched object from others in the events. */
struct hostwatch_key {
	uint32_t length;
	unsigned char bytes[HOSTWATCH_KEY_MAX];
};

/* One event as the kernel tells it; what: 0 when it is of no interest. */
struct hostwatch_told {
	struct hostwatch_key key; /* length 0: of no object */
	unsigned what;
	bool own, directory;
	const char *name; /* in the buffer */
};

struct hostwatch_way {
	const char *limit_path; /* file with the number of marks that a user may have */
	const char *queue_path; /* file with the number of events that a queue holds */
	/* A mark is found by its object; otherwise by a number that marking gives. */
	bool by_object;
	/* A non-blocking descriptor, or a negative errno. */
	int (*open)(void);
	/* The key of an object, 0 or a negative errno; NULL: it is not known before there is a mark. */
	int (*find)(int object, struct hostwatch_key *ret_key);
	/* Marks the object, also when it has a mark; sets the key where there is no find(). 0 or a negative errno. */
	int (*mark)(int fd, int object, struct hostwatch_key *key);
	/* Removes the mark; object is of no account where it is found by a number. 0 or a negative errno; -ENOENT:
	 * there was none. */
	int (*unmark)(int fd, int object, const struct hostwatch_key *key);
	/* Removes all marks at once, 0 or a negative errno; NULL: each is to be unmarked. */
	int (*flush)(int fd);
	/* The first event of a buffer. Returns its length, or -EPROTO. */
	int (*parse)(const char *buffer, size_t length, struct hostwatch_told *ret_told);
};

extern const struct hostwatch_way hostwatch_fanotify, hostwatch_inotify, hostwatch_fanotify_files,
        hostwatch_inotify_files;
