/* SPDX-License-Identifier: Apache-2.0 */
/* Which answers hold after which messages. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <unistd.h>

#include <cmocka.h>

#include "guest-fuse/mount/known/held.h"
#include "protocol/fields.h"

#define ONE   PROTO_ID(3, 4)
#define OTHER PROTO_ID(3, 5)

static struct held *held;

static int set_up(void **state)
{
	held = held_new();
	return held == NULL ? -1 : 0;
}

static int tear_down(void **state)
{
	held_free(held);
	return 0;
}

static void an_answer_holds_until_its_object_changes(void **state)
{
	uint64_t before = held_now(held);

	assert_true(held_since(held, ONE, before));
	held_changed(held, OTHER);
	assert_true(held_since(held, ONE, before));
	assert_false(held_since(held, OTHER, before));
	held_changed(held, ONE);
	assert_false(held_since(held, ONE, before));
}

static void what_was_asked_after_the_change_holds(void **state)
{
	held_changed(held, ONE);
	assert_true(held_since(held, ONE, held_now(held)));
	held_changed(held, ONE);
	held_changed(held, OTHER);
	assert_true(held_since(held, ONE, held_now(held)));
}

static void a_change_of_all_is_one_of_each(void **state)
{
	uint64_t before = held_now(held);

	held_changed_all(held);
	assert_false(held_since(held, ONE, before));
	assert_false(held_since(held, OTHER, before));
	assert_true(held_since(held, ONE, held_now(held)));
}

static void an_object_that_has_just_changed_is_not_quiet(void **state)
{
	assert_true(held_quiet(held, ONE));
	held_changed(held, ONE);
	assert_false(held_quiet(held, ONE));
	assert_true(held_quiet(held, OTHER));
	while (!held_quiet(held, ONE))
		(void) usleep(1000);
	held_changed_all(held);
	assert_false(held_quiet(held, OTHER));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(an_answer_holds_until_its_object_changes, set_up, tear_down),
		cmocka_unit_test_setup_teardown(what_was_asked_after_the_change_holds, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_change_of_all_is_one_of_each, set_up, tear_down),
		cmocka_unit_test_setup_teardown(an_object_that_has_just_changed_is_not_quiet, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
