/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A worker's lock-down, one call before the first byte of a guest is read: signals, limits, an audit of the
 * descriptors, no_new_privs, no dumps. Namespaces, Landlock and the system-call filter have their place here.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/* How much of that there is; bindsharectl status shows it. */
#define SANDBOX_TIER "basic"

/*
 * expected: the descriptors beside 0, 1 and 2 that the process may have, in any order. Any other that is open is
 * an error: it would be a way around the share. own_files: the mode bits of the user's own files may be passed
 * (own-files.h), where the machine allows it. 0; -EBADFD: another descriptor, or one that is missing; or what a call
 * says. Before the process has a second thread.
 */
int sandbox_enter(const int *expected, size_t count, bool own_files);
