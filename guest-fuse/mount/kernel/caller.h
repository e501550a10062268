/* SPDX-License-Identifier: Apache-2.0 */
/* What the kernel does not tell of the process that asks. */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

/* Whether the thread has this capability (linux/capability.h), in whatever user namespace; false when nobody knows. */
bool caller_has_capability(pid_t pid, int capability);
