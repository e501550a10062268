/* SPDX-License-Identifier: Apache-2.0 */
/* Names that the kernel was told not to exist: the bound, the order, one directory's and everybody's, many threads. */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "guest-fuse/mount/known/absent.h"
#include "protocol/cleanup.h"

enum { MOST = 100 };

static int set_up(void **state)
{
	*state = absent_new(MOST);
	return *state == NULL ? -1 : 0;
}

static int tear_down(void **state)
{
	absent_free(*state);
	return 0;
}

static void add(struct absent *absent, uint64_t parent, const char *name)
{
	struct absent_name evicted;

	assert_int_equal(absent_add(absent, parent, name, &evicted), 0);
}

static void assert_name(const struct absent_name *found, uint64_t parent, const char *name)
{
	assert_int_equal(found->parent, parent);
	assert_string_equal(found->name.text, name);
	assert_int_equal(found->name.length, strlen(name));
}

static void a_name_is_there_once(void **state)
{
	add(*state, 1, "name");
	add(*state, 1, "name");
	add(*state, 2, "name");
	assert_int_equal(absent_count(*state), 2);
	assert_true(absent_remove(*state, 1, "name"));
	assert_false(absent_remove(*state, 1, "name"));
	assert_false(absent_remove(*state, 2, "nam"));
	assert_int_equal(absent_count(*state), 1);
	assert_true(absent_remove(*state, 2, "name"));
	assert_int_equal(absent_count(*state), 0);
}

static void what_is_no_name_is_refused(void **state)
{
	struct absent_name evicted;
	char text[258];

	memset(text, 'x', sizeof(text));
	text[257] = '\0';
	assert_int_equal(absent_add(*state, 1, text, &evicted), -ENAMETOOLONG);
	assert_int_equal(absent_add(*state, 1, "a/b", &evicted), -EINVAL);
	assert_int_equal(absent_count(*state), 0);
	text[255] = '\0';
	add(*state, 1, text);
	assert_int_equal(absent_take(*state, 1, &evicted, 1), 1);
	assert_name(&evicted, 1, text);
}

static void the_oldest_goes_when_there_is_no_room(void **state)
{
	struct absent_name evicted;
	char name[16];

	for (int i = 0; i < MOST; i++) {
		snprintf(name, sizeof(name), "%d", i);
		add(*state, 1 + (uint64_t) i % 7, name);
	}
	/* Told again: the newest now. There is room for what is there already. */
	add(*state, 1, "0");
	assert_int_equal(absent_add(*state, 9, "new", &evicted), 1);
	assert_name(&evicted, 2, "1");
	assert_int_equal(absent_add(*state, 9, "newer", &evicted), 1);
	assert_name(&evicted, 3, "2");
	assert_int_equal(absent_count(*state), MOST);
	assert_false(absent_remove(*state, 2, "1"));
	assert_true(absent_remove(*state, 1, "0"));
	add(*state, 9, "newest");
	assert_int_equal(absent_count(*state), MOST);
}

static void with_no_room_at_all_the_name_itself_comes_back(void **state)
{
	struct absent *none = absent_new(0);
	struct absent_name evicted;

	assert_non_null(none);
	assert_int_equal(absent_add(none, 1, "name", &evicted), 1);
	assert_name(&evicted, 1, "name");
	assert_int_equal(absent_count(none), 0);
	absent_free(none);
}

static void a_directory_gives_its_own_names_the_oldest_first(void **state)
{
	struct absent_name names[4];

	add(*state, 1, "a");
	add(*state, 2, "b");
	add(*state, 1, "c");
	add(*state, 1, "d");
	add(*state, 1, "a");
	assert_int_equal(absent_take(*state, 3, names, 4), 0);
	assert_int_equal(absent_take(*state, 1, names, 0), 0);
	assert_int_equal(absent_take(*state, 1, names, 2), 2);
	assert_name(&names[0], 1, "c");
	assert_name(&names[1], 1, "d");
	assert_int_equal(absent_take(*state, 1, names, 4), 1);
	assert_name(&names[0], 1, "a");
	assert_int_equal(absent_take(*state, 1, names, 4), 0);
	assert_int_equal(absent_count(*state), 1);
	assert_true(absent_remove(*state, 2, "b"));
}

static void all_are_taken_in_the_order_in_which_they_came(void **state)
{
	struct absent_name names[3];

	add(*state, 3, "a");
	add(*state, 1, "b");
	add(*state, 2, "c");
	add(*state, 3, "d");
	assert_int_equal(absent_take(*state, 0, names, 3), 3);
	assert_name(&names[0], 3, "a");
	assert_name(&names[1], 1, "b");
	assert_name(&names[2], 2, "c");
	assert_int_equal(absent_take(*state, 0, names, 3), 1);
	assert_name(&names[0], 3, "d");
	assert_int_equal(absent_take(*state, 0, names, 3), 0);
	assert_int_equal(absent_count(*state), 0);
}

enum { THREADS = 4, ROUNDS = 5000 };

struct crowd {
	struct absent *absent;
	_Atomic unsigned next;
	_Atomic size_t added, taken;
};

/* Each name is given out once: by an eviction, by remove or by take. */
static void *work(void *argument)
{
	struct crowd *crowd = argument;
	unsigned self = atomic_fetch_add(&crowd->next, 1);
	struct absent_name names[8];
	char name[32];

	for (unsigned i = 0; i < ROUNDS; i++) {
		int r;

		snprintf(name, sizeof(name), "%u-%u", self, i);
		r = absent_add(crowd->absent, 1 + i % 5, name, &names[0]);
		if (r < 0)
			continue;
		atomic_fetch_add(&crowd->added, 1);
		atomic_fetch_add(&crowd->taken, (size_t) r);
		if (i % 3 == 0)
			atomic_fetch_add(&crowd->taken, absent_remove(crowd->absent, 1 + i % 5, name));
		if (i % 16 == 0)
			atomic_fetch_add(&crowd->taken, absent_take(crowd->absent, i % 6, names, ARRAY_SIZE(names)));
	}
	return NULL;
}

static void many_threads_get_each_name_once(void **state)
{
	struct crowd crowd = { .absent = *state };
	pthread_t threads[THREADS];
	struct absent_name name;

	for (size_t i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, work, &crowd), 0);
	for (size_t i = 0; i < THREADS; i++)
		assert_int_equal(pthread_join(threads[i], NULL), 0);
	assert_int_equal(crowd.added, THREADS * ROUNDS);
	assert_int_equal(crowd.taken + absent_count(*state), THREADS * ROUNDS);
	while (absent_take(*state, 0, &name, 1) == 1)
		crowd.taken++;
	assert_int_equal(crowd.taken, THREADS * ROUNDS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_name_is_there_once, set_up, tear_down),
		cmocka_unit_test_setup_teardown(what_is_no_name_is_refused, set_up, tear_down),
		cmocka_unit_test_setup_teardown(the_oldest_goes_when_there_is_no_room, set_up, tear_down),
		cmocka_unit_test(with_no_room_at_all_the_name_itself_comes_back),
		cmocka_unit_test_setup_teardown(a_directory_gives_its_own_names_the_oldest_first, set_up, tear_down),
		cmocka_unit_test_setup_teardown(all_are_taken_in_the_order_in_which_they_came, set_up, tear_down),
		cmocka_unit_test_setup_teardown(many_threads_get_each_name_once, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
