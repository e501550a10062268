/* SPDX-License-Identifier: Apache-2.0 */
/* Attributes of directories that the last change told. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "guest-fuse/mount/known/file-binds.h"
#include "guest-fuse/mount/known/held.h"
#include "guest-fuse/mount/known/recent.h"
#include "guest-fuse/mount/known/validity.h"
#include "protocol/clock.h"

#define NODE PROTO_ID(3, 4)

static struct recent *recent;
static struct file_binds *file_binds;
static struct held *held;
static struct proto_attr attr, got;
static double left;

static int set_up(void **state)
{
	recent = recent_new();
	file_binds = file_binds_new();
	held = held_new();
	attr = (struct proto_attr){ .mode = S_IFDIR | 0755, .nlink = 2, .ctime = { 10, 0 } };
	return 0;
}

static int tear_down(void **state)
{
	recent_free(recent);
	file_binds_free(file_binds);
	held_free(held);
	return 0;
}

static void put(uint64_t node, int64_t since)
{
	const struct answer answer = { .since = since, .events = held_now(held) };

	recent_put(recent, node, &attr, &answer);
}

/* With what the server says being valid for so many seconds. */
static bool get(uint64_t node, double seconds)
{
	struct validity validity = { .seconds = seconds, .file_binds = file_binds, .held = held };

	return recent_get(recent, &validity, node, &got, &left);
}

static void what_was_told_is_good_for_the_rest_of_its_time(void **state)
{
	put(NODE, clock_ns() - 400000000);
	assert_true(get(NODE, 1.0));
	assert_int_equal(got.nlink, 2);
	assert_true(left > 0.3 && left <= 0.6);
	assert_false(get(NODE, 0.3));
	assert_false(get(NODE, 0.0));
	recent_drop(recent, NODE);
	assert_false(get(NODE, 1.0));
}

static void a_reply_that_was_overtaken_changes_nothing(void **state)
{
	int64_t sent = clock_ns();

	put(NODE, sent);
	attr.ctime.seconds--;
	attr.nlink = 1;
	put(NODE, sent);
	assert_true(get(NODE, 1.0));
	assert_int_equal(got.nlink, 2);
}

static void of_two_at_the_same_time_nobody_knows_the_later(void **state)
{
	int64_t sent = clock_ns();

	put(NODE, sent);
	attr.nlink = 3;
	put(NODE, sent);
	assert_false(get(NODE, 1.0));
}

static void a_change_sent_after_the_others_answer_is_the_later_whatever_the_clock_says(void **state)
{
	put(NODE, clock_ns());
	attr.nlink = 3;
	attr.ctime.seconds--;
	put(NODE, clock_ns());
	assert_true(get(NODE, 1.0));
	assert_int_equal(got.nlink, 3);
}

static void only_directories_are_remembered(void **state)
{
	attr.mode = S_IFREG | 0644;
	put(NODE, clock_ns());
	assert_false(get(NODE, 1.0));
}

static void two_in_one_slot_are_not_mixed_up(void **state)
{
	put(NODE, clock_ns());
	put(PROTO_ID(3, 4 + RECENT_SLOTS), clock_ns());
	assert_false(get(NODE, 1.0));
	recent_drop(recent, NODE);
	assert_true(get(PROTO_ID(3, 4 + RECENT_SLOTS), 1.0));
}

static void leased_attributes_are_good_until_they_change(void **state)
{
	attr.flags = PROTO_ATTR_LEASED;
	put(NODE, clock_ns() - 5000000000);
	assert_true(get(NODE, 1.0));
	assert_true(left >= VALIDITY_FOR_EVER);
	held_changed(held, NODE);
	assert_false(get(NODE, 1.0));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(what_was_told_is_good_for_the_rest_of_its_time, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_reply_that_was_overtaken_changes_nothing, set_up, tear_down),
		cmocka_unit_test_setup_teardown(of_two_at_the_same_time_nobody_knows_the_later, set_up, tear_down),
		cmocka_unit_test_setup_teardown(
		        a_change_sent_after_the_others_answer_is_the_later_whatever_the_clock_says, set_up, tear_down),
		cmocka_unit_test_setup_teardown(only_directories_are_remembered, set_up, tear_down),
		cmocka_unit_test_setup_teardown(leased_attributes_are_good_until_they_change, set_up, tear_down),
		cmocka_unit_test_setup_teardown(two_in_one_slot_are_not_mixed_up, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
