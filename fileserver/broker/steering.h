/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the server is steered by, and where on the host that lies: the list for the workers' gate, protect-list.h.
 *
 * Each path is walked from the root of the host, links and their targets included: no step of it may be changed by a
 * guest, be it there or not. Looked at anew whenever something on one of these ways changes.
 */
#pragma once

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	STEERING_SEAL = 1 << 0,   /* what lies beside it is not changed either: a new version of it may be among that */
	STEERING_TREE = 1 << 1,   /* a directory: nothing beneath it is changed */
	STEERING_SECRET = 1 << 2, /* nor read */
};

enum { STEERING_SUBJECTS_MAX = 64 };

struct steering_subject {
	const char *what; /* "settings file", for people; a constant */
	char *path;
	unsigned flags;
};

struct steering {
	struct steering_subject subjects[STEERING_SUBJECTS_MAX];
	size_t count;

	/* Kept by steering.c. */
	struct protect_entry *entries;
	size_t entry_count;
	int fd; /* a memfd of these, sealed; -EBADF: could not be made, and nothing may be served */
};

/* path: absolute, or what of it is to be ignored. A path that is there already is not added twice. 0 or -ENOMEM. */
int steering_add(struct steering *steering, const char *what, const char *path, unsigned flags);
/* The program that runs, with the libraries that the user could change, and where his service manager's units are. */
int steering_add_own(struct steering *steering);

/* Walks all paths. True: the list has changed. */
bool steering_look(struct steering *steering);

/* The first subject that lies in this directory or beneath it, after from, or NULL. For a start from is NULL. */
const struct steering_subject *steering_beneath(const struct steering *steering, const char *directory,
                                                const struct steering_subject *from);
/* True: an open directory lies in a STEERING_TREE, so that a mount of it can only be read-only. */
bool steering_holds(const struct steering *steering, int directory);

void steering_done(struct steering *steering);
