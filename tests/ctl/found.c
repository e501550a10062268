/* SPDX-License-Identifier: Apache-2.0 */
/* Looks into the doctor's findings. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "tests/ctl/found.h"

const json_t *found_of(const struct findings *findings, const char *check, unsigned number)
{
	const json_t *finding;
	size_t i;

	json_array_foreach(findings->list, i, finding)
	{
		if (strcmp(json_string_value(json_object_get(finding, "check")), check) == 0 && number-- == 0)
			return finding;
	}
	return NULL;
}

const char *found(const struct findings *findings, const char *check)
{
	static char text[4096];
	const json_t *finding = found_of(findings, check, 0);
	const char *advice = json_string_value(json_object_get(finding, "advice"));

	text[0] = '\0';
	if (finding != NULL)
		(void) snprintf(text, sizeof(text), "%s: %s%s%s", json_string_value(json_object_get(finding, "level")),
		                json_string_value(json_object_get(finding, "text")), advice == NULL ? "" : " / ",
		                advice == NULL ? "" : advice);
	return text;
}

void found_assert(const struct findings *findings, const char *check, const char *words)
{
	const char *text = found(findings, check);

	if (strstr(text, words) == NULL)
		fail_msg("%s: \"%s\" has no \"%s\"", check, text, words);
}

void found_assert_sound(const struct findings *findings, size_t least)
{
	const json_t *finding;
	size_t i;

	assert_true(json_array_size(findings->list) >= least);
	json_array_foreach(findings->list, i, finding)
	{
		if (strcmp(json_string_value(json_object_get(finding, "level")), "ok") != 0)
			fail_msg("%s", json_string_value(json_object_get(finding, "text")));
		assert_true(json_is_null(json_object_get(finding, "advice")));
	}
}
