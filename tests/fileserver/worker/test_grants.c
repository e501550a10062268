/* SPDX-License-Identifier: Apache-2.0 */
/* Which directories are watched, and who is told when one is no longer. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "fileserver/worker/leases/internal.h"
#include "tests/fileserver/worker/leasing.h"
#include "tests/support/scratch.h"

static struct leasing leasing;
static struct node *a, *b, *c;

static int set_up(void **state)
{
	if (scratch_set_up(state) < 0)
		return -1;
	scratch_directory("a");
	scratch_directory("b");
	scratch_directory("c");
	return 0;
}

static void begin(uint32_t most)
{
	leasing_begin(&leasing, most);
	a = leasing_learn(&leasing, NULL, "a", "a", 1);
	b = leasing_learn(&leasing, NULL, "b", "b", 1);
	c = leasing_learn(&leasing, NULL, "c", "c", 1);
}

static void end(void)
{
	nodes_put(leasing.nodes, a);
	nodes_put(leasing.nodes, b);
	nodes_put(leasing.nodes, c);
	leasing_end(&leasing);
}

static void a_directory_that_is_asked_for_is_watched_once(void **state)
{
	begin(0);
	assert_false(nodes_is_watched(a));
	assert_true(leasing_hold(&leasing, a));
	assert_true(nodes_is_watched(a));
	assert_true(leasing_hold(&leasing, a));
	assert_false(nodes_is_watched(b));
	assert_int_equal(leasing.counters.leases, 1);
	assert_true(leasing.counters.leases_most > 1);
	assert_int_equal(leasing.counters.leases_state, LEASES_GIVEN);
	end();
}

static void without_leases_nothing_is_held(void **state)
{
	begin(0);
	assert_false(leases_hold(NULL, a, -EBADF));
	leases_drop_names(NULL);
	leases_acknowledged(NULL, 1);
	end();
}

static void at_the_limit_who_was_not_asked_for_goes_and_is_told_of(void **state)
{
	begin(2);
	leasing_run(&leasing, true);
	assert_true(leasing_hold(&leasing, a));
	assert_true(leasing_hold(&leasing, b));
	(void) nodes_was_asked(a);
	(void) nodes_was_asked(b);
	(void) nodes_is_watched(a); /* asked for again */
	assert_true(leasing_hold(&leasing, c));
	assert_int_equal(leasing.counters.leases, 2);
	assert_int_equal(leasing.counters.leases_most, 2);
	assert_true(nodes_is_watched(a));
	assert_false(nodes_is_watched(b));
	assert_true(nodes_is_watched(c));
	(void) leasing_wait(&leasing, nodes_id(b), "", PROTO_INVALIDATE_DIRECTORY | PROTO_INVALIDATE_CONTENTS);
	/* It is not watched any more, and can be again. */
	leasing_elsewhere("echo x > b/new");
	assert_true(leasing_hold(&leasing, b));
	leasing_elsewhere("echo x > b/newer");
	(void) leasing_wait(&leasing, nodes_id(b), "newer", PROTO_INVALIDATE_NAME);
	end();
}

/* A directory that the table forgets; whether its end is told. */
static bool is_told_when_freed(unsigned references)
{
	struct node *node;
	uint64_t id;
	bool told = false;

	scratch_directory("d");
	node = leasing_learn(&leasing, NULL, "d", "d", references);
	id = nodes_id(node);
	assert_true(leasing_hold(&leasing, node));
	assert_int_equal(leasing.counters.leases, 1);
	nodes_put(leasing.nodes, node);
	if (references > 0)
		nodes_forget(leasing.nodes, id, references);
	assert_int_equal(leasing.counters.leases, 0);
	/* What comes after it in time says that it would have come. */
	assert_true(leasing_hold(&leasing, a));
	leasing_elsewhere("mkdir a/later");
	(void) leasing_wait(&leasing, nodes_id(a), "later", PROTO_INVALIDATE_NAME);
	for (unsigned i = 0; i < leasing_count(&leasing); i++)
		told = told || leasing_told(&leasing, i).directory == id;
	return told;
}

static void what_the_guest_has_forgotten_it_is_not_told_of(void **state)
{
	begin(0);
	leasing_run(&leasing, true);
	assert_false(is_told_when_freed(1));
	end();
}

static void a_restart_ends_all_and_says_so(void **state)
{
	begin(0);
	leasing_run(&leasing, true);
	assert_true(leasing_hold(&leasing, a));
	assert_true(leasing_hold(&leasing, b));
	leases_restart(leasing.leases);
	assert_false(nodes_is_watched(a));
	assert_false(nodes_is_watched(b));
	assert_int_equal(leasing.counters.leases, 0);
	leases_lose_all(leasing.leases, 0);
	(void) leasing_wait(&leasing, 0, "", PROTO_INVALIDATE_ALL | PROTO_INVALIDATE_CONTENTS);
	assert_true(leasing_hold(&leasing, a));
	leasing_elsewhere("mkdir a/after");
	(void) leasing_wait(&leasing, nodes_id(a), "after", PROTO_INVALIDATE_NAME);
	end();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_directory_that_is_asked_for_is_watched_once, set_up,
		                                scratch_tear_down),
		cmocka_unit_test_setup_teardown(without_leases_nothing_is_held, set_up, scratch_tear_down),
		cmocka_unit_test_setup_teardown(at_the_limit_who_was_not_asked_for_goes_and_is_told_of, set_up,
		                                scratch_tear_down),
		cmocka_unit_test_setup_teardown(what_the_guest_has_forgotten_it_is_not_told_of, set_up,
		                                scratch_tear_down),
		cmocka_unit_test_setup_teardown(a_restart_ends_all_and_says_so, set_up, scratch_tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
