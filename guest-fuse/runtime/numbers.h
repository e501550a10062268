/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Numbers of a JSON text that must come out as they went in. A config.json has numbers of 64 bits without a sign
 * (18446744073709551615 is "no limit"), which the parser does not take, and its reader does not take 1e3 for 1000. So
 * each number is a string with a mark before it while the parser has the text, and is put back afterwards.
 */
#pragma once

#include <jansson.h>
#include <stddef.h>

enum { NUMBERS_MARK_SIZE = 24 };

struct numbers {
	char mark[NUMBERS_MARK_SIZE]; /* random: no string of the text begins with it */
};

/* Each: a new text, to be freed, or NULL without memory. */
char *numbers_hide(struct numbers *numbers, const char *text, size_t length);
char *numbers_show(const struct numbers *numbers, const char *text);

/* The number that a value hides, as far as it fits; 0 if it is none. */
json_int_t numbers_value(const struct numbers *numbers, const json_t *value);
