/* SPDX-License-Identifier: Apache-2.0 */
/* The leases of a mount, as "status" and "top" show them. leases: "leases" of a mount; NULL from an older server. */
#pragma once

#include <jansson.h>

enum { LEASES_SHORT_SIZE = 48 };

/* How many directories are leased, of how many there may be; where leases are not given, and there are none, the word
 * for why. */
const char *leases_short(const json_t *leases, char text[LEASES_SHORT_SIZE]);
/* Why there are none, or no more. */
struct leases_reason {
	const char *state, *words;
	const char *level, *advice; /* findings.h */
};

/* NULL: all is well. */
const struct leases_reason *leases_reason(const json_t *leases);
/* The same, and whether events were lost; a line each. Nothing where all is well. */
void leases_print_notes(const json_t *leases);
