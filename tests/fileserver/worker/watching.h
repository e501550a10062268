/* SPDX-License-Identifier: Apache-2.0 */
/* Tests of hostwatch: a watch, what it has told, and other processes that change things or have other rights. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "fileserver/worker/leases/hostwatch.h"

enum { SEEN_MAX = 64, SEEN_NAME = 64 };

/* What came for one name in one watch. */
struct seen {
	uint64_t watch;
	unsigned what; /* all bits that came */
	unsigned own;  /* those that came as this process's own */
	unsigned foreign;
	bool directory;
	char name[SEEN_NAME];
};

struct watching {
	struct hostwatch *hostwatch;
	enum hostwatch_kind kind;
	struct seen seen[SEEN_MAX];
	unsigned count, overflows;
	int events; /* how many take has had */
};

/* Starts, or reads what is queued, in place of what was seen before. 0 or a negative errno; none fails the test. */
int watching_begin(struct watching *watching, enum hostwatch_kind kind);
int watching_read(struct watching *watching);
void watching_end(struct watching *watching);
/* What was seen of a name; NULL: nothing. */
const struct seen *watching_seen(const struct watching *watching, uint64_t watch, const char *name);
/* Opens a directory or file below the scratch directory or the working directory with O_PATH, adds it, closes it. */
int watching_add(struct watching *watching, const char *path, uint64_t watch);
void watching_remove(struct watching *watching, const char *path, uint64_t watch);
/* How many marks the kernel has for this watch. */
int watching_marks(const struct watching *watching);

/* Does something in a process of its own. Returns what that returns, 0 to 100, or -1. */
int watching_elsewhere(int (*act)(const void *argument), const void *argument);
/*
 * The same as the user 65534, when this process is root. own_namespace: in a user namespace as the worker makes it.
 * Returns WATCHING_NO_NAMESPACE when that is not to be had.
 */
enum { WATCHING_NO_NAMESPACE = 100 };
int watching_unprivileged(bool own_namespace, int (*act)(const void *argument), const void *argument);
