/* SPDX-License-Identifier: Apache-2.0 */
/* Paths as text: operations that do not look at a file system. */
#pragma once

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>

/*
 * Normalises a path: single slashes, no ".", no "..", no slash at the end. ".." removes the component before it, as
 * Docker does with the paths of binds. Returns 0, -EINVAL (not absolute) or -ENAMETOOLONG.
 */
int paths_normalise(const char *path, char normal[PATH_MAX]);

/* For two normalised paths: whether path is directory, or is beneath it by whole components. */
bool paths_is_beneath(const char *path, const char *directory);
/* The rest of path beneath directory, "" for directory itself. paths_is_beneath() must be true. */
const char *paths_rest(const char *path, const char *directory);

/* Appends "/" and the length bytes of name; no slash when path is "" or "/". Returns 0 or -ENAMETOOLONG. */
int paths_append(char path[PATH_MAX], const char *name, size_t length);
/* Removes the last component. Returns false when there is none. */
bool paths_pop(char path[PATH_MAX]);
