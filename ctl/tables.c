/* SPDX-License-Identifier: Apache-2.0 */
/* The server's answers as tables. */
#include "ctl/tables.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "ctl/leases.h"
#include "ctl/printable.h"

static long long integer(const json_t *object, const char *key)
{
	return (long long) json_integer_value(json_object_get(object, key));
}

static void write_text(FILE *out, const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));

	printable_write(out, text == NULL ? "-" : text);
}

static void print_text(const json_t *object, const char *key)
{
	write_text(stdout, object, key);
}

static void print_path(const json_t *object, const char *key)
{
	print_text(object, key);
	(void) putchar('\n');
}

static const char *mode_of(const json_t *object)
{
	return json_is_true(json_object_get(object, "read_only")) ? "ro" : "rw";
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
	static const char *const errors[] = { "settings_error", "policy_error" };
	const json_t *mounts = json_object_get(status, "mounts");
	const json_t *entry;
	char since[64];
	size_t i;

	printf("bindshare-fileserver %s, pid %lld, since %s\n", json_string_value(json_object_get(status, "release")),
	       integer(status, "pid"), format_time(integer(status, "since"), since, sizeof(since)));
	json_array_foreach(json_object_get(status, "listen"), i, entry)
	        printf("listening at %s%s\n", json_string_value(entry),
	               json_is_true(json_object_get(status, "token")) ? ", token required" : "");
	for (i = 0; i < sizeof(errors) / sizeof(errors[0]); i++)
		if (json_is_string(json_object_get(status, errors[i]))) {
			(void) fputs("ERROR: ", stdout);
			print_path(status, errors[i]);
		}
	printf("%zu of %lld shares mounted\n", json_array_size(mounts), integer(status, "mounts_max"));
	if (json_array_size(mounts) == 0)
		return;
	printf("\n%7s %-8s %-2s %-19s %5s %8s %7s %11s %11s %8s  %s\n", "PID", "STATE", "", "SINCE", "LANES", "NODES",
	       "HANDLES", "DESCRIPTORS", "LEASES", "EVENTS", "SHARE");
	json_array_foreach(mounts, i, entry)
	{
		const json_t *leases = json_object_get(entry, "leases");
		char held[LEASES_SHORT_SIZE];

		printf("%7lld %-8s %-2s %-19s %5lld %8lld %7lld %11lld %11s %8lld  ", integer(entry, "pid"),
		       json_string_value(json_object_get(entry, "state")), mode_of(entry),
		       format_time(integer(entry, "since"), since, sizeof(since)), integer(entry, "lanes"),
		       integer(entry, "nodes"), integer(entry, "handles"), integer(entry, "descriptors"),
		       leases_short(leases, held), integer(leases, "events"));
		print_path(entry, "share");
		leases_print_notes(leases);
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
		printf("%-2s %-8s %-12s ", mode_of(entry), json_string_value(json_object_get(entry, "state")),
		       json_string_value(json_object_get(entry, "source")));
		print_path(entry, "path");
	}
}

void tables_change(const json_t *answer)
{
	bool added = json_object_get(answer, "added") != NULL;

	printf("%s ", added ? "shared" : "no longer shared");
	print_text(answer, added ? "added" : "removed");
	if (!json_is_true(json_object_get(answer, "persistent")))
		(void) fputs(" (until the server ends)", stdout);
	(void) puts(json_is_true(json_object_get(answer, "still_shared"))
	                    ? ", but it lies in another shared directory and can be mounted through that"
	                    : "");
}

void tables_token(const json_t *answer)
{
	(void) fputs("the token changed; give it to the guest: ", stdout);
	print_path(answer, "token_file");
}

void tables_sync(const json_t *answer)
{
	printf("taken in by %lld mounts\n", integer(answer, "mounts"));
}

void tables_event(const json_t *event)
{
	static const char *const keys[] = { "path", "share", "state", "peer", "reason", "error" };
	char when[64];

	printf("%s %s", format_time((long long) json_number_value(json_object_get(event, "time")), when, sizeof(when)),
	       json_string_value(json_object_get(event, "event")));
	for (unsigned i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
		if (!json_is_string(json_object_get(event, keys[i])))
			continue;
		printf("  %s: ", keys[i]);
		print_text(event, keys[i]);
	}
	if (json_object_get(event, "read_only") != NULL)
		printf("  %s", mode_of(event));
	(void) putchar('\n');
}

static double real(const json_t *object, const char *key)
{
	return json_number_value(json_object_get(object, key));
}

/* Prints a line in a terminal's width (0: any): what is longer is cut, not folded. */
static void print_cut(const char *line, int columns)
{
	size_t length = strlen(line);

	if (columns > 0 && length > (size_t) columns) {
		length = (size_t) columns;
		/* Not within a character; those of several bytes count as wider than they are. */
		while (length > 0 && ((unsigned char) line[length] & 0xc0) == 0x80)
			length--;
	}
	printf("%.*s\n", (int) length, line);
}

/* What a row has room for beside the share, which counts most. */
static bool shows_errors(int columns)
{
	return columns == 0 || columns >= 70;
}

static bool shows_leases(int columns)
{
	return columns == 0 || columns >= 120;
}

static bool shows_all(int columns)
{
	return columns == 0 || columns >= 100;
}

/* Its end tells more than its beginning. Takes the text. */
static void print_end(char *text, int room)
{
	size_t length = text == NULL ? 0 : strlen(text), skip = 0;

	if (room > 3 && length > (size_t) room) {
		skip = length - (size_t) room + 3;
		while (((unsigned char) text[skip] & 0xc0) == 0x80)
			skip++;
		(void) fputs("...", stdout);
	}
	(void) puts(text == NULL ? "" : text + skip);
	free(text);
}

static void print_row(const json_t *entry, int columns)
{
	int used = printf("%7lld %-2s %10.0f %8.1f us %10.2f ", integer(entry, "pid"), mode_of(entry),
	                  real(entry, "requests_per_second"), real(entry, "mean_microseconds"),
	                  real(entry, "bytes_per_second") / 1e6);
	char held[LEASES_SHORT_SIZE], *path = NULL;
	size_t size;
	FILE *out = open_memstream(&path, &size);

	if (shows_errors(columns))
		used += printf("%8.0f ", real(entry, "errors_per_second"));
	if (shows_leases(columns))
		used += printf("%11s %8.0f ", leases_short(json_object_get(entry, "leases"), held),
		               real(entry, "lease_events_per_second"));
	if (shows_all(columns))
		used += printf("%5lld %-20s ", integer(entry, "lanes"),
		               json_string_value(json_object_get(entry, "peer")));
	if (out != NULL) {
		write_text(out, entry, "share");
		(void) fclose(out);
	}
	print_end(path, columns > 0 ? columns - used : 0);
}

void tables_top(const json_t *rows, const char *order, int columns, int lines)
{
	const json_t *mounts = json_object_get(rows, "mounts");
	const json_t *entry;
	double requests = 0, bytes = 0;
	char when[64], head[256];
	size_t i;

	json_array_foreach(mounts, i, entry)
	{
		requests += real(entry, "requests_per_second");
		bytes += real(entry, "bytes_per_second");
	}
	(void) snprintf(head, sizeof(head), "%s  %zu mounts, %.0f requests/s, %.1f MB/s%s%s%s",
	                format_time(integer(rows, "time"), when, sizeof(when)) + strlen("2026-01-01 "),
	                json_array_size(mounts), requests, bytes / 1e6, order == NULL ? "" : "  by ",
	                order == NULL ? "" : order, order == NULL ? "" : " (keys: r t b e l p s; q ends)");
	print_cut(head, columns);
	(void) snprintf(head, sizeof(head), "%7s %-2s %10s %11s %10s %s%s%sSHARE", "PID", "", "REQUESTS/S", "MEAN",
	                "MB/S", shows_errors(columns) ? "ERRORS/S " : "",
	                shows_leases(columns) ? "     LEASES EVENTS/S " : "",
	                shows_all(columns) ? "LANES WHO                  " : "");
	(void) putchar('\n');
	print_cut(head, columns);
	json_array_foreach(mounts, i, entry)
	{
		/* The head, and the line on which the cursor stays. */
		if (lines > 0 && (int) i + 4 >= lines)
			break;
		print_row(entry, columns);
	}
}

void tables_doctor(const json_t *answer)
{
	const json_t *entry;
	size_t i;

	json_array_foreach(json_object_get(answer, "findings"), i, entry)
	{
		printf("%-8s %-10s ", json_string_value(json_object_get(entry, "level")),
		       json_string_value(json_object_get(entry, "check")));
		print_path(entry, "text");
		if (json_is_string(json_object_get(entry, "advice"))) {
			printf("%20s", "");
			print_path(entry, "advice");
		}
	}
}
