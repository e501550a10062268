/* SPDX-License-Identifier: Apache-2.0 */
/* The clocks, and the times that system calls take. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "protocol/cleanup.h"
#include "protocol/clock.h"

static void the_forward_clock_is_the_kernels_in_each_unit(void **state)
{
	struct timespec before, after;
	int64_t ns, us, ms;

	assert_int_equal(clock_gettime(CLOCK_MONOTONIC, &before), 0);
	ns = clock_ns();
	us = clock_us();
	ms = clock_ms();
	assert_int_equal(clock_gettime(CLOCK_MONOTONIC, &after), 0);
	assert_true(ns >= before.tv_sec * INT64_C(1000000000) + before.tv_nsec);
	assert_true(us >= ns / 1000 && ms >= us / 1000);
	assert_true(ms <= after.tv_sec * INT64_C(1000) + after.tv_nsec / 1000000);
}

static void the_date_is_the_time_of_day(void **state)
{
	time_t before = time(NULL);
	struct timespec date = clock_date();

	/* time(2) may be a tick behind. */
	assert_true(date.tv_sec >= before && date.tv_sec <= time(NULL) + 1);
	assert_true(date.tv_nsec >= 0 && date.tv_nsec < CLOCK_NS_PER_S);
}

static void durations_are_split_into_seconds_and_the_rest(void **state)
{
	static const struct {
		int64_t us;
		time_t seconds;
		long ns;
	} cases[] = {
		{ 0, 0, 0 }, { 1, 0, 1000 }, { 999999, 0, 999999000 }, { 1000000, 1, 0 }, { 2500001, 2, 500001000 }
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct timespec us = clock_timespec_us(cases[i].us), ms = clock_timespec_ms(cases[i].us);
		struct timeval tv = clock_timeval_ms(cases[i].us);

		assert_int_equal(us.tv_sec, cases[i].seconds);
		assert_int_equal(us.tv_nsec, cases[i].ns);
		assert_int_equal(ms.tv_sec, cases[i].us / 1000);
		assert_int_equal(ms.tv_nsec, cases[i].us % 1000 * 1000000);
		assert_int_equal(tv.tv_sec, cases[i].us / 1000);
		assert_int_equal(tv.tv_usec, cases[i].us % 1000 * 1000);
	}
}

static void a_deadline_is_so_much_later_and_its_parts_are_in_range(void **state)
{
	/* So many that some carry. */
	for (int64_t ms = 0; ms < 3000; ms += 7) {
		int64_t before = clock_ns(), ns;
		struct timespec deadline = clock_deadline_ms(ms);

		ns = deadline.tv_sec * INT64_C(1000000000) + deadline.tv_nsec;
		assert_true(deadline.tv_nsec >= 0 && deadline.tv_nsec < CLOCK_NS_PER_S);
		assert_true(ns >= before + ms * 1000000);
		assert_true(ns <= clock_ns() + ms * 1000000);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_forward_clock_is_the_kernels_in_each_unit),
		cmocka_unit_test(the_date_is_the_time_of_day),
		cmocka_unit_test(durations_are_split_into_seconds_and_the_rest),
		cmocka_unit_test(a_deadline_is_so_much_later_and_its_parts_are_in_range),
	};

	return cmocka_run_group_tests_name("clock", tests, NULL, NULL);
}
