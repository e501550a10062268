/* SPDX-License-Identifier: Apache-2.0 */
/* What may stand at the beginning of a path for something else, and what is refused. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "fileserver/broker/expand.h"

static int set_up(void **state)
{
	assert_int_equal(setenv("HOME", "/home/me", 1), 0);
	assert_int_equal(unsetenv("TMPDIR"), 0);
	assert_int_equal(setenv("OTHER", "/other", 1), 0);
	return 0;
}

static void assert_expands(const char *text, const char *expected)
{
	char normal[PATH_MAX];

	assert_int_equal(expand_path(text, normal), 0);
	assert_string_equal(normal, expected);
}

static void assert_refused(const char *text, int error, const char *words)
{
	char normal[PATH_MAX];

	assert_int_equal(expand_path(text, normal), error);
	assert_non_null(strstr(expand_words(error), words));
}

static void the_home_directory_has_three_spellings(void **state)
{
	assert_expands("~", "/home/me");
	assert_expands("~/proj", "/home/me/proj");
	assert_expands("$HOME/proj", "/home/me/proj");
	assert_expands("${HOME}/proj", "/home/me/proj");
}

static void temporary_files_lie_in_tmpdir_or_tmp(void **state)
{
	assert_expands("$TMP/x", "/tmp/x");
	assert_expands("${TEMP}", "/tmp");
	assert_int_equal(setenv("TMPDIR", "/var/tmp", 1), 0);
	assert_expands("$TMP/x", "/var/tmp/x");
	assert_expands("$TEMP/x", "/var/tmp/x");
}

static void a_path_is_brought_into_its_normal_form(void **state)
{
	assert_expands("/a//b/./c/", "/a/b/c");
	assert_expands("~//./x/", "/home/me/x");
	/* Only at the beginning. */
	assert_expands("/a/~/$HOME", "/a/~/$HOME");
}

static void other_users_and_variables_are_not_known(void **state)
{
	static const char *const texts[] = { "~me/x",     "$OTHER/x", "${OTHER}/x", "$/x",    "${}/x",
		                             "${HOMEx/x", "${HOME/x", "$HOMES/x",   "$HOM/x", "$home/x",
		                             "$TMPDIR/x", "~~",       "${ HOME }/x" };

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		assert_refused(texts[i], -ENOENT, "not known here");
}

static void a_variable_without_an_absolute_path_is_none(void **state)
{
	assert_int_equal(setenv("HOME", "relative", 1), 0);
	assert_refused("~/x", -ENOENT, "where they are set");
	assert_int_equal(setenv("HOME", "", 1), 0);
	assert_refused("$HOME/x", -ENOENT, "where they are set");
	assert_int_equal(unsetenv("HOME"), 0);
	assert_refused("~", -ENOENT, "where they are set");
}

static void what_is_not_absolute_or_goes_up_is_refused(void **state)
{
	assert_refused("", -EINVAL, "not an absolute path");
	assert_refused("proj", -EINVAL, "not an absolute path");
	assert_refused("./proj", -EINVAL, "not an absolute path");
	assert_refused("/a/../b", -EINVAL, "\"..\"");
	assert_refused("~/..", -EINVAL, "\"..\"");
}

static void a_path_that_is_too_long_is_refused(void **state)
{
	char text[PATH_MAX + 2];

	memset(text, 'a', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	text[0] = '/';
	assert_refused(text, -ENAMETOOLONG, "too long");
	/* Short enough as it stands, and not with what stands for "~". */
	text[0] = '~';
	text[1] = '/';
	text[PATH_MAX - 4] = '\0';
	assert_refused(text, -ENAMETOOLONG, "too long");
}

#define TEST(function) cmocka_unit_test_setup(function, set_up)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(the_home_directory_has_three_spellings),      TEST(temporary_files_lie_in_tmpdir_or_tmp),
		TEST(a_path_is_brought_into_its_normal_form),      TEST(other_users_and_variables_are_not_known),
		TEST(a_variable_without_an_absolute_path_is_none), TEST(what_is_not_absolute_or_goes_up_is_refused),
		TEST(a_path_that_is_too_long_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
