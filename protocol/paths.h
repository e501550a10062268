/* SPDX-License-Identifier: Apache-2.0 */
/* Paths as text: what can be said of them without looking at a file system. */
#pragma once

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>

/*
 * Single slashes, no "." and "..", no slash at the end; ".." takes the component before it away, as Docker does with
 * the paths of binds. 0, -EINVAL (not absolute), -ENAMETOOLONG.
 */
int paths_normalise(const char *path, char normal[PATH_MAX]);

/* For two normal paths: path is directory, or beneath it by whole components. */
bool paths_is_beneath(const char *path, const char *directory);
/* What is left of path beneath directory, "" for itself. paths_is_beneath() is true. */
const char *paths_rest(const char *path, const char *directory);

/* Appends "/name" of length bytes, or "name" to "" or "/". 0 or -ENAMETOOLONG. */
int paths_append(char path[PATH_MAX], const char *name, size_t length);
/* Takes the last component away; false: there is none. */
bool paths_pop(char path[PATH_MAX]);
