/* SPDX-License-Identifier: Apache-2.0 */
/* Handles that stay open: who uses them, and when they are closed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "guest-fuse/mount/known/kept.h"
#include "guest-fuse/mount/known/validity.h"

#define ONE   PROTO_ID(3, 4)
#define OTHER PROTO_ID(3, 5)

enum { CLOSED_MAX = 2048 };

static struct kept *kept;
static uint64_t closed[CLOSED_MAX];
static size_t closed_count;

static void note(void *data, uint64_t handle)
{
	assert_ptr_equal(data, &closed_count);
	assert_true(closed_count < CLOSED_MAX);
	closed[closed_count++] = handle;
}

static int set_up(void **state)
{
	closed_count = 0;
	kept = kept_new(note, &closed_count);
	return kept == NULL ? -1 : 0;
}

static int tear_down(void **state)
{
	kept_free(kept);
	return 0;
}

static struct kept_file *add(uint64_t node, uint64_t handle)
{
	const struct answer answer = { .since = (int64_t) handle * 10, .events = handle };
	const struct proto_attr attr = { .size = handle };

	return kept_add(kept, node, handle, &answer, &attr);
}

static void a_handle_outlives_its_users(void **state)
{
	struct kept_file *file = add(ONE, 7), look;

	assert_int_equal(file->handle, 7);
	assert_ptr_equal(kept_take(kept, ONE), file);
	kept_put(kept, file);
	kept_put(kept, file);
	assert_int_equal(closed_count, 0);
	assert_ptr_equal(kept_take(kept, ONE), file);
	assert_int_equal(file->since, 70);
	assert_int_equal(file->events, 7);
	kept_put(kept, file);
	assert_true(kept_look(kept, ONE, &look));
	assert_int_equal(look.attr.size, 7);
	assert_null(kept_take(kept, OTHER));
	assert_false(kept_look(kept, OTHER, &look));
}

static void what_is_dropped_is_closed_at_once_if_nobody_uses_it(void **state)
{
	kept_put(kept, add(ONE, 7));
	kept_drop(kept, OTHER);
	assert_int_equal(closed_count, 0);
	kept_drop(kept, ONE);
	assert_int_equal(closed_count, 1);
	assert_int_equal(closed[0], 7);
	assert_null(kept_take(kept, ONE));
	kept_drop(kept, ONE);
	assert_int_equal(closed_count, 1);
}

static void what_is_dropped_stays_open_for_its_users_and_no_longer(void **state)
{
	struct kept_file *file = add(ONE, 7);

	assert_ptr_equal(kept_take(kept, ONE), file);
	kept_drop(kept, ONE);
	assert_null(kept_take(kept, ONE));
	kept_put(kept, file);
	assert_int_equal(closed_count, 0);
	assert_int_equal(file->handle, 7);
	kept_put(kept, file);
	assert_int_equal(closed_count, 1);
}

static void the_newest_handle_of_a_file_is_kept(void **state)
{
	struct kept_file *first = add(ONE, 7), *second;

	second = add(ONE, 8);
	assert_int_equal(closed_count, 0);
	kept_put(kept, first);
	assert_int_equal(closed_count, 1);
	assert_int_equal(closed[0], 7);
	assert_ptr_equal(kept_take(kept, ONE), second);
	kept_put(kept, second);
	kept_put(kept, second);
	kept_put(kept, add(ONE, 9));
	assert_int_equal(closed_count, 2);
	assert_int_equal(closed[1], 8);
}

static void all_are_dropped_at_once(void **state)
{
	struct kept_file *used = add(ONE, 1);

	for (uint64_t i = 2; i <= 1000; i++)
		kept_put(kept, add(PROTO_ID(i, 6), i));
	assert_int_equal(closed_count, 0);
	kept_drop_all(kept);
	assert_null(kept_take(kept, ONE));
	assert_int_equal(closed_count, 999);
	kept_put(kept, used);
	assert_int_equal(closed_count, 1000);
	kept_drop_all(kept);
	assert_int_equal(closed_count, 1000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_handle_outlives_its_users, set_up, tear_down),
		cmocka_unit_test_setup_teardown(what_is_dropped_is_closed_at_once_if_nobody_uses_it, set_up, tear_down),
		cmocka_unit_test_setup_teardown(what_is_dropped_stays_open_for_its_users_and_no_longer, set_up,
		                                tear_down),
		cmocka_unit_test_setup_teardown(the_newest_handle_of_a_file_is_kept, set_up, tear_down),
		cmocka_unit_test_setup_teardown(all_are_dropped_at_once, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
