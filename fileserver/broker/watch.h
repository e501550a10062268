/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tells when what a path leads to may have changed: a file that is written or replaced, a directory on the way that is
 * renamed, a link that is set anew, a file system that is mounted or unmounted. Each directory of the way is watched
 * for the one name that the way takes in it, so that work in a shared directory wakes nobody.
 */
#pragma once

#include <stdbool.h>
#include <uv.h>

/* WATCH_SHARE: so many times as long as changed() took, nothing is looked at again. */
enum { WATCH_DELAY_MS = 5, WATCH_INTERVAL_MS = 20, WATCH_SHARE = 4, WATCH_DIRECTORIES_MAX = 4096 };

struct watch {
	uv_loop_t *loop;
	/* Look at everything again; called a little after the first change, in the loop's thread. */
	void (*changed)(void *context);
	void *context;

	/* Kept by watch.c. */
	struct watch_directory *directories; /* hash table by identity */
	unsigned generation;                 /* counts watch_begin() */
	size_t count, failed;                /* directories that are watched; that could not be */
	uv_timer_t timer;
	uv_poll_t mounts;
	int mounts_fd;
	uint64_t due; /* uv_now() before which changed() is not called again */
};

/* Begins, with no path. 0 or a negative errno. */
int watch_open(struct watch *watch, uv_loop_t *loop, void (*changed)(void *context), void *context);
/*
 * All paths that count are added between these two; what was watched before and is not any more is forgotten then. To
 * be done before what they lead to is looked at, so that no change is lost.
 */
void watch_begin(struct watch *watch);
void watch_end(struct watch *watch);
/* path: absolute. content: what is written to the file at its end counts, too, not only another file there. */
void watch_add(struct watch *watch, const char *path, bool content);
/* As if something had changed: what no watch can tell is looked at, too. */
void watch_plan(struct watch *watch);
/* The memory must live until the loop has run once more. */
void watch_close(struct watch *watch);
