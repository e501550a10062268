/* SPDX-License-Identifier: Apache-2.0 */
/* bindsharectl top. */
#pragma once

#include <stdbool.h>

/* Looks every interval_s seconds; count 0: until it is interrupted. The exit code. */
int top_run(const char *path, long interval_s, long count, bool as_json);
