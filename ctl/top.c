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
#include "ctl/terminal.h"
#include "protocol/cleanup.h"
#include "protocol/clock.h"

/* The members by which rows are put in order: the largest first, but for numbers and names of things. */
static const struct order {
	const char *name, *member;
	bool upwards;
} orders[] = {
	{ "requests", "requests_per_second", false },
	{ "time", "mean_microseconds", false },
	{ "bytes", "bytes_per_second", false },
	{ "errors", "errors_per_second", false },
	{ "lanes", "lanes", false },
	{ "pid", "pid", true },
	{ "share", "share", true },
};

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
	int code;

	look.status = client_ask(path, client_request("status"), &code);
	if (look.status != NULL)
		look.stats = client_ask(path, client_request("stats"), &code);
	if (look.stats == NULL) {
		look_done(&look);
		return code;
	}
	look.at = (double) clock_ns() / 1e9;
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

/* How a row is before (negative) or behind another. */
static int compare_rows(const void *left_row, const void *right_row, void *context)
{
	const struct order *order = context;
	const json_t *left = json_object_get(*(json_t *const *) left_row, order->member);
	const json_t *right = json_object_get(*(json_t *const *) right_row, order->member);
	double difference = json_number_value(left) - json_number_value(right);
	int result = difference < 0 ? -1 : difference > 0 ? 1 : 0;

	if (json_is_string(left) && json_is_string(right))
		result = strcmp(json_string_value(left), json_string_value(right));
	return order->upwards ? result : -result;
}

static json_t *sorted(json_t *rows, const struct order *order)
{
	size_t count = json_array_size(rows);
	_cleanup_free_ json_t **list = calloc(count + 1, sizeof(json_t *));
	json_t *result = json_array();

	for (size_t i = 0; i < count && list != NULL; i++)
		list[i] = json_array_get(rows, i);
	if (list != NULL)
		qsort_r(list, count, sizeof(json_t *), compare_rows, (void *) order);
	for (size_t i = 0; i < count && list != NULL; i++)
		(void) json_array_append(result, list[i]);
	json_decref(rows);
	return result;
}

static json_t *difference(const struct look *before, const struct look *after, const struct order *order)
{
	json_t *rows = json_array(), *mount;
	size_t i;

	json_array_foreach(json_object_get(after->status, "mounts"), i, mount)
	{
		/* One that ended between the two questions has no figures. */
		if (mount_of(after->stats, json_integer_value(json_object_get(mount, "pid"))) != NULL)
			(void) json_array_append_new(rows, compare(mount, before, after));
	}
	return json_pack("{si sI sf so}", "version", 1, "time", (json_int_t) time(NULL), "seconds",
	                 after->at - before->at, "mounts", sorted(rows, order));
}

static const struct order *order_named(const char *name)
{
	for (unsigned i = 0; i < ARRAY_SIZE(orders); i++)
		if (strcmp(orders[i].name, name) == 0)
			return &orders[i];
	return NULL;
}

bool top_knows(const char *key)
{
	return order_named(key) != NULL;
}

static void show(const json_t *rows, const struct top_options *options, const struct order *order)
{
	int columns = 0, lines = 0;

	if (options->as_json) {
		(void) json_dumpf(rows, stdout, JSON_COMPACT | JSON_REAL_PRECISION(9));
		(void) putchar('\n');
	} else if (isatty(STDOUT_FILENO)) {
		terminal_size(&columns, &lines);
		/* To the upper left, and all below is empty. */
		(void) fputs("\x1b[H\x1b[J", stdout);
		tables_top(rows, order->name, columns, lines);
	} else {
		tables_top(rows, NULL, 0, 0);
	}
	(void) fflush(stdout);
}

/* Until the next look is due; keys choose the order meanwhile, which is shown at once. False: the user has ended it. */
static bool wait_and_listen(const json_t *rows, const struct top_options *options, const struct order **order)
{
	int64_t due = clock_ms() + options->interval_s * 1000;

	for (int64_t left; (left = due - clock_ms()) > 0;) {
		int key = terminal_key((int) left);

		if (key == -1 || key == 'q' || key == 'Q')
			return false;
		for (unsigned i = 0; i < ARRAY_SIZE(orders) && key != 0; i++) {
			json_t *again = NULL;

			if (orders[i].name[0] != key)
				continue;
			*order = &orders[i];
			if (rows != NULL)
				again = json_pack("{sO sO so}", "time", json_object_get(rows, "time"), "seconds",
				                  json_object_get(rows, "seconds"), "mounts",
				                  sorted(json_incref(json_object_get(rows, "mounts")), *order));
			if (again != NULL)
				show(again, options, *order);
			json_decref(again);
		}
	}
	return true;
}

/* The looks, until there were enough, the server is gone, or the user ends them. */
static int look_on(const char *path, const struct top_options *options)
{
	const struct order *order = order_named(options->sort);
	struct look before, after;
	json_t *rows = NULL;
	int code = take_look(path, &before);

	if (code != EX_OK)
		return code;
	for (long i = 0; options->count == 0 || i < options->count; i++) {
		if (!wait_and_listen(rows, options, &order))
			break;
		code = take_look(path, &after);
		if (code != EX_OK)
			break;
		json_decref(rows);
		rows = difference(&before, &after, order);
		show(rows, options, order);
		look_done(&before);
		before = after;
	}
	json_decref(rows);
	look_done(&before);
	return code;
}

int top_run(const char *path, const struct top_options *options)
{
	bool keys = !options->as_json && terminal_begin();
	int code = look_on(path, options);

	terminal_end();
	if (keys && terminal_key(0) == -1)
		terminal_die();
	return code;
}
