/* SPDX-License-Identifier: Apache-2.0 */
/* Threads that sleep until one of them is needed: who is woken, and that nobody is forgotten. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <unistd.h>

#include <cmocka.h>

#include "guest-fuse/mount/kernel/sleepers.h"

enum { COUNT = 3 };

struct fixture {
	struct lock lock;
	struct sleepers sleepers;
	struct sleeper all[COUNT];
	pthread_t threads[COUNT];
	unsigned started;
	int woken[COUNT]; /* in this order */
	unsigned woken_count;
};

static void *run(void *argument)
{
	struct fixture *fixture = argument;
	unsigned number;

	lock_take(&fixture->lock);
	number = fixture->started++;
	sleepers_wait(&fixture->sleepers, &fixture->all[number], &fixture->lock);
	fixture->woken[fixture->woken_count++] = (int) number;
	lock_give(&fixture->lock);
	return NULL;
}

static unsigned look(struct fixture *fixture, const unsigned *what)
{
	unsigned value;

	lock_take(&fixture->lock);
	value = *what;
	lock_give(&fixture->lock);
	return value;
}

/* One after the other falls asleep: the lock is free only when it sleeps. */
static void set_up(struct fixture *fixture)
{
	lock_init(&fixture->lock);
	for (unsigned i = 0; i < COUNT; i++) {
		sleeper_init(&fixture->all[i]);
		assert_int_equal(pthread_create(&fixture->threads[i], NULL, run, fixture), 0);
		while (look(fixture, &fixture->started) <= i)
			(void) usleep(1000);
	}
}

static void tear_down(struct fixture *fixture)
{
	for (unsigned i = 0; i < COUNT; i++) {
		pthread_join(fixture->threads[i], NULL);
		sleeper_done(&fixture->all[i]);
	}
	lock_done(&fixture->lock);
}

static void the_one_that_has_slept_least_is_woken_first(void **state)
{
	struct fixture fixture = { 0 };

	set_up(&fixture);
	for (unsigned i = 0; i < COUNT; i++) {
		lock_take(&fixture.lock);
		sleepers_wake(&fixture.sleepers);
		lock_give(&fixture.lock);
		while (look(&fixture, &fixture.woken_count) <= i)
			(void) usleep(1000);
		assert_int_equal(fixture.woken[i], COUNT - 1 - (int) i);
	}
	/* Nobody is left. */
	lock_take(&fixture.lock);
	sleepers_wake(&fixture.sleepers);
	lock_give(&fixture.lock);
	tear_down(&fixture);
}

static void each_call_wakes_another_one_also_before_any_has_run(void **state)
{
	struct fixture fixture = { 0 };

	set_up(&fixture);
	lock_take(&fixture.lock);
	for (unsigned i = 0; i < COUNT; i++)
		sleepers_wake(&fixture.sleepers);
	lock_give(&fixture.lock);
	tear_down(&fixture);
	assert_int_equal(fixture.woken_count, COUNT);
}

static void all_are_woken_at_the_end(void **state)
{
	struct fixture fixture = { 0 };

	set_up(&fixture);
	lock_take(&fixture.lock);
	sleepers_wake_all(&fixture.sleepers);
	lock_give(&fixture.lock);
	tear_down(&fixture);
	assert_int_equal(fixture.woken_count, COUNT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_one_that_has_slept_least_is_woken_first),
		cmocka_unit_test(each_call_wakes_another_one_also_before_any_has_run),
		cmocka_unit_test(all_are_woken_at_the_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
