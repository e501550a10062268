/* SPDX-License-Identifier: Apache-2.0 */
/* How far words are from each other. */
#include "ctl/nearest.h"

#include <stdint.h>
#include <string.h>

enum { WORD_MAX = 32, SLIPS_MAX = 2 };

static size_t least(size_t left, size_t right)
{
	return left < right ? left : right;
}

/* Letters to be put in, left out, changed or exchanged with the next one. SIZE_MAX: longer than any word here. */
static size_t distance(const char *left, const char *right)
{
	size_t rows = strlen(left), columns = strlen(right), table[WORD_MAX + 1][WORD_MAX + 1];

	if (rows > WORD_MAX || columns > WORD_MAX)
		return SIZE_MAX;
	for (size_t i = 0; i <= rows; i++)
		table[i][0] = i;
	for (size_t k = 0; k <= columns; k++)
		table[0][k] = k;
	for (size_t i = 1; i <= rows; i++)
		for (size_t k = 1; k <= columns; k++) {
			size_t change = table[i - 1][k - 1] + (left[i - 1] != right[k - 1]);

			table[i][k] = least(change, least(table[i - 1][k], table[i][k - 1]) + 1);
			if (i > 1 && k > 1 && left[i - 1] == right[k - 2] && left[i - 2] == right[k - 1])
				table[i][k] = least(table[i][k], table[i - 2][k - 2] + 1);
		}
	return table[rows][columns];
}

struct nearest nearest_begin(const char *word)
{
	return (struct nearest){ .word = word, .distance = SLIPS_MAX + 1 };
}

void nearest_try(struct nearest *nearest, const char *candidate, const void *found)
{
	size_t slips = distance(nearest->word, candidate);

	/* What is cut short is meant: "read" for "read-only". */
	if (slips > SLIPS_MAX && strlen(nearest->word) > 2 &&
	    strncmp(candidate, nearest->word, strlen(nearest->word)) == 0)
		slips = SLIPS_MAX;
	if (slips >= nearest->distance || slips >= strlen(candidate))
		return;
	nearest->distance = slips;
	nearest->found = found;
}
