/* SPDX-License-Identifier: Apache-2.0 */
/* What mounts did between two looks at the server's figures, and the order in which that is shown. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <time.h>

/* The server's answers to "status" and "stats", and when they came, in seconds of the forward clock. */
struct rates_look {
	json_t *status, *stats;
	double at;
};

struct rates_order {
	const char *name;   /* for people; its first letter is the key that chooses it */
	const char *member; /* of a row */
	bool upwards;       /* the smallest first */
};

/* NULL: there is none. */
const struct rates_order *rates_order_named(const char *name);
const struct rates_order *rates_order_of_key(int key);

/*
 * An object with "version", "time" (date), "seconds" between the looks and "mounts": a row for each that was there at
 * the second one, which is what "status" says of it with requests_per_second, errors_per_second, bytes_per_second,
 * mean_microseconds and lease_events_per_second. The caller's.
 */
json_t *rates_between(const struct rates_look *before, const struct rates_look *after, time_t date,
                      const struct rates_order *order);
/* The same in another order. The caller's. */
json_t *rates_reorder(const json_t *rates, const struct rates_order *order);
