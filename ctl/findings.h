/* SPDX-License-Identifier: Apache-2.0 */
/* What bindsharectl doctor has found: a list, in the order in which it was found. */
#pragma once

#include <jansson.h>
#include <stdbool.h>

struct findings {
	json_t *list; /* NULL: none yet */
};

/*
 * level: "ok", "note" (nothing is wrong), "warning" (something works worse) or "error" (bindshare does not work).
 * advice: NULL, or what to do.
 */
void findings_add(struct findings *findings, const char *check, const char *level, const char *advice,
                  const char *format, ...) __attribute__((format(printf, 5, 6)));
/* One is an error. */
bool findings_have_error(const struct findings *findings);
/* The list as a part of the answer; the findings are empty then. */
json_t *findings_take(struct findings *findings);
void findings_done(struct findings *findings);
