/* SPDX-License-Identifier: Apache-2.0 */
/* Errors as an OCI runtime tells them: on stderr, and in the file of --log, where engines look for them. */
#pragma once

#include "guest-fuse/runtime/command.h"

/* level: "error", "warning". */
void complain(const struct command *command, const char *level, const char *format, ...)
        __attribute__((format(printf, 3, 4)));
