/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tells when what a path leads to may have changed: a file that is written or replaced, a directory on the way that is
 * renamed, a link that is set anew, a file system that is mounted or unmounted. Each directory of the way is watched
 * for the one name that the way takes in it, so that work in a shared directory wakes nobody.
 */
#pragma once

#include <stdbool.h>
#include <uv.h>

enum { WATCH_DELAY_MS = 5, WATCH_INTERVAL_MS = 20, WATCH_DIRECTORIES_MAX = 4096 };

struct watch {
	uv_loop_t *loop;
	/* Look at everything again; called a little after the first change, in the loop's thread. */
	void (*changed)(void *context);
	void *context;

	/* Kept by watch.c. */
	struct watch_directory *directories; /* hash table by path */
	size_t count, failed;                /* directories that are watched; that could not be */
	uv_timer_t timer;
	uv_poll_t mounts;
	int mounts_fd;
	uint64_t last; /* uv_now() of the last call of changed() */
};

/* Begins, with no path. 0 or a negative errno. */
int watch_open(struct watch *watch, uv_loop_t *loop, void (*changed)(void *context), void *context);
/* Forgets all paths; then those that count are added: before what they lead to is looked at, so that no change is lost.
 */
void watch_reset(struct watch *watch);
/* path: absolute. content: what is written to the file at its end counts, too, not only another file there. */
void watch_add(struct watch *watch, const char *path, bool content);
/* The memory must live until the loop has run once more. */
void watch_close(struct watch *watch);
