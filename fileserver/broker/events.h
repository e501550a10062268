/* SPDX-License-Identifier: Apache-2.0 */
/* What happens, as lines of JSON for whoever subscribed at the control socket; docs/BACKEND.md lists them. */
#pragma once

#include <jansson.h>
#include <stdint.h>

struct events {
	uint64_t sequence; /* of the last one */
	/* Takes nothing: line is whole, with its newline. NULL: nobody listens. */
	void (*line)(void *context, const char *line, size_t length);
	void *context;
};

/* Takes details, an object or NULL, and adds version, event, sequence and time. events may be NULL. */
void events_tell(struct events *events, const char *name, json_t *details);

/* A JSON string; of a path whose bytes are no UTF-8, which JSON cannot carry, the others become "?". */
json_t *events_text(const char *bytes);
