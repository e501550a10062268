/* SPDX-License-Identifier: Apache-2.0 */
/* References on their way back to the server. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "guest-fuse/mount/server/forgets.h"

static void only_the_first_wakes_the_keeper(void **state)
{
	struct forgets *forgets = forgets_new();

	assert_false(forgets_add(forgets, 1, 0));
	assert_int_equal(forgets_count(forgets), 0);
	assert_true(forgets_add(forgets, 1, 1));
	assert_false(forgets_add(forgets, 2, 1));
	assert_int_equal(forgets_count(forgets), 2);
	forgets_free(forgets);
}

static void nothing_is_lost_between_adding_and_taking(void **state)
{
	struct forgets_pair pairs[100];
	struct forgets *forgets = forgets_new();
	uint64_t sum = 0, count = 0;
	size_t n;

	for (uint64_t i = 1; i <= 1000; i++)
		(void) forgets_add(forgets, i, 2);
	while ((n = forgets_take(forgets, pairs, 100)) > 0)
		for (size_t i = 0; i < n; i++) {
			sum += pairs[i].node;
			count += pairs[i].references;
		}
	assert_int_equal(sum, 1000 * 1001 / 2);
	assert_int_equal(count, 2000);
	assert_true(forgets_add(forgets, 1, 1));
	forgets_free(forgets);
}

static void handles_go_the_same_way(void **state)
{
	struct forgets *forgets = forgets_new();
	struct forgets_pair pairs[2];

	assert_true(forgets_add_handle(forgets, 7));
	assert_false(forgets_add(forgets, 8, 1));
	assert_int_equal(forgets_take(forgets, pairs, 2), 2);
	assert_int_equal(pairs[0].node, 7);
	assert_int_equal(pairs[0].references, 0);
	assert_int_equal(pairs[1].references, 1);
	forgets_free(forgets);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(only_the_first_wakes_the_keeper),
		cmocka_unit_test(nothing_is_lost_between_adding_and_taking),
		cmocka_unit_test(handles_go_the_same_way),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
