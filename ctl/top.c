/* SPDX-License-Identifier: Apache-2.0 */
/* bindsharectl top: what changed between two looks at the server's figures. */
#include "ctl/top.h"

#include <stdio.h>
#include <string.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

#include "ctl/client.h"
#include "ctl/tables.h"

/* Sums over a mount's operations. */
struct figures {
	double requests, errors, bytes, nanoseconds;
};

struct look {
	json_t *status, *stats;
	double at; /* seconds */
};

static void look_done(struct look *look)
{
	json_decref(look->status);
	json_decref(look->stats);
	*look = (struct look){ 0 };
}

static int take_look(const char *path, struct look *ret_look)
{
	struct look look = { 0 };
	struct timespec now;
	int code;

	look.status = client_ask(path, client_request("status"), &code);
	if (look.status != NULL)
		look.stats = client_ask(path, client_request("stats"), &code);
	if (look.stats == NULL) {
		look_done(&look);
		return code;
	}
	(void) clock_gettime(CLOCK_MONOTONIC, &now);
	look.at = (double) now.tv_sec + (double) now.tv_nsec / 1e9;
	*ret_look = look;
	return EX_OK;
}

static json_t *mount_of(json_t *answer, json_int_t pid)
{
	json_t *mount;
	size_t i;

	json_array_foreach(json_object_get(answer, "mounts"), i, mount)
	{
		if (json_integer_value(json_object_get(mount, "pid")) == pid)
			return mount;
	}
	return NULL;
}

static struct figures sum(json_t *operations)
{
	struct figures figures = { 0 };
	const char *name;
	json_t *operation;

	json_object_foreach(operations, name, operation)
	{
		figures.requests += json_number_value(json_object_get(operation, "count"));
		figures.errors += json_number_value(json_object_get(operation, "errors"));
		figures.bytes += json_number_value(json_object_get(operation, "bytes"));
		figures.nanoseconds += json_number_value(json_object_get(operation, "nanoseconds"));
	}
	return figures;
}

/* What one mount did between two looks. */
static json_t *compare(json_t *mount, const struct look *before, const struct look *after)
{
	json_int_t pid = json_integer_value(json_object_get(mount, "pid"));
	json_t *now_mount = mount_of(after->stats, pid), *old_mount = mount_of(before->stats, pid);
	struct figures now = sum(json_object_get(now_mount, "operations"));
	struct figures old = sum(json_object_get(old_mount, "operations"));
	double seconds = after->at > before->at ? after->at - before->at : 1, requests = now.requests - old.requests;
	json_t *row = json_copy(mount);

	(void) json_object_set_new(row, "requests_per_second", json_real(requests / seconds));
	(void) json_object_set_new(row, "errors_per_second", json_real((now.errors - old.errors) / seconds));
	(void) json_object_set_new(row, "bytes_per_second", json_real((now.bytes - old.bytes) / seconds));
	(void) json_object_set_new(row, "mean_microseconds",
	                           json_real(requests > 0 ? (now.nanoseconds - old.nanoseconds) / requests / 1000 : 0));
	return row;
}

static json_t *difference(const struct look *before, const struct look *after)
{
	json_t *rows = json_array(), *mount;
	size_t i;

	json_array_foreach(json_object_get(after->status, "mounts"), i, mount)
	{
		/* One that ended between the two questions has no figures. */
		if (mount_of(after->stats, json_integer_value(json_object_get(mount, "pid"))) != NULL)
			(void) json_array_append_new(rows, compare(mount, before, after));
	}
	return json_pack("{si sf so}", "version", 1, "seconds", after->at - before->at, "mounts", rows);
}

static void show(const json_t *rows, bool as_json)
{
	if (as_json) {
		(void) json_dumpf(rows, stdout, JSON_COMPACT | JSON_REAL_PRECISION(9));
		(void) putchar('\n');
	} else {
		/* To the upper left, and all below is empty. */
		if (isatty(STDOUT_FILENO))
			(void) fputs("\x1b[H\x1b[J", stdout);
		tables_top(rows);
	}
	(void) fflush(stdout);
}

int top_run(const char *path, long interval_s, long count, bool as_json)
{
	const struct timespec pause = { .tv_sec = interval_s };
	struct look before, after;
	int code = take_look(path, &before);

	if (code != EX_OK)
		return code;
	for (long i = 0; code == EX_OK && (count == 0 || i < count); i++) {
		json_t *rows;

		(void) nanosleep(&pause, NULL);
		code = take_look(path, &after);
		if (code != EX_OK)
			break;
		rows = difference(&before, &after);
		show(rows, as_json);
		json_decref(rows);
		look_done(&before);
		before = after;
	}
	look_done(&before);
	return code;
}
