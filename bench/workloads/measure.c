/* SPDX-License-Identifier: Apache-2.0 */
/* Clock, samples of latencies, rows of JSON. */
#include "bench/workloads/measure.h"

#include <err.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "protocol/clock.h"

/* The quantiles that a row carries; the driver knows them by the same list. */
static const double quantiles[] = { 0, 0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.999, 1 };

enum { QUANTILES = sizeof(quantiles) / sizeof(quantiles[0]), MEDIAN = 5 };

uint64_t measure_now(void)
{
	return (uint64_t) clock_ns();
}

void measure_rest(bool quick)
{
	(void) usleep(quick ? 100000 : 3000000);
}

void samples_init(struct samples *samples, size_t room)
{
	*samples = (struct samples){ .ns = calloc(room > 0 ? room : 1, sizeof(uint64_t)), .room = room };
	if (samples->ns == NULL)
		err(EXIT_FAILURE, "samples");
}

void samples_done(struct samples *samples)
{
	free(samples->ns);
	*samples = (struct samples){ 0 };
}

void samples_add(struct samples *samples, uint64_t begin)
{
	uint64_t ns = measure_now() - begin;

	if (samples->count < samples->room)
		samples->ns[samples->count++] = ns;
}

void samples_append(struct samples *samples, const struct samples *more)
{
	size_t count = more->count;

	if (count > samples->room - samples->count)
		count = samples->room - samples->count;
	memcpy(samples->ns + samples->count, more->ns, count * sizeof(more->ns[0]));
	samples->count += count;
}

static int compare(const void *one, const void *two)
{
	uint64_t a = *(const uint64_t *) one, b = *(const uint64_t *) two;

	return (a > b) - (a < b);
}

/* The nearest rank: always a value that was measured. */
static uint64_t quantile(const struct samples *samples, double q)
{
	return samples->ns[(size_t) (q * (double) (samples->count - 1) + 0.5)];
}

static uint64_t sum(const struct samples *samples)
{
	uint64_t total = 0;

	for (size_t i = 0; i < samples->count; i++)
		total += samples->ns[i];
	return total;
}

static void print_quantiles(const struct samples *samples)
{
	(void) printf(", \"quantiles\": [");
	for (int i = 0; i < QUANTILES; i++)
		(void) printf("%s%" PRIu64, i > 0 ? ", " : "", quantile(samples, quantiles[i]));
	(void) printf("]");
}

static void finish_line(void)
{
	(void) printf("}\n");
	if (fflush(stdout) != 0)
		err(EXIT_FAILURE, "standard output");
}

void report_latency(const char *row, struct samples *samples)
{
	if (samples->count == 0)
		errx(EXIT_FAILURE, "%s: nothing was measured", row);
	qsort(samples->ns, samples->count, sizeof(samples->ns[0]), compare);
	(void) printf("{\"row\": \"%s\", \"unit\": \"ns\", \"value\": %" PRIu64
	              ", \"ops\": %zu, \"total_ns\": %" PRIu64,
	              row, quantile(samples, quantiles[MEDIAN]), samples->count, sum(samples));
	print_quantiles(samples);
	finish_line();
}

void report_duration(const char *row, uint64_t ns, uint64_t ops, uint64_t bytes)
{
	(void) printf("{\"row\": \"%s\", \"unit\": \"ns\", \"value\": %" PRIu64 ", \"ops\": %" PRIu64
	              ", \"bytes\": %" PRIu64 ", \"total_ns\": %" PRIu64,
	              row, ns, ops, bytes, ns);
	finish_line();
}

void report_clients(const char *row, uint64_t ns, uint64_t ops, struct samples *samples)
{
	if (samples->count == 0 || ops == 0)
		errx(EXIT_FAILURE, "%s: nothing was measured", row);
	qsort(samples->ns, samples->count, sizeof(samples->ns[0]), compare);
	(void) printf("{\"row\": \"%s\", \"unit\": \"ns\", \"value\": %.1f, \"ops\": %" PRIu64
	              ", \"total_ns\": %" PRIu64,
	              row, (double) ns / (double) ops, ops, ns);
	print_quantiles(samples);
	finish_line();
}

void report_value(const char *row, const char *unit, double value)
{
	(void) printf("{\"row\": \"%s\", \"unit\": \"%s\", \"value\": %.4f", row, unit, value);
	finish_line();
}

void report_verified(uint64_t files, uint64_t bytes, uint64_t hash)
{
	(void) printf("{\"verified\": true, \"files\": %" PRIu64 ", \"bytes\": %" PRIu64 ", \"xxh3\": \"%016" PRIx64
	              "\"",
	              files, bytes, hash);
	finish_line();
}
