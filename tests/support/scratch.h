/* SPDX-License-Identifier: Apache-2.0 */
/* A temporary directory for a test, and files in it. Each function fails the test when it cannot do its work. */
#pragma once

#include <stddef.h>
#include <sys/stat.h>
#include <sys/un.h>

enum { SCRATCH_PATH = 256 };

/* Makes the directory, 0700, its path canonical; one at a time. */
const char *scratch_make(void);
/* Removes it and all in it. */
void scratch_remove(void);
/* Both as cmocka's fixtures. */
int scratch_set_up(void **state);
int scratch_tear_down(void **state);
/* The path of a name in it, in one of several static buffers. */
const char *scratch_path(const char *name);
/* Makes a file with this text, or a directory. Returns the path as scratch_path(). */
const char *scratch_file(const char *name, const char *text, mode_t mode);
const char *scratch_directory(const char *name);
/* A unix stream socket of that name that listens, with room for backlog more connections. Returns its descriptor. */
int scratch_listen(const char *name, int backlog, struct sockaddr_un *ret_name);
