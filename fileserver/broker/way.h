/* SPDX-License-Identifier: Apache-2.0 */
/* A walk down a path, link by link: whoever walks looks at each step before it is taken. */
#pragma once

#include <limits.h>
#include <stdbool.h>
#include <sys/stat.h>

struct way {
	int fd;            /* O_PATH of the directory that it has come to */
	char at[PATH_MAX]; /* its path, without links */
	char text[2 * PATH_MAX];
	const char *rest;      /* what is still to be walked */
	unsigned links, steps; /* so many more of either may come */
};

/* From the root, at most so many components with those of the links. False: the path is too long, or no descriptor is
 * left. way_end() follows in any case. */
bool way_begin(struct way *way, const char *path, unsigned steps_max);

/* The next component, never ".". 1: there is one; 0: the path has ended; -1: it goes on longer than anybody follows
 * it, or the component is longer than NAME_MAX. */
int way_next(struct way *way, char ret_name[NAME_MAX + 1]);

/* Takes the step: into the directory that next is, or on along the target of the link that it is. next is closed or
 * kept. False: it is neither, or a link too many. */
bool way_step(struct way *way, const char *name, int next, const struct stat *st);

void way_end(struct way *way);
