/* SPDX-License-Identifier: Apache-2.0 */
/* The word that was probably meant. */
#pragma once

#include <stddef.h>

struct nearest {
	const char *word;
	const void *found; /* NULL: nothing is near */
	size_t distance;
};

struct nearest nearest_begin(const char *word);
/* Takes a candidate that is nearer than those before, and near at all: two slips at most, and not all of the word. */
void nearest_try(struct nearest *nearest, const char *candidate, const void *found);
