/* SPDX-License-Identifier: Apache-2.0 */
/* A directory that the host moved is found by its inode number, and nothing else is taken for it. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "fileserver/worker/nodes/search.h"
#include "tests/support/scratch.h"

enum { ENTRIES = 1000, FEW = 3 };

static uint64_t number_of(const char *name)
{
	struct stat st;

	assert_int_equal(lstat(scratch_path(name), &st), 0);
	return st.st_ino;
}

/* Everything, or nothing: the number and the type are looked at before. */
static bool is_it(const void *context, const struct statx *stx)
{
	return *(const bool *) context;
}

/* Of the descriptor that was found; else a negative errno. */
static int search(struct search *search, int depth, uint64_t *ret_ino)
{
	int top = open(scratch_path(""), O_PATH | O_DIRECTORY), found = search_below(search, top, depth);
	struct stat st;

	assert_true(top >= 0);
	close(top);
	if (found < 0)
		return found;
	assert_int_equal(fstat(found, &st), 0);
	*ret_ino = st.st_ino;
	close(found);
	return 0;
}

static const bool yes = true, no = false;

static void a_directory_is_found_by_its_number_under_its_new_name(void **state)
{
	struct search wanted = { .is = is_it, .context = &yes, .left = ENTRIES };
	uint64_t found;

	scratch_directory("one");
	scratch_directory("two");
	wanted.ino = number_of("two");
	assert_int_equal(rename(scratch_path("two"), scratch_path("new name")), 0);
	assert_int_equal(search(&wanted, 0, &found), 0);
	assert_int_equal(found, wanted.ino);
	assert_string_equal(wanted.name, "new name");
}

static void deeper_directories_are_looked_at_as_deep_as_was_asked_for(void **state)
{
	struct search wanted = { .is = is_it, .context = &yes, .left = ENTRIES };
	uint64_t found;

	scratch_directory("a");
	scratch_directory("a/b");
	scratch_directory("a/b/c");
	wanted.ino = number_of("a/b/c");
	assert_int_equal(search(&wanted, 0, &found), -ENOENT);
	assert_int_equal(search(&wanted, 1, &found), -ENOENT);
	assert_int_equal(search(&wanted, 2, &found), 0);
	assert_int_equal(found, wanted.ino);
	assert_string_equal(wanted.name, "c");
}

static void the_number_alone_is_not_enough(void **state)
{
	struct search wanted = { .is = is_it, .context = &no, .left = ENTRIES };
	uint64_t found;

	scratch_directory("a");
	wanted.ino = number_of("a");
	assert_int_equal(search(&wanted, 0, &found), -ENOENT);
	assert_int_equal(search(&wanted, 3, &found), -ENOENT);
}

static void files_and_links_are_never_found(void **state)
{
	struct search wanted = { .is = is_it, .context = &yes, .left = ENTRIES };
	uint64_t found;

	scratch_file("file", "content", 0644);
	scratch_directory("a");
	scratch_directory("a/b");
	assert_int_equal(symlink("a", scratch_path("link")), 0);
	wanted.ino = number_of("file");
	assert_int_equal(search(&wanted, 3, &found), -ENOENT);
	wanted.ino = number_of("link");
	assert_int_equal(search(&wanted, 3, &found), -ENOENT);
	/* The way that is found is not by the link. */
	assert_int_equal(rename(scratch_path("a"), scratch_path("z")), 0);
	wanted.ino = number_of("z/b");
	assert_int_equal(search(&wanted, 1, &found), 0);
	assert_int_equal(found, wanted.ino);
}

static void a_large_directory_is_read_to_its_end_but_no_more_than_is_allowed(void **state)
{
	struct search wanted = { .is = is_it, .context = &yes, .left = ENTRIES };
	char name[64];
	uint64_t found;

	for (int i = 0; i < 200; i++) {
		snprintf(name, sizeof(name), "a name that fills the buffer %03d", i);
		scratch_file(name, "", 0644);
	}
	scratch_directory("wanted");
	wanted.ino = number_of("wanted");
	assert_int_equal(search(&wanted, 0, &found), 0);
	assert_int_equal(found, wanted.ino);
	assert_true(wanted.left < ENTRIES);
	/* A number that is not there makes it look at all that it may, and not at one more. */
	wanted.ino = number_of("");
	wanted.left = FEW;
	assert_int_equal(search(&wanted, 0, &found), -ENOENT);
	assert_int_equal(wanted.left, 0);
	wanted.left = ENTRIES;
	assert_int_equal(search(&wanted, 0, &found), -ENOENT);
	assert_int_equal(wanted.left, ENTRIES - 203); /* with "." and ".." */
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, scratch_set_up, scratch_tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_directory_is_found_by_its_number_under_its_new_name),
		TEST(deeper_directories_are_looked_at_as_deep_as_was_asked_for),
		TEST(the_number_alone_is_not_enough),
		TEST(files_and_links_are_never_found),
		TEST(a_large_directory_is_read_to_its_end_but_no_more_than_is_allowed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
