/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From names to descriptors: the only file that opens anything by name. No symbolic link is ever followed, and nothing
 * but regular files and directories is opened for more than O_PATH.
 */
#pragma once

#include <stdint.h>
#include <sys/stat.h>

/* Bytes of "/proc/self/fd/N". */
enum { RESOLVE_PATH_SIZE = 40 };

/*
 * Opens the directory that is to be mounted: path is absolute and canonical, and no component of it may be a symbolic
 * link by now. An O_PATH|O_DIRECTORY descriptor, or a negative errno (-ELOOP: a symbolic link on the way; -ENOTDIR: at
 * its end).
 */
int resolve_open_root(const char *path);

/*
 * Pins one name of a directory, or a path of several beneath it: an O_PATH|O_NOFOLLOW descriptor of whatever kind of
 * object, or a negative errno.
 */
int resolve_pin(int directory, const char *name);

/*
 * Makes a regular file that is not there (O_EXCL): a descriptor opened with flags (access mode, O_SYNC, O_DSYNC), or a
 * negative errno.
 */
int resolve_create(int directory, const char *name, int flags, mode_t mode);

/* The same without a name (O_TMPFILE). */
int resolve_create_unnamed(int directory, int flags, mode_t mode);

/*
 * Opens what a pinned descriptor refers to. Refuses with -ENXIO (FIFO, socket), -ENXIO (device), -ELOOP (symbolic
 * link) whatever is neither a regular file nor a directory: looked at on the descriptor itself, so nothing can be
 * swapped in between.
 */
int resolve_reopen(int pinned, int flags);

/* "/proc/self/fd/N", for the calls that take no descriptor; ends at the object itself, a symbolic link included. */
const char *resolve_path(int pinned, char path[RESOLVE_PATH_SIZE]);
