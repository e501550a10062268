/* SPDX-License-Identifier: Apache-2.0 */
/* What is known of objects: counts that agree with the kernel's, a server that lies. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "guest-fuse/mount/known/objects-internal.h"
#include "tests/guest-fuse/mount/known/object.h"

static void the_last_forget_gives_all_references_back(void **state)
{
	struct proto_entry entry = entry_of(NODE, S_IFREG);
	struct objects *objects = *state;

	assert_int_equal(learn(objects, NODE, S_IFREG), 0);
	assert_int_equal(learn(objects, NODE, S_IFREG), 0);
	assert_true(objects_learn_again(objects, ROOT, "name", &entry));
	assert_int_equal(objects_count(objects), 2);
	assert_int_equal(objects_forget(objects, NODE, 2), 0);
	/* Three look-ups of the kernel's, of which the server knows two. */
	assert_int_equal(objects_forget(objects, NODE, 1), 2);
	assert_int_equal(objects_count(objects), 1);
	assert_int_equal(objects_forget(objects, NODE, 1), 0);
	assert_false(objects_learn_again(objects, ROOT, "name", &entry));
}

static void a_forget_of_too_much_ends_at_nothing(void **state)
{
	assert_int_equal(learn(*state, NODE, S_IFREG), 0);
	assert_int_equal(objects_forget(*state, NODE, UINT64_MAX), 1);
	assert_int_equal(objects_forget(*state, ROOT, UINT64_MAX), 0);
	assert_int_equal(objects_count(*state), 1);
}

static void a_server_that_lies_is_not_believed(void **state)
{
	struct proto_entry entry = entry_of(ROOT, S_IFDIR);
	struct proto_attr attr = { .mode = S_IFLNK | 0777 };
	struct objects_opened opened;

	assert_int_equal(learn(*state, ROOT, S_IFDIR), -EIO);
	assert_false(objects_learn_again(*state, ROOT, "name", &entry));
	assert_int_equal(learn(*state, 0, S_IFREG), -EIO);
	assert_int_equal(learn(*state, 1, S_IFREG), -EIO);
	assert_int_equal(learn(*state, 12345, S_IFREG), -EIO);
	assert_int_equal(learn(*state, NODE, S_IFREG), 0);
	assert_int_equal(learn(*state, NODE, S_IFDIR), -EIO);
	assert_int_equal(objects_told(*state, NODE, &attr), -EIO);
	assert_int_equal(objects_told(*state, ROOT, &attr), -EIO);
	assert_int_equal(objects_opened(*state, NODE, &attr, &opened), -EIO);
	assert_int_equal(objects_forget(*state, NODE, 1), 1);
}

static void changes_are_dated(void **state)
{
	struct proto_attr attr = entry_of(NODE, S_IFREG).attr;
	int64_t first;

	assert_int_equal(learn(*state, NODE, S_IFREG), 0);
	assert_int_equal(objects_changed_at(*state, NODE), 0);
	objects_changed(*state, NODE);
	first = objects_changed_at(*state, NODE);
	assert_true(first > 0);
	objects_moved(*state, NODE, ROOT, "other");
	assert_true(objects_changed_at(*state, NODE) >= first);
	/* The server has another state of it now. */
	attr.size++;
	(void) usleep(1);
	first = objects_changed_at(*state, NODE);
	assert_int_equal(objects_told(*state, NODE, &attr), 0);
	assert_true(objects_changed_at(*state, NODE) > first);
	/* An object that is not known any more: a listing that was read before must not bring it back. */
	assert_int_equal(objects_changed_at(*state, PROTO_ID(1, 1)), 0);
	objects_changed(*state, PROTO_ID(1, 1));
	assert_true(objects_changed_at(*state, PROTO_ID(1, 1)) > 0);
	assert_int_equal(objects_changed_at(*state, PROTO_ID(1, 2)), 0);
}

static void a_change_is_not_forgotten_with_the_object(void **state)
{
	int64_t changed;

	assert_int_equal(learn(*state, NODE, S_IFREG), 0);
	objects_changed(*state, NODE);
	changed = objects_changed_at(*state, NODE);
	assert_int_equal(objects_forget(*state, NODE, 1), 1);
	assert_true(objects_changed_at(*state, NODE) >= changed);
	/* The kernel learns of it anew under one name: a listing from before has its other names. */
	assert_int_equal(learn(*state, NODE, S_IFREG), 0);
	assert_true(objects_changed_at(*state, NODE) >= changed);
}

static void a_change_outlives_those_of_other_forgotten_objects(void **state)
{
	const uint64_t beside = NODE + OBJECTS_GONE, next = NODE + PROTO_ID(1, 0);
	int64_t changed;

	objects_changed(*state, NODE);
	changed = objects_changed_at(*state, NODE);
	objects_changed(*state, beside);
	assert_true(objects_changed_at(*state, NODE) >= changed);
	assert_true(objects_changed_at(*state, beside) >= changed);
	/* A new object in the place of one of which nothing is left has never changed. */
	objects_changed(*state, beside + PROTO_ID(1, 0));
	assert_true(objects_changed_at(*state, NODE) >= changed);
	assert_true(objects_changed_at(*state, next) <= objects_changed_at(*state, NODE));
	objects_changed(*state, PROTO_ID(1, 77));
	assert_int_equal(objects_changed_at(*state, PROTO_ID(2, 77)), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(the_last_forget_gives_all_references_back, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_forget_of_too_much_ends_at_nothing, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_server_that_lies_is_not_believed, set_up, tear_down),
		cmocka_unit_test_setup_teardown(changes_are_dated, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_change_is_not_forgotten_with_the_object, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_change_outlives_those_of_other_forgotten_objects, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
