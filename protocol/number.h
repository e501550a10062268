/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Numbers in texts that people and other programs write: command lines, mount options, addresses, records. Digits and
 * nothing else: no blanks, signs or 0x before them, which strtoull(3) takes, and no number that does not fit, of which
 * it makes another one. Leading zeros are taken, and mean nothing.
 */
#pragma once

#include <stdint.h>

/*
 * The whole text is a decimal number from least to most. 0; -EINVAL: it is none; -ERANGE: it is less or more, if only
 * by being too long for 64 bits.
 */
int number_parse(const char *text, uint64_t least, uint64_t most, uint64_t *ret_number);

/*
 * The text begins with a number, of digits of base: 2 to 16; above 10 in either case. *ret_end (not NULL) is what
 * follows the last digit. 0; -EINVAL: it does not begin with a digit; -ERANGE: the number is more than most.
 */
int number_begin(const char *text, unsigned base, uint64_t most, uint64_t *ret_number, const char **ret_end);
