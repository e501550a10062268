/* SPDX-License-Identifier: Apache-2.0 */
/* A walk down a path: its steps, what links make of it, and where it ends. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "fileserver/broker/way.h"
#include "tests/support/scratch.h"

enum { MANY = 1000 };

/*
 * Walks a path to its end. 1: it has come there, and ret_at is the directory; 0: a component is not there or no
 * directory; -1: it goes on longer than it may. steps: how many it may take.
 */
static int walk(const char *path, unsigned steps, char ret_at[PATH_MAX])
{
	char name[NAME_MAX + 1];
	struct stat st, there;
	struct way way;
	int r;

	assert_true(way_begin(&way, path, steps));
	while ((r = way_next(&way, name)) == 1) {
		int next = openat(way.fd, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);

		assert_string_not_equal(name, ".");
		if (next < 0 || fstat(next, &st) < 0 || !way_step(&way, name, next, &st)) {
			way_end(&way);
			return 0;
		}
	}
	strcpy(ret_at, way.at);
	/* The descriptor is of what the path names. */
	assert_int_equal(fstat(way.fd, &st), 0);
	assert_int_equal(stat(way.at, &there), 0);
	assert_int_equal(st.st_ino, there.st_ino);
	way_end(&way);
	assert_true(way.fd < 0);
	return r == 0 ? 1 : r;
}

static void assert_comes_to(const char *name, const char *to)
{
	char at[PATH_MAX];

	assert_int_equal(walk(scratch_path(name), MANY, at), 1);
	assert_string_equal(at, scratch_path(to));
}

static void a_path_is_walked_component_by_component(void **state)
{
	char at[PATH_MAX];

	scratch_directory("a");
	scratch_directory("a/b");
	assert_comes_to("a/b", "a/b");
	assert_comes_to(".//a/.//./b/", "a/b");
	assert_comes_to("a/b/..", "a");
	assert_int_equal(walk("/", MANY, at), 1);
	assert_string_equal(at, "/");
	assert_int_equal(walk("/../..", MANY, at), 1);
	assert_string_equal(at, "/");
}

static void links_are_walked_along_their_targets(void **state)
{
	scratch_directory("a");
	scratch_directory("a/b");
	scratch_directory("a/b/c");
	assert_int_equal(symlink("a/b", scratch_path("relative")), 0);
	assert_int_equal(symlink(scratch_path("a"), scratch_path("absolute")), 0);
	assert_int_equal(symlink("../b/c", scratch_path("a/b/up")), 0);
	assert_comes_to("relative", "a/b");
	assert_comes_to("relative/c", "a/b/c");
	/* ".." is that of the target, not of the link. */
	assert_comes_to("relative/..", "a");
	assert_comes_to("absolute/b", "a/b");
	assert_comes_to("a/b/up", "a/b/c");
}

static void it_ends_at_what_is_no_directory_or_not_there(void **state)
{
	char at[PATH_MAX];

	scratch_file("file", "content", 0644);
	assert_int_equal(symlink("nowhere", scratch_path("dangling")), 0);
	assert_int_equal(walk(scratch_path("none/below"), MANY, at), 0);
	assert_int_equal(walk(scratch_path("file"), MANY, at), 0);
	assert_int_equal(walk(scratch_path("dangling"), MANY, at), 0);
}

static void links_in_a_circle_end_it(void **state)
{
	char at[PATH_MAX];

	assert_int_equal(symlink("two", scratch_path("one")), 0);
	assert_int_equal(symlink("one", scratch_path("two")), 0);
	assert_int_equal(walk(scratch_path("one"), MANY, at), 0);
}

static void no_more_steps_than_allowed_are_taken(void **state)
{
	char at[PATH_MAX];
	unsigned steps = 0;

	scratch_directory("a");
	for (const char *path = scratch_path("a"); *path != '\0'; path++)
		steps += *path == '/';
	assert_int_equal(walk(scratch_path("a"), steps, at), 1);
	assert_int_equal(walk(scratch_path("a"), steps - 1, at), -1);
	/* Those of a link count as well. */
	assert_int_equal(symlink("a", scratch_path("link")), 0);
	assert_int_equal(walk(scratch_path("link"), steps, at), -1);
	assert_int_equal(walk(scratch_path("link"), steps + 1, at), 1);
}

static void names_and_paths_that_are_too_long_are_refused(void **state)
{
	static char path[2 * PATH_MAX + 1];
	char name[NAME_MAX + 1];
	struct way way;

	memset(path, 'a', NAME_MAX + 2);
	path[0] = '/';
	path[NAME_MAX + 1] = '\0';
	assert_true(way_begin(&way, path, MANY));
	assert_int_equal(way_next(&way, name), 1);
	assert_int_equal(strlen(name), NAME_MAX);
	way_end(&way);
	path[NAME_MAX + 1] = 'a';
	path[NAME_MAX + 2] = '\0';
	assert_true(way_begin(&way, path, MANY));
	assert_int_equal(way_next(&way, name), -1);
	way_end(&way);
	memset(path, 'a', sizeof(path) - 1);
	assert_false(way_begin(&way, path, MANY));
	way_end(&way);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, scratch_set_up, scratch_tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_path_is_walked_component_by_component),      TEST(links_are_walked_along_their_targets),
		TEST(it_ends_at_what_is_no_directory_or_not_there), TEST(links_in_a_circle_end_it),
		TEST(no_more_steps_than_allowed_are_taken),         TEST(names_and_paths_that_are_too_long_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
