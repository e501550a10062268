/* SPDX-License-Identifier: Apache-2.0 */
/* What is there is divided fairly, and never twice. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "fileserver/broker/budget.h"

enum { TOTAL = 1000000, MOUNTS = 64 };

static uint64_t sum_of(const struct budget_part *parts, size_t count)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < count; i++)
		sum += parts[i].limit;
	return sum;
}

static void one_mount_has_all(void **state)
{
	struct budget_part part = { .used = 77 };

	assert_int_equal(budget_divide(TOTAL, MOUNTS, &part, 1), 0);
	assert_int_equal(part.limit, TOTAL);
	part.wants = true;
	assert_int_equal(budget_divide(TOTAL, MOUNTS, &part, 1), 0);
	assert_int_equal(part.limit, TOTAL);
	assert_int_equal(budget_divide(TOTAL, MOUNTS, NULL, 0), 0);
}

static void one_that_wants_gets_what_the_idle_ones_leave(void **state)
{
	struct budget_part parts[MOUNTS] = { [7] = { .used = 9000, .wants = true } };

	assert_int_equal(budget_divide(TOTAL, MOUNTS, parts, 10), 0);
	assert_true(parts[7].limit > TOTAL / 10 * 8);
	for (int i = 0; i < 10; i++)
		assert_true(parts[i].limit >= TOTAL / MOUNTS);
	assert_true(sum_of(parts, 10) <= TOTAL);
}

static void those_that_want_get_equal_parts_whatever_they_have(void **state)
{
	struct budget_part parts[] = { { .used = TOTAL, .wants = true }, { .wants = true }, { .used = 10 } };

	assert_int_equal(budget_divide(TOTAL, MOUNTS, parts, 3), 0);
	assert_in_range(parts[0].limit, parts[1].limit - 1, parts[1].limit + 1);
	assert_true(parts[0].limit > TOTAL / 3);
	assert_true(parts[2].limit >= TOTAL / MOUNTS);
	assert_true(sum_of(parts, 3) <= TOTAL);
}

static void whatever_they_use_the_sum_is_never_more(void **state)
{
	struct budget_part parts[MOUNTS];

	srand(1);
	for (int round = 0; round < 2000; round++) {
		size_t count = 1 + (size_t) rand() % MOUNTS;

		for (size_t i = 0; i < count; i++)
			parts[i] = (struct budget_part){ .used = (uint64_t) (rand() % TOTAL) >> (rand() % 20),
				                         .wants = rand() % 3 == 0 };
		assert_int_equal(budget_divide(TOTAL, MOUNTS, parts, count), 0);
		assert_true(sum_of(parts, count) <= TOTAL);
		for (size_t i = 0; i < count; i++)
			assert_true(parts[i].limit >= TOTAL / MOUNTS);
	}
}

static void a_budget_that_is_too_small_leaves_each_the_least(void **state)
{
	struct budget_part parts[MOUNTS] = { 0 };

	assert_int_equal(budget_divide(16, MOUNTS, parts, MOUNTS), 0);
	for (int i = 0; i < MOUNTS; i++)
		assert_int_equal(parts[i].limit, BUDGET_LEAST);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_mount_has_all),
		cmocka_unit_test(one_that_wants_gets_what_the_idle_ones_leave),
		cmocka_unit_test(those_that_want_get_equal_parts_whatever_they_have),
		cmocka_unit_test(whatever_they_use_the_sum_is_never_more),
		cmocka_unit_test(a_budget_that_is_too_small_leaves_each_the_least),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
