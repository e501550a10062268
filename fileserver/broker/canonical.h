/* SPDX-License-Identifier: Apache-2.0 */
/* Where a path of the host leads. */
#pragma once

#include <limits.h>
#include <sys/stat.h>

/* What is deeper than this, in components, is not mounted and not resolved: work grows with the depth. */
enum { CANONICAL_DEPTH_MAX = 100 };

/*
 * The path without symbolic links, and what is there. One walk of the kernel's, whatever the path's length; "magic"
 * links, /proc/PID/cwd and the like, which lead where no path does, end it. 0 or a negative errno.
 */
int canonical_path(const char *path, char ret_path[PATH_MAX], struct stat *ret_st);

/* How many components a path in normal form has. */
unsigned canonical_depth(const char *path);
