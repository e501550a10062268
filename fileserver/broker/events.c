/* SPDX-License-Identifier: Apache-2.0 */
/* Events for subscribers. */
#include "fileserver/broker/events.h"

#include <string.h>
#include <time.h>

#include "protocol/cleanup.h"
#include "protocol/clock.h"

json_t *events_text(const char *bytes)
{
	_cleanup_free_ char *copy = NULL;
	json_t *string = json_string(bytes);

	if (string != NULL)
		return string;
	copy = strdup(bytes);
	if (copy == NULL)
		return NULL;
	for (char *next = copy; *next != '\0'; next++)
		if ((unsigned char) *next >= 0x80)
			*next = '?';
	return json_string(copy);
}

void events_tell(struct events *events, const char *name, json_t *details)
{
	_cleanup_free_ char *line = NULL;
	struct timespec now = clock_date();
	json_t *event;
	size_t length;

	if (events == NULL || events->line == NULL) {
		json_decref(details);
		return;
	}
	event = json_pack("{si ss sI sf}", "version", 1, "event", name, "sequence", (json_int_t) ++events->sequence,
	                  "time", (double) now.tv_sec + (double) now.tv_nsec / 1e9);
	if (details != NULL)
		(void) json_object_update_missing(event, details);
	json_decref(details);
	line = json_dumps(event, JSON_COMPACT | JSON_REAL_PRECISION(13));
	json_decref(event);
	if (line == NULL)
		return;
	length = strlen(line);
	line[length++] = '\n';
	events->line(events->context, line, length);
}
