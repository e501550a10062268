/* SPDX-License-Identifier: Apache-2.0 */
/* Parses numbers that people and other programs write. */
#include "protocol/number.h"

#include <assert.h>
#include <errno.h>

/* The digit's value; base or more: byte is no digit. */
static unsigned digit_of(char byte)
{
	if (byte >= '0' && byte <= '9')
		return (unsigned) (byte - '0');
	if (byte >= 'a' && byte <= 'f')
		return (unsigned) (byte - 'a') + 10;
	if (byte >= 'A' && byte <= 'F')
		return (unsigned) (byte - 'A') + 10;
	return 16;
}

int number_begin(const char *text, unsigned base, uint64_t most, uint64_t *ret_number, const char **ret_end)
{
	uint64_t number = 0;
	const char *next = text;

	assert(base >= 2 && base <= 16);
	for (unsigned digit; (digit = digit_of(*next)) < base; next++)
		if (__builtin_mul_overflow(number, (uint64_t) base, &number) ||
		    __builtin_add_overflow(number, (uint64_t) digit, &number))
			return -ERANGE;
	if (next == text)
		return -EINVAL;
	if (number > most)
		return -ERANGE;
	*ret_number = number;
	*ret_end = next;
	return 0;
}

int number_parse(const char *text, uint64_t least, uint64_t most, uint64_t *ret_number)
{
	uint64_t number;
	const char *end;
	int r = number_begin(text, 10, UINT64_MAX, &number, &end);

	if (r < 0)
		return r;
	if (*end != '\0')
		return -EINVAL;
	if (number < least || number > most)
		return -ERANGE;
	*ret_number = number;
	return 0;
}
