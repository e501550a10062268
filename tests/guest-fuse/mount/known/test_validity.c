/* SPDX-License-Identifier: Apache-2.0 */
/* For how long the kernel may keep an answer. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>
#include <unistd.h>

#include "guest-fuse/mount/known/file-binds.h"
#include "guest-fuse/mount/known/held.h"
#include "guest-fuse/mount/known/validity.h"
#include "protocol/clock.h"

#define NODE  PROTO_ID(3, 4)
#define BOUND PROTO_ID(5, 6)

#define DIRECTORY PROTO_ID(1, 1)

static struct file_binds *file_binds;
static struct held *held;
static struct validity cached, uncached;
static double name, attributes;

static int set_up(void **state)
{
	struct proto_name bound;

	file_binds = file_binds_new();
	held = held_new();
	validity_init(&cached, true, true, file_binds, held);
	validity_init(&uncached, false, false, file_binds, held);
	return file_binds != NULL && held != NULL && proto_name_set(&bound, "bound") == 0 &&
	                       file_binds_add(file_binds, BOUND, DIRECTORY, &bound) == 0
	               ? 0
	               : -1;
}

static int tear_down(void **state)
{
	file_binds_free(file_binds);
	held_free(held);
	return 0;
}

/* An answer to what was asked so many seconds ago. */
static struct answer asked(double seconds, bool leased)
{
	return (struct answer){ .since = clock_ns() - (int64_t) (seconds * 1e9),
		                .events = held_now(held),
		                .leased = leased };
}

static void entry(const struct validity *validity, uint64_t node, mode_t mode, bool leased, struct answer answer)
{
	const struct proto_entry found = { .node = node,
		                           .attr = { .mode = mode, .flags = leased ? PROTO_ATTR_LEASED : 0 } };

	validity_entry(validity, DIRECTORY, &found, &answer, &name, &attributes);
}

static double of_attributes(const struct validity *validity, uint64_t node, bool leased, struct answer answer)
{
	const struct proto_attr attr = { .mode = S_IFREG, .flags = leased ? PROTO_ATTR_LEASED : 0 };

	return validity_attributes(validity, node, &attr, &answer);
}

static double of_absence(const struct validity *validity, struct answer answer)
{
	return validity_negative(validity, DIRECTORY, &answer);
}

static void time_that_an_answer_took_is_no_time_to_keep_it(void **state)
{
	int64_t now = clock_ns();
	double fresh = validity_left(&cached, now), old = validity_left(&cached, now - 600000000);

	assert_true(fresh > 0 && fresh <= 1.0);
	assert_true(old >= 0 && old <= 0.4);
	assert_true(validity_left(&cached, now - 3000000000) == 0);
	assert_true(validity_ahead_left(now) > 0 && validity_ahead_left(now) <= 0.1);
	assert_true(validity_ahead_left(now - 200000000) == 0);
	assert_true(of_absence(&cached, asked(0, false)) > 0);
	assert_true(of_absence(&cached, asked(3, false)) == 0);
}

static void without_a_cache_nothing_is_kept(void **state)
{
	struct answer now = asked(0, true);

	name = attributes = 1;
	assert_true(validity_left(&uncached, now.since) == 0);
	assert_true(of_absence(&uncached, now) == 0);
	assert_true(of_attributes(&uncached, NODE, true, now) == 0);
	assert_true(validity_changed(&uncached, NODE, &now) == 0);
	entry(&uncached, NODE, S_IFREG, true, now);
	assert_true(name == 0 && attributes == 0);
	assert_false(validity_contents(&uncached, NODE));
	assert_false(validity_ahead(&uncached));
}

static void of_a_bound_file_the_name_is_kept_and_nothing_else(void **state)
{
	entry(&cached, NODE, S_IFREG, false, asked(0, false));
	assert_true(name > 0 && name <= 1 && attributes > 0 && attributes <= 1);
	assert_true(of_attributes(&cached, NODE, false, asked(0, false)) > 0);
	assert_true(validity_contents(&cached, NODE));
	for (int leased = 0; leased < 2; leased++) {
		entry(&cached, BOUND, S_IFREG, leased != 0, asked(0, leased != 0));
		assert_true(name > 0 && attributes == 0);
		assert_true(of_attributes(&cached, BOUND, leased != 0, asked(0, false)) == 0);
	}
	assert_false(validity_contents(&cached, BOUND));
	assert_true(validity_ahead(&cached));
}

static void what_is_leased_is_kept_for_ever(void **state)
{
	struct answer old = asked(5, true);

	entry(&cached, NODE, S_IFREG, true, old);
	assert_true(name >= VALIDITY_FOR_EVER && attributes >= VALIDITY_FOR_EVER);
	assert_true(of_absence(&cached, old) >= VALIDITY_FOR_EVER);
	assert_true(of_attributes(&cached, NODE, true, asked(5, false)) >= VALIDITY_FOR_EVER);
	/* A file with several names: its name is leased, its attributes are not. */
	entry(&cached, NODE, S_IFREG, false, asked(0, true));
	assert_true(name >= VALIDITY_FOR_EVER && attributes > 0 && attributes <= 1);
}

static void an_answer_that_crossed_a_change_is_not_kept(void **state)
{
	struct answer before = asked(0, true);

	held_changed(held, DIRECTORY);
	entry(&cached, NODE, S_IFREG, true, before);
	assert_true(name == 0 && attributes == 0);
	assert_true(of_absence(&cached, before) == 0);
	assert_true(of_attributes(&cached, NODE, true, before) >= VALIDITY_FOR_EVER);
	held_changed(held, NODE);
	assert_true(of_attributes(&cached, NODE, true, before) == 0);
	/* It may go on changing. */
	entry(&cached, NODE, S_IFREG, true, asked(0, true));
	assert_true(name >= VALIDITY_FOR_EVER && attributes == 0);
	entry(&cached, NODE, S_IFDIR, true, asked(0, true));
	assert_true(attributes >= VALIDITY_FOR_EVER);
	while (!held_quiet(held, NODE))
		(void) usleep(1000);
	entry(&cached, NODE, S_IFREG, true, asked(0, true));
	assert_true(name >= VALIDITY_FOR_EVER && attributes >= VALIDITY_FOR_EVER);
	/* The same when there is no lease: a change is known. */
	before = asked(0, false);
	held_changed_all(held);
	assert_true(of_absence(&cached, before) == 0);
}

static void a_directorys_name_needs_a_kernel_that_can_let_it_expire(void **state)
{
	entry(&cached, NODE, S_IFDIR, true, asked(0, true));
	assert_true(name > 0 && name <= 1 && attributes >= VALIDITY_FOR_EVER);
	cached.expires = true;
	entry(&cached, NODE, S_IFDIR, true, asked(0, true));
	assert_true(name >= VALIDITY_FOR_EVER);
}

static void after_a_change_of_ones_own_attributes_are_kept_for_moments(void **state)
{
	struct answer now = asked(0, true);
	double left = validity_changed(&cached, NODE, &now);

	assert_true(left > 0 && left < 0.1);
	assert_true(validity_changed(&cached, BOUND, &now) == 0);
	cached.leases = false;
	left = validity_changed(&cached, NODE, &now);
	assert_true(left > 0.1 && left <= 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(time_that_an_answer_took_is_no_time_to_keep_it, set_up, tear_down),
		cmocka_unit_test_setup_teardown(without_a_cache_nothing_is_kept, set_up, tear_down),
		cmocka_unit_test_setup_teardown(of_a_bound_file_the_name_is_kept_and_nothing_else, set_up, tear_down),
		cmocka_unit_test_setup_teardown(what_is_leased_is_kept_for_ever, set_up, tear_down),
		cmocka_unit_test_setup_teardown(an_answer_that_crossed_a_change_is_not_kept, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_directorys_name_needs_a_kernel_that_can_let_it_expire, set_up,
		                                tear_down),
		cmocka_unit_test_setup_teardown(after_a_change_of_ones_own_attributes_are_kept_for_moments, set_up,
		                                tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
