/* SPDX-License-Identifier: Apache-2.0 */
/* Text that somebody else has chosen, for a terminal. */
#pragma once

#include <stdio.h>

/* A path may hold what moves a terminal's cursor: a guest or another user may have chosen it. It is written \xNN. */
void printable_write(FILE *out, const char *text);
