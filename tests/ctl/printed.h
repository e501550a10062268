/* SPDX-License-Identifier: Apache-2.0 */
/* What a function prints, for tests. */
#pragma once

/* From now on what is printed to stdout and stderr is kept. */
void printed_begin(void);
/* As before; returns what was printed to stdout and stderr since, in memory that is valid until the next call. */
const char *printed_end(void);
