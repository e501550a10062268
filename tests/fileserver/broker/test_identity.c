/* SPDX-License-Identifier: Apache-2.0 */
/* One directory is told from another, whatever their names and numbers. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "fileserver/broker/identity.h"
#include "tests/support/scratch.h"

static void a_directory_that_is_renamed_is_the_same(void **state)
{
	struct identity before, after;

	assert_int_equal(identity_of_directory(scratch_directory("a"), &before), 0);
	assert_int_equal(rename(scratch_path("a"), scratch_path("b")), 0);
	assert_int_equal(symlink("b", scratch_path("a")), 0);
	assert_int_equal(identity_of_directory(scratch_path("a"), &after), 0);
	assert_true(identity_equal(&before, &after));
}

static void a_directory_that_is_made_anew_is_another(void **state)
{
	struct identity before, after;

	/* Often with the number of the one before. */
	for (unsigned i = 0; i < 20; i++) {
		assert_int_equal(identity_of_directory(scratch_directory("a"), &before), 0);
		assert_int_equal(rmdir(scratch_path("a")), 0);
		assert_int_equal(identity_of_directory(scratch_directory("a"), &after), 0);
		assert_false(identity_equal(&before, &after));
		assert_int_equal(rmdir(scratch_path("a")), 0);
	}
}

static void what_is_no_directory_has_none(void **state)
{
	struct identity identity;

	assert_int_equal(identity_of_directory(scratch_file("file", "", 0600), &identity), -ENOTDIR);
	assert_int_equal(identity_of_directory(scratch_path("none"), &identity), -ENOENT);
	assert_int_equal(identity_of(-1, &identity), -EBADF);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, scratch_set_up, scratch_tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(a_directory_that_is_renamed_is_the_same),
		CASE(a_directory_that_is_made_anew_is_another),
		CASE(what_is_no_directory_has_none),
	};

	return cmocka_run_group_tests_name("identity", tests, NULL, NULL);
}
