/* SPDX-License-Identifier: Apache-2.0 */
/* Crash loops: when a share rests, for how long, and that others do not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "fileserver/broker/crashes.h"

static void five_crashes_within_the_window_make_the_share_rest(void **state)
{
	struct crashes crashes = { 0 };

	for (unsigned i = 0; i < 5; i++) {
		assert_false(crashes_too_many(&crashes, "/a", 7, 1000 + i));
		crashes_note(&crashes, "/a", 7, 1000 + i);
	}
	assert_true(crashes_too_many(&crashes, "/a", 7, 1005));
	assert_true(crashes_too_many(&crashes, "/a", 7, 11003));
	assert_false(crashes_too_many(&crashes, "/a", 7, 11004));
	assert_false(crashes_too_many(&crashes, "/b", 7, 1005));
	/* Another guest may not be to blame. */
	assert_false(crashes_too_many(&crashes, "/a", 8, 1005));
}

static void slow_crashes_do_not(void **state)
{
	struct crashes crashes = { 0 };

	for (unsigned i = 0; i < 20; i++) {
		crashes_note(&crashes, "/a", 7, 1000 + 2500 * i);
		assert_false(crashes_too_many(&crashes, "/a", 7, 1001 + 2500 * i));
	}
}

static void the_table_is_bounded_and_keeps_the_newest(void **state)
{
	struct crashes crashes = { 0 };
	char share[16];

	for (unsigned i = 0; i < 1000; i++) {
		(void) snprintf(share, sizeof(share), "/%u", i);
		for (unsigned j = 0; j < 5; j++)
			crashes_note(&crashes, share, 7, 1000 + i);
	}
	assert_true(crashes_too_many(&crashes, "/999", 7, 2000));
	assert_false(crashes_too_many(&crashes, "/1", 7, 2000));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(five_crashes_within_the_window_make_the_share_rest),
		cmocka_unit_test(slow_crashes_do_not),
		cmocka_unit_test(the_table_is_bounded_and_keeps_the_newest),
	};

	return cmocka_run_group_tests_name("crashes", tests, NULL, NULL);
}
