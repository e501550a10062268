/* SPDX-License-Identifier: Apache-2.0 */
/* Clock, samples of latencies, and the rows of JSON that a workload prints: one object a line. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* CLOCK_MONOTONIC in nanoseconds. */
uint64_t measure_now(void);

/*
 * Between the first and the second look at the same: what was learned at the first must last longer than a moment. 3 s;
 * quick: 0.1 s.
 */
void measure_rest(bool quick);

/* Durations of single operations, in nanoseconds. */
struct samples {
	uint64_t *ns;
	size_t count, room;
};

/* Room for that many; ends the program when there is no memory. */
void samples_init(struct samples *samples, size_t room);
void samples_done(struct samples *samples);
/* Adds the time since begin; the oldest room is enough for what the caller said. */
void samples_add(struct samples *samples, uint64_t begin);
/* Adds all of more. */
void samples_append(struct samples *samples, const struct samples *more);

/* A row whose value is the median of the samples; carries their quantiles. Sorts them. */
void report_latency(const char *row, struct samples *samples);
/* A row whose value is a duration in which ops operations were made and bytes bytes moved. */
void report_duration(const char *row, uint64_t ns, uint64_t ops, uint64_t bytes);
/* A row of nanoseconds an operation: ns of wall time for ops operations of several clients, with their latencies. */
void report_clients(const char *row, uint64_t ns, uint64_t ops, struct samples *samples);
/* A row that is no duration. */
void report_value(const char *row, const char *unit, double value);
/* What a verification has looked at; hash is over the hashes of all files. */
void report_verified(uint64_t files, uint64_t bytes, uint64_t hash);
