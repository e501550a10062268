/* SPDX-License-Identifier: Apache-2.0 */
/* Directories that are made for mounts, and removed again. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "guest-fuse/agent/made.h"
#include "protocol/cleanup.h"
#include "tests/support/scratch.h"

static struct made made;

static bool is_there(const char *name)
{
	return access(scratch_path(name), F_OK) == 0;
}

static int make(const char *name)
{
	_cleanup_close_ int fd = -EBADF;
	struct stat by_fd, by_path;
	int r = made_directories(&made, scratch_path(name), &fd);

	if (r < 0)
		return r;
	assert_int_equal(fstat(fd, &by_fd), 0);
	assert_int_equal(stat(scratch_path(name), &by_path), 0);
	assert_true(by_fd.st_ino == by_path.st_ino);
	return 0;
}

static void what_is_missing_is_made_and_noted(void **state)
{
	(void) scratch_directory("a");
	assert_int_equal(make("a/b/c"), 0);
	assert_int_equal(made.count, 2);
	assert_string_equal(made.paths[0], scratch_path("a/b"));
	assert_string_equal(made.paths[1], scratch_path("a/b/c"));
	assert_int_equal(make("a/b/c"), 0); /* all there by now */
	assert_int_equal(made.count, 2);
	made_done(&made);
}

static void what_was_made_is_removed_and_no_more(void **state)
{
	(void) scratch_directory("a");
	assert_int_equal(make("a/b/c"), 0);
	assert_int_equal(make("a/b/d"), 0);
	made_remove(&made, 2); /* since there were two */
	assert_false(is_there("a/b/d"));
	assert_true(is_there("a/b/c"));
	made_remove(&made, 0);
	assert_int_equal(made.count, 0);
	assert_false(is_there("a/b"));
	assert_true(is_there("a"));
}

static void what_holds_something_stays(void **state)
{
	assert_int_equal(make("a/b"), 0);
	(void) scratch_file("a/b/file", "", 0600);
	made_remove(&made, 0);
	assert_int_equal(made.count, 0);
	assert_true(is_there("a/b/file"));
}

static void a_link_on_the_way_is_not_followed(void **state)
{
	(void) scratch_directory("elsewhere");
	assert_int_equal(symlink("elsewhere", scratch_path("link")), 0);
	assert_int_equal(make("link/a"), -ELOOP);
	assert_false(is_there("elsewhere/a"));
	assert_int_equal(made.count, 0);
}

static void a_link_that_comes_later_is_not_followed_when_removing(void **state)
{
	assert_int_equal(make("a/b"), 0);
	assert_int_equal(rename(scratch_path("a"), scratch_path("moved")), 0);
	assert_int_equal(symlink("moved", scratch_path("a")), 0);
	made_remove(&made, 0);
	assert_true(is_there("moved/b"));
}

static void a_file_on_the_way_is_an_error(void **state)
{
	(void) scratch_file("file", "", 0600);
	assert_int_equal(make("file/a"), -ELOOP);
	assert_int_equal(made.count, 0);
}

static void there_is_an_end_to_what_is_noted(void **state)
{
	char path[SCRATCH_PATH] = "d";

	for (unsigned i = 1; i < MADE_MAX; i++)
		strcat(path, "/d");
	assert_int_equal(make(path), 0);
	assert_int_equal(made.count, MADE_MAX);
	assert_int_equal(make("e"), -ENAMETOOLONG);
	made_remove(&made, 0);
	assert_false(is_there("d"));
}

static void an_empty_directory_is_told_from_one_that_is_not(void **state)
{
	_cleanup_close_ int fd = open(scratch_directory("a"), O_PATH | O_DIRECTORY | O_CLOEXEC);

	assert_true(made_is_empty(fd));
	(void) scratch_file("a/.hidden", "", 0600);
	assert_false(made_is_empty(fd));
	assert_false(made_is_empty(-EBADF));
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, scratch_set_up, scratch_tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(what_is_missing_is_made_and_noted),
		CASE(what_was_made_is_removed_and_no_more),
		CASE(what_holds_something_stays),
		CASE(a_link_on_the_way_is_not_followed),
		CASE(a_link_that_comes_later_is_not_followed_when_removing),
		CASE(a_file_on_the_way_is_an_error),
		CASE(there_is_an_end_to_what_is_noted),
		CASE(an_empty_directory_is_told_from_one_that_is_not),
	};

	return cmocka_run_group_tests_name("made", tests, NULL, NULL);
}
