/* SPDX-License-Identifier: Apache-2.0 */
/* Messages for people beside an error number: what was wrong, and what to do about it. */
#pragma once

#include <stddef.h>

/* Formats a message, cut to error_size, and returns number: "return words_refuse(-EINVAL, error, error_size, ...)". */
int words_refuse(int number, char *error, size_t error_size, const char *format, ...)
        __attribute__((format(printf, 4, 5)));
