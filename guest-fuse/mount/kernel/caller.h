/* SPDX-License-Identifier: Apache-2.0 */
/* What FUSE does not tell of the process that a request comes from. */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

/* Whether the thread has this capability (linux/capability.h), in its user namespace; false when it cannot be seen. */
bool caller_has_capability(pid_t pid, int capability);
