/* SPDX-License-Identifier: Apache-2.0 */
/* Looks into the doctor's findings, for its tests. */
#pragma once

#include <string.h>

#include "ctl/findings.h"

/* The number-th finding of a check, from 0; NULL: there is none. */
static inline const json_t *found_of(const struct findings *findings, const char *check, unsigned number)
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

/* "level: text / advice" of it; "" when there is none. */
static inline const char *found(const struct findings *findings, const char *check)
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
