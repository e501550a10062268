/* SPDX-License-Identifier: Apache-2.0 */
/* What bindsharectl doctor has found. */
#include "ctl/findings.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "protocol/cleanup.h"

void findings_add(struct findings *findings, const char *check, const char *level, const char *advice,
                  const char *format, ...)
{
	char text[2048];
	va_list arguments;
	json_t *string;

	va_start(arguments, format);
	(void) vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	string = json_string(text);
	if (findings->list == NULL)
		findings->list = json_array();
	(void) json_array_append_new(findings->list,
	                             json_pack("{ss ss so so}", "check", check, "level", level, "text",
	                                       string != NULL ? string : json_string("text that is no UTF-8"), "advice",
	                                       advice == NULL ? json_null() : json_string(advice)));
}

bool findings_have_error(const struct findings *findings)
{
	const json_t *finding;
	size_t i;

	json_array_foreach(findings->list, i, finding)
	{
		if (strcmp(json_string_value(json_object_get(finding, "level")), "error") == 0)
			return true;
	}
	return false;
}

json_t *findings_take(struct findings *findings)
{
	return findings->list == NULL ? json_array() : TAKE_PTR(findings->list);
}

void findings_done(struct findings *findings)
{
	json_decref(findings->list);
	findings->list = NULL;
}
