/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The worker's sandbox, one call before the first byte of a guest is read: signals, limits, a check of the open
 * descriptors, no_new_privs, no core dumps. Namespaces, Landlock and the system-call filter belong here, too.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/* How strict the sandbox is; bindsharectl status shows it. */
#define SANDBOX_TIER "basic"

/*
 * expected: the descriptors besides 0, 1 and 2 that the process must have, in any order. Any other open descriptor is
 * an error: it would be a way around the share. own_files: enter the namespace of own-files.h, where the machine allows
 * it. Returns 0; -EBADFD: an unexpected descriptor, or a missing one; or an error of a system call. The process must
 * have a single thread.
 */
int sandbox_enter(const int *expected, size_t count, bool own_files);
