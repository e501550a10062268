/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Parses numbers that people and other programs write: command lines, mount options, addresses, records. Only digits:
 * unlike strtoull(3) no blanks, signs or 0x before them, and a number that is out of range is an error. Leading zeros
 * are accepted and ignored.
 */
#pragma once

#include <stdint.h>

/*
 * The whole text must be a decimal number from least to most. Returns 0; -EINVAL: not a number; -ERANGE: out of range,
 * also when it exceeds 64 bits.
 */
int number_parse(const char *text, uint64_t least, uint64_t most, uint64_t *ret_number);

/*
 * The text must begin with a number. base: 2 to 16, letters in either case. *ret_end (not NULL) points after the last
 * digit. Returns 0; -EINVAL: no digit at the start; -ERANGE: more than most.
 */
int number_begin(const char *text, unsigned base, uint64_t most, uint64_t *ret_number, const char **ret_end);
