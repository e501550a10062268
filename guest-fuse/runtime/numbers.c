/* SPDX-License-Identifier: Apache-2.0 */
/* Numbers of a JSON text that must come out as they went in. */
#include "guest-fuse/runtime/numbers.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "protocol/clock.h"

#define DIGITS "0123456789+-.eE"

/* Where the string that begins at text ends, behind its quote; the end when it is not closed. */
static const char *skip_string(const char *text, const char *end)
{
	for (text++; text < end && *text != '"'; text++)
		if (*text == '\\')
			text++;
	return text < end ? text + 1 : end;
}

static size_t count_numbers(const char *text, const char *end)
{
	size_t count = 0;

	while (text < end) {
		if (*text == '"') {
			text = skip_string(text, end);
		} else if (*text == '-' || (*text >= '0' && *text <= '9')) {
			count++;
			while (text < end && strchr(DIGITS, *text) != NULL && *text != '\0')
				text++;
		} else {
			text++;
		}
	}
	return count;
}

static void choose_mark(struct numbers *numbers)
{
	uint64_t number;

	if (getrandom(&number, sizeof(number), GRND_NONBLOCK) != sizeof(number))
		number = (uint64_t) clock_ns();
	(void) snprintf(numbers->mark, sizeof(numbers->mark), "#%016llx:", (unsigned long long) number);
}

char *numbers_hide(struct numbers *numbers, const char *text, size_t length)
{
	const char *end = text + length;
	char *hidden, *next;

	choose_mark(numbers);
	hidden = next = malloc(length + count_numbers(text, end) * (NUMBERS_MARK_SIZE + 2) + 1);
	if (hidden == NULL)
		return NULL;
	while (text < end) {
		const char *from = text;

		if (*text == '"') {
			text = skip_string(text, end);
		} else if (*text == '-' || (*text >= '0' && *text <= '9')) {
			while (text < end && strchr(DIGITS, *text) != NULL && *text != '\0')
				text++;
			next += sprintf(next, "\"%s%.*s\"", numbers->mark, (int) (text - from), from);
			continue;
		} else {
			text++;
		}
		memcpy(next, from, (size_t) (text - from));
		next += text - from;
	}
	*next = '\0';
	return hidden;
}

char *numbers_show(const struct numbers *numbers, const char *text)
{
	size_t mark = strlen(numbers->mark);
	char *shown = malloc(strlen(text) + 1), *next = shown;

	if (shown == NULL)
		return NULL;
	while (*text != '\0') {
		const char *end = *text == '"' ? skip_string(text, text + strlen(text)) : text + 1;

		if (*text == '"' && strncmp(text + 1, numbers->mark, mark) == 0)
			next += sprintf(next, "%.*s", (int) ((size_t) (end - text) - mark - 2), text + 1 + mark);
		else {
			memcpy(next, text, (size_t) (end - text));
			next += end - text;
		}
		text = end;
	}
	*next = '\0';
	return shown;
}

json_int_t numbers_value(const struct numbers *numbers, const json_t *value)
{
	const char *text = json_string_value(value);
	size_t mark = strlen(numbers->mark);

	return text == NULL || strncmp(text, numbers->mark, mark) != 0 ? 0 : strtoll(text + mark, NULL, 10);
}
