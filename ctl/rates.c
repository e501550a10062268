/* SPDX-License-Identifier: Apache-2.0 */
/* What mounts did between two looks. */
#include "ctl/rates.h"

#include <stdlib.h>
#include <string.h>

#include "protocol/cleanup.h"

/* The members by which rows are put in order: the largest first, but for numbers and names of things. */
static const struct rates_order orders[] = {
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

static double lease_events(const json_t *mount)
{
	return json_number_value(json_object_get(json_object_get(mount, "leases"), "events"));
}

/* What one mount did between two looks. */
static json_t *compare(json_t *mount, const struct rates_look *before, const struct rates_look *after)
{
	json_int_t pid = json_integer_value(json_object_get(mount, "pid"));
	json_t *now_mount = mount_of(after->stats, pid), *old_mount = mount_of(before->stats, pid);
	struct figures now = sum(json_object_get(now_mount, "operations"));
	struct figures old = sum(json_object_get(old_mount, "operations"));
	double events = lease_events(mount), old_events = lease_events(mount_of(before->status, pid));
	double seconds = after->at > before->at ? after->at - before->at : 1, requests = now.requests - old.requests;
	json_t *row = json_copy(mount);

	(void) json_object_set_new(row, "requests_per_second", json_real(requests / seconds));
	(void) json_object_set_new(row, "errors_per_second", json_real((now.errors - old.errors) / seconds));
	(void) json_object_set_new(row, "bytes_per_second", json_real((now.bytes - old.bytes) / seconds));
	(void) json_object_set_new(row, "lease_events_per_second",
	                           json_real(events > old_events ? (events - old_events) / seconds : 0));
	(void) json_object_set_new(row, "mean_microseconds",
	                           json_real(requests > 0 ? (now.nanoseconds - old.nanoseconds) / requests / 1000 : 0));
	return row;
}

/* How a row is before (negative) or behind another. */
static int compare_rows(const void *left_row, const void *right_row, void *context)
{
	const struct rates_order *order = context;
	const json_t *left = json_object_get(*(json_t *const *) left_row, order->member);
	const json_t *right = json_object_get(*(json_t *const *) right_row, order->member);
	double difference = json_number_value(left) - json_number_value(right);
	int result = difference < 0 ? -1 : difference > 0 ? 1 : 0;

	if (json_is_string(left) && json_is_string(right))
		result = strcmp(json_string_value(left), json_string_value(right));
	return order->upwards ? result : -result;
}

static json_t *sorted(json_t *rows, const struct rates_order *order)
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

json_t *rates_between(const struct rates_look *before, const struct rates_look *after, time_t date,
                      const struct rates_order *order)
{
	json_t *rows = json_array(), *mount;
	size_t i;

	json_array_foreach(json_object_get(after->status, "mounts"), i, mount)
	{
		/* One that ended between the two questions has no figures. */
		if (mount_of(after->stats, json_integer_value(json_object_get(mount, "pid"))) != NULL)
			(void) json_array_append_new(rows, compare(mount, before, after));
	}
	return json_pack("{si sI sf so}", "version", 1, "time", (json_int_t) date, "seconds", after->at - before->at,
	                 "mounts", sorted(rows, order));
}

json_t *rates_reorder(const json_t *rates, const struct rates_order *order)
{
	json_t *again = json_copy((json_t *) rates);

	if (again != NULL)
		(void) json_object_set_new(again, "mounts",
		                           sorted(json_incref(json_object_get(rates, "mounts")), order));
	return again;
}

const struct rates_order *rates_order_named(const char *name)
{
	for (unsigned i = 0; i < ARRAY_SIZE(orders); i++)
		if (strcmp(orders[i].name, name) == 0)
			return &orders[i];
	return NULL;
}

const struct rates_order *rates_order_of_key(int key)
{
	for (unsigned i = 0; i < ARRAY_SIZE(orders); i++)
		if (orders[i].name[0] == key)
			return &orders[i];
	return NULL;
}
