/* SPDX-License-Identifier: Apache-2.0 */
/* Runs bindshare-mount, which returns when the mount serves and goes on in a process of its own. Blocks. */
#pragma once

#include <stddef.h>

/*
 * Mounts source at directory: the program beside this one, or the one in PATH; in a unit of systemd's own where guestd
 * is a service. 0, or a negative errno and words, which are the program's own as far as it has some.
 */
int mount_program_run(const char *source, const char *directory, const char *options, char *error, size_t error_size);

/*
 * Calls a program and waits for its end: 0, its status of waitpid(2) and what it wrote to both outputs, as far as it
 * fits; after timeout_ms it is killed. Or a negative errno: it was not run.
 */
int mount_program_call(char *const argv[], int timeout_ms, int *ret_status, char *words, size_t size);

/*
 * bindshare-mount's messages as a part of a sentence: one line, without "bindshare-mount[NUMBER]: LEVEL: " and without
 * a full stop at the end; further lines after a semicolon, as long as whole ones fit.
 */
void mount_program_words(const char *output, char *words, size_t size);
