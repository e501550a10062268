/* SPDX-License-Identifier: Apache-2.0 */
/* The server's answers as tables. */
#include "fileserver/ctl/tables.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

static long long integer(const json_t *object, const char *key)
{
	return (long long) json_integer_value(json_object_get(object, key));
}

/* A path may hold what moves a terminal's cursor: a guest or another user may have chosen it. */
static void print_path(const json_t *object, const char *key)
{
	const char *path = json_string_value(json_object_get(object, key));

	for (path = path == NULL ? "-" : path; *path != '\0'; path++) {
		if ((unsigned char) *path < 0x20 || *path == 0x7f)
			printf("\\x%02x", (unsigned) (unsigned char) *path);
		else
			(void) putchar(*path);
	}
	(void) putchar('\n');
}

static const char *format_time(long long seconds, char *text, size_t size)
{
	time_t at = (time_t) seconds;
	struct tm parts;

	if (localtime_r(&at, &parts) == NULL || strftime(text, size, "%Y-%m-%d %H:%M:%S", &parts) == 0)
		(void) snprintf(text, size, "%lld", seconds);
	return text;
}

void tables_status(const json_t *status)
{
	const json_t *mounts = json_object_get(status, "mounts");
	const json_t *entry;
	char since[64];
	size_t i;

	printf("bindshare-fileserver %s, pid %lld, since %s\n", json_string_value(json_object_get(status, "release")),
	       integer(status, "pid"), format_time(integer(status, "since"), since, sizeof(since)));
	json_array_foreach(json_object_get(status, "listen"), i, entry)
	        printf("listening at %s%s\n", json_string_value(entry),
	               json_is_true(json_object_get(status, "token")) ? ", token required" : "");
	printf("%zu of %lld shares mounted\n", json_array_size(mounts), integer(status, "mounts_max"));
	if (json_array_size(mounts) == 0)
		return;
	printf("\n%7s %-8s %-2s %-19s %5s %8s %7s %11s  %s\n", "PID", "STATE", "", "SINCE", "LANES", "NODES", "HANDLES",
	       "DESCRIPTORS", "SHARE");
	json_array_foreach(mounts, i, entry)
	{
		printf("%7lld %-8s %-2s %-19s %5lld %8lld %7lld %11lld  ", integer(entry, "pid"),
		       json_string_value(json_object_get(entry, "state")),
		       json_is_true(json_object_get(entry, "read_only")) ? "ro" : "rw",
		       format_time(integer(entry, "since"), since, sizeof(since)), integer(entry, "lanes"),
		       integer(entry, "nodes"), integer(entry, "handles"), integer(entry, "descriptors"));
		print_path(entry, "share");
	}
}

static void print_operations(const json_t *operations)
{
	const char *name;
	json_t *entry;

	printf("%-12s %12s %10s %16s %12s\n", "OPERATION", "COUNT", "ERRORS", "BYTES", "MEAN");
	json_object_foreach((json_t *) operations, name, entry)
	{
		long long count = integer(entry, "count");
		double mean = count > 0 ? (double) integer(entry, "nanoseconds") / 1000.0 / (double) count : 0;

		printf("%-12s %12lld %10lld %16lld %9.1f us\n", name, count, integer(entry, "errors"),
		       integer(entry, "bytes"), mean);
	}
}

void tables_stats(const json_t *stats)
{
	const json_t *mounts = json_object_get(stats, "mounts");
	const json_t *entry;
	size_t i;

	printf("All mounts since the server started\n");
	print_operations(json_object_get(stats, "operations"));
	json_array_foreach(mounts, i, entry)
	{
		printf("\nWorker %lld, ", integer(entry, "pid"));
		print_path(entry, "share");
		print_operations(json_object_get(entry, "operations"));
	}
}

void tables_shares(const json_t *answer)
{
	const json_t *shares = json_object_get(answer, "shares");
	const json_t *entry;
	size_t i;

	if (json_array_size(shares) == 0)
		printf("no directory is shared\n");
	json_array_foreach(shares, i, entry)
	{
		printf("%-2s %-7s ", json_is_true(json_object_get(entry, "read_only")) ? "ro" : "rw",
		       json_is_true(json_object_get(entry, "present")) ? "" : "missing");
		print_path(entry, "path");
	}
}
