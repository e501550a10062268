/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From names to descriptors: the only file of the server that calls openat2. It never follows a symbolic link, and
 * opens nothing but regular files and directories for more than O_PATH.
 */
#pragma once

#include <stdint.h>
#include <sys/stat.h>

/* Size of "/proc/self/fd/N" with its NUL. */
enum { RESOLVE_PATH_SIZE = 40 };

/*
 * Opens the directory to mount. path is absolute and canonical; no component may have become a symbolic link. Returns
 * an O_PATH|O_DIRECTORY descriptor or a negative errno (-ELOOP: a component is a symbolic link, -ENOTDIR: the last is).
 */
int resolve_open_root(const char *path);

/*
 * Opens a name in a directory, or a relative path beneath it, whatever kind of object is there. Returns an
 * O_PATH|O_NOFOLLOW descriptor or a negative errno.
 */
int resolve_pin(int directory, const char *name);

/*
 * Makes a regular file (O_EXCL: -EEXIST when the name is taken). flags: access mode, O_SYNC, O_DSYNC. Returns a
 * descriptor or a negative errno.
 */
int resolve_create(int directory, const char *name, int flags, mode_t mode);

/* The same for a file without a name (O_TMPFILE). */
int resolve_create_unnamed(int directory, int flags, mode_t mode);

/*
 * Opens the object of an O_PATH descriptor with flags. Returns -ENXIO for a FIFO, socket or device, -ELOOP for a
 * symbolic link. The type is checked on the descriptor itself, so nobody can swap the object in between.
 */
int resolve_reopen(int pinned, int flags);

/*
 * Writes "/proc/self/fd/N" into path and returns it, for system calls that take no descriptor. It leads to the object
 * itself, also when that is a symbolic link.
 */
const char *resolve_path(int pinned, char path[RESOLVE_PATH_SIZE]);
