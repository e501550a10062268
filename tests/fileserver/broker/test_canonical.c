/* SPDX-License-Identifier: Apache-2.0 */
/* Where a path of the host leads: through links of every kind, and what is no path at all. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "fileserver/broker/canonical.h"
#include "tests/support/scratch.h"

static void assert_leads(const char *name, const char *to)
{
	char found[PATH_MAX];
	struct stat st, expected;

	assert_int_equal(canonical_path(scratch_path(name), found, &st), 0);
	assert_string_equal(found, scratch_path(to));
	assert_int_equal(lstat(scratch_path(to), &expected), 0);
	assert_int_equal(st.st_ino, expected.st_ino);
}

static void assert_leads_nowhere(const char *name, int error)
{
	char found[PATH_MAX];
	struct stat st;

	assert_int_equal(canonical_path(scratch_path(name), found, &st), error);
}

static void links_and_detours_are_taken_out(void **state)
{
	scratch_directory("a");
	scratch_directory("a/b");
	scratch_file("a/file", "content", 0644);
	assert_int_equal(symlink("a/b", scratch_path("relative")), 0);
	assert_int_equal(symlink(scratch_path("a"), scratch_path("absolute")), 0);
	assert_leads("a/b", "a/b");
	assert_leads("a//./b/", "a/b");
	assert_leads("relative", "a/b");
	assert_leads("relative/../file", "a/file");
	assert_leads("absolute/b/..", "a");
}

static void what_is_not_there_has_its_error(void **state)
{
	scratch_file("file", "content", 0644);
	assert_int_equal(symlink("nowhere", scratch_path("dangling")), 0);
	assert_int_equal(symlink("loop", scratch_path("loop")), 0);
	assert_leads_nowhere("none", -ENOENT);
	assert_leads_nowhere("dangling", -ENOENT);
	assert_leads_nowhere("loop", -ELOOP);
	assert_leads_nowhere("file/below", -ENOTDIR);
}

static void magic_links_lead_nowhere(void **state)
{
	char found[PATH_MAX];
	struct stat st;

	assert_int_equal(canonical_path("/proc/self/cwd", found, &st), -ELOOP);
	assert_int_equal(canonical_path("/proc/self/root/etc", found, &st), -ELOOP);
	assert_int_equal(symlink("/proc/self/cwd", scratch_path("magic")), 0);
	assert_leads_nowhere("magic", -ELOOP);
}

static void a_depth_is_the_number_of_components(void **state)
{
	assert_int_equal(canonical_depth("/"), 0);
	assert_int_equal(canonical_depth("/a"), 1);
	assert_int_equal(canonical_depth("/a/b/c"), 3);
	assert_int_equal(canonical_depth("/a//b/"), 2);
	assert_int_equal(canonical_depth(""), 0);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, scratch_set_up, scratch_tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(links_and_detours_are_taken_out),
		TEST(what_is_not_there_has_its_error),
		TEST(magic_links_lead_nowhere),
		TEST(a_depth_is_the_number_of_components),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
