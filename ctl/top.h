/* SPDX-License-Identifier: Apache-2.0 */
/* bindsharectl top. */
#pragma once

#include <stdbool.h>

/* Orders; in a terminal each one's first letter chooses it. */
#define TOP_KEYS        "requests, time, bytes, errors, lanes, pid, share"
#define TOP_DEFAULT_KEY "requests"

struct top_options {
	long interval_s, count; /* count 0: until it is interrupted */
	bool as_json;
	const char *sort; /* one of TOP_KEYS */
};

bool top_knows(const char *key);
/* Looks again and again. The exit code. */
int top_run(const char *path, const struct top_options *options);
