/* SPDX-License-Identifier: Apache-2.0 */
/* What mounts did between two looks. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "ctl/rates.h"
#include "protocol/cleanup.h"
#include "protocol/document.h"

static struct rates_look before, after;

/* Two mounts, of which the second is faster; and one that has ended between the questions. */
static int set_up(void **state)
{
	before.at = 100;
	before.status = json_pack("{s[{si s{si}} {si}]}", "mounts", "pid", 1, "leases", "events", 10, "pid", 2);
	before.stats = json_pack("{s[{si s{s{si si si si}}}]}", "mounts", "pid", 1, "operations", "read", "count", 10,
	                         "errors", 1, "bytes", 1000, "nanoseconds", 5000);
	after.at = 102;
	after.status = json_pack("{s[{siss s{si}} {siss s{si}} {siss}]}", "mounts", "pid", 1, "share", "/b", "leases",
	                         "events", 16, "pid", 2, "share", "/a", "leases", "events", 5, "pid", 3, "share", "/c");
	after.stats = json_pack("{s[{si s{s{si si si si} s{si si si si}}} {si s{s{si si si si}}}]}", "mounts", "pid", 1,
	                        "operations", "read", "count", 20, "errors", 3, "bytes", 5000, "nanoseconds", 25000,
	                        "write", "count", 10, "errors", 0, "bytes", 0, "nanoseconds", 20000, "pid", 2,
	                        "operations", "read", "count", 100, "errors", 0, "bytes", 10, "nanoseconds", 100000);
	return 0;
}

static int tear_down(void **state)
{
	json_decref(before.status);
	json_decref(before.stats);
	json_decref(after.stats);
	json_decref(after.status);
	before = after = (struct rates_look){ 0 };
	return 0;
}

static json_t *between(const char *order)
{
	return rates_between(&before, &after, 1234, rates_order_named(order));
}

static const char *share(const json_t *rates, size_t index)
{
	return json_string_value(json_object_get(json_array_get(json_object_get(rates, "mounts"), index), "share"));
}

static double number(const json_t *rates, size_t index, const char *key)
{
	return json_number_value(json_object_get(json_array_get(json_object_get(rates, "mounts"), index), key));
}

static void figures_are_per_second_and_per_request(void **state)
{
	_cleanup_json_ json_t *rates = between("pid");

	assert_int_equal(json_integer_value(json_object_get(rates, "time")), 1234);
	assert_true(json_number_value(json_object_get(rates, "seconds")) == 2);
	/* 20 requests, 2 errors, 4000 bytes, 40000 ns in 2 s. */
	assert_true(number(rates, 0, "requests_per_second") == 10);
	assert_true(number(rates, 0, "errors_per_second") == 1);
	assert_true(number(rates, 0, "bytes_per_second") == 2000);
	assert_true(number(rates, 0, "mean_microseconds") == 2);
	assert_true(number(rates, 0, "lease_events_per_second") == 3);
	assert_string_equal(share(rates, 0), "/b");
}

static void one_that_is_new_began_with_nothing(void **state)
{
	_cleanup_json_ json_t *rates = between("pid");

	assert_true(number(rates, 1, "requests_per_second") == 50);
	assert_true(number(rates, 1, "lease_events_per_second") == 2.5);
}

static void one_that_has_ended_meanwhile_is_left_out(void **state)
{
	_cleanup_json_ json_t *rates = between("pid");

	assert_int_equal(json_array_size(json_object_get(rates, "mounts")), 2);
}

static void one_that_did_nothing_has_no_mean(void **state)
{
	_cleanup_json_ json_t *rates = NULL;

	json_decref(before.stats);
	before.stats = json_deep_copy(after.stats);
	rates = between("pid");
	assert_true(number(rates, 0, "requests_per_second") == 0);
	assert_true(number(rates, 0, "mean_microseconds") == 0);
	assert_true(json_is_real(
	        json_object_get(json_array_get(json_object_get(rates, "mounts"), 0), "mean_microseconds")));
}

static void two_looks_at_one_moment_divide_by_no_zero(void **state)
{
	_cleanup_json_ json_t *rates = NULL;

	after.at = before.at;
	rates = between("pid");
	assert_true(number(rates, 0, "requests_per_second") == 20);
}

static void rows_are_in_the_order_that_is_asked_for(void **state)
{
	static const struct {
		const char *order, *first;
	} cases[] = { { "requests", "/a" }, { "time", "/b" }, { "bytes", "/b" },
		      { "errors", "/b" },   { "pid", "/b" },  { "share", "/a" } };

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_json_ json_t *rates = between(cases[i].order), *again = NULL;

		assert_string_equal(share(rates, 0), cases[i].first);
		again = rates_reorder(rates, rates_order_named("share"));
		assert_string_equal(share(again, 0), "/a");
		assert_string_equal(share(rates, 0), cases[i].first); /* as it was */
		assert_int_equal(json_integer_value(json_object_get(again, "time")), 1234);
	}
}

static void orders_are_known_by_name_and_key(void **state)
{
	assert_null(rates_order_named("frobs"));
	assert_null(rates_order_named(""));
	assert_null(rates_order_of_key('x'));
	assert_null(rates_order_of_key(0));
	assert_string_equal(rates_order_of_key('r')->name, "requests");
	assert_string_equal(rates_order_of_key('s')->name, "share");
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(figures_are_per_second_and_per_request),    CASE(one_that_is_new_began_with_nothing),
		CASE(one_that_has_ended_meanwhile_is_left_out),  CASE(one_that_did_nothing_has_no_mean),
		CASE(two_looks_at_one_moment_divide_by_no_zero), CASE(rows_are_in_the_order_that_is_asked_for),
		CASE(orders_are_known_by_name_and_key),
	};

	return cmocka_run_group_tests_name("rates", tests, NULL, NULL);
}
