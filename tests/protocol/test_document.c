/* SPDX-License-Identifier: Apache-2.0 */
/* Files are written whole, with their mode, and in the place of a link. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "protocol/document.h"
#include "tests/support/scratch.h"

static char error[512];

static void content_of(const char *path, const char *expected)
{
	char text[256] = "";
	FILE *file = fopen(path, "re");

	assert_non_null(file);
	assert_true(fread(text, 1, sizeof(text) - 1, file) > 0);
	(void) fclose(file);
	assert_string_equal(text, expected);
}

static void a_file_keeps_its_mode_and_a_new_one_is_private(void **state)
{
	const char *path = scratch_file("file", "old", 0444);
	struct stat st;

	assert_int_equal(document_write_text("file", path, "new", error, sizeof(error)), 0);
	content_of(path, "new");
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0444);
	assert_int_equal(document_write_text("file", scratch_path("fresh"), "x", error, sizeof(error)), 0);
	assert_int_equal(stat(scratch_path("fresh"), &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
}

static void a_link_stays_and_its_target_is_written(void **state)
{
	char target[16] = "";

	assert_int_equal(symlink("real", scratch_path("link")), 0);
	(void) scratch_file("real", "old", 0600);
	assert_int_equal(document_write_text("file", scratch_path("link"), "new", error, sizeof(error)), 0);
	assert_int_equal(readlink(scratch_path("link"), target, sizeof(target) - 1), 4);
	content_of(scratch_path("real"), "new");
}

static void what_cannot_be_written_is_told_and_left_as_it_was(void **state)
{
	assert_int_equal(document_write_text("settings file", scratch_path("none/file"), "x", error, sizeof(error)),
	                 -ENOENT);
	assert_non_null(strstr(error, "cannot write the settings file"));
	/* A directory cannot be replaced by a file; nothing stays behind. */
	(void) scratch_directory("directory");
	assert_int_equal(document_write_text("file", scratch_path("directory"), "x", error, sizeof(error)), -EISDIR);
	assert_int_equal(rmdir(scratch_path("directory")), 0);
}

static void only_objects_are_read(void **state)
{
	json_t *root = NULL;

	assert_int_equal(document_read("file", scratch_file("a", "{\"k\": 1}", 0600), &root, error, sizeof(error)), 0);
	assert_int_equal(json_integer_value(json_object_get(root, "k")), 1);
	json_decref(root);
	assert_int_equal(document_read("file", scratch_file("a", "7", 0600), &root, error, sizeof(error)), -EINVAL);
	assert_int_equal(document_read("file", scratch_file("a", "{}", 0620), &root, error, sizeof(error)), -EPERM);
	assert_int_equal(truncate(scratch_file("a", "{}", 0600), 2 * 1024 * 1024), 0);
	assert_int_equal(document_read("file", scratch_path("a"), &root, error, sizeof(error)), -EINVAL);
	assert_non_null(strstr(error, "more than"));
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, scratch_set_up, scratch_tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(a_file_keeps_its_mode_and_a_new_one_is_private),
		CASE(a_link_stays_and_its_target_is_written),
		CASE(what_cannot_be_written_is_told_and_left_as_it_was),
		CASE(only_objects_are_read),
	};

	return cmocka_run_group_tests_name("document", tests, NULL, NULL);
}
