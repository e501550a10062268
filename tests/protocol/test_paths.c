/* SPDX-License-Identifier: Apache-2.0 */
/* Paths as text. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "protocol/cleanup.h"
#include "protocol/paths.h"

static void a_path_becomes_its_normal_form(void **state)
{
	static const char *const cases[][2] = {
		{ "/", "/" },
		{ "//", "/" },
		{ "/a", "/a" },
		{ "/a/", "/a" },
		{ "/a//b///", "/a/b" },
		{ "/./a/./b/.", "/a/b" },
		{ "/a/../b", "/b" },
		{ "/..", "/" },
		{ "/../../a", "/a" },
		{ "/a/b/../..", "/" },
		{ "/...", "/..." },
		{ "/.a/..b", "/.a/..b" },
		{ "/a/b/../c/", "/a/c" },
	};
	char normal[PATH_MAX];

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		assert_int_equal(paths_normalise(cases[i][0], normal), 0);
		assert_string_equal(normal, cases[i][1]);
	}
}

static void what_is_not_absolute_or_too_long_has_none(void **state)
{
	char path[PATH_MAX + 8], normal[PATH_MAX];

	assert_int_equal(paths_normalise("", normal), -EINVAL);
	assert_int_equal(paths_normalise("a/b", normal), -EINVAL);
	assert_int_equal(paths_normalise("./a", normal), -EINVAL);
	memset(path, 'x', sizeof(path));
	path[0] = '/';
	path[PATH_MAX - 1] = '\0';
	assert_int_equal(paths_normalise(path, normal), 0);
	assert_int_equal(strlen(normal), PATH_MAX - 1);
	path[PATH_MAX - 1] = 'x';
	path[PATH_MAX] = '\0';
	assert_int_equal(paths_normalise(path, normal), -ENAMETOOLONG);
}

static void beneath_goes_by_whole_components(void **state)
{
	assert_true(paths_is_beneath("/a/b", "/a"));
	assert_true(paths_is_beneath("/a", "/a"));
	assert_true(paths_is_beneath("/a", "/"));
	assert_true(paths_is_beneath("/", "/"));
	assert_false(paths_is_beneath("/ab", "/a"));
	assert_false(paths_is_beneath("/a", "/a/b"));
	assert_false(paths_is_beneath("/", "/a"));
	assert_string_equal(paths_rest("/a/b/c", "/a"), "b/c");
	assert_string_equal(paths_rest("/a", "/a"), "");
	assert_string_equal(paths_rest("/a/b", "/"), "a/b");
	assert_string_equal(paths_rest("/", "/"), "");
}

static void components_are_appended_and_taken_away(void **state)
{
	char path[PATH_MAX] = "/", long_name[PATH_MAX];

	assert_int_equal(paths_append(path, "abc", 1), 0);
	assert_int_equal(paths_append(path, "b", 1), 0);
	assert_string_equal(path, "/a/b");
	assert_true(paths_pop(path));
	assert_string_equal(path, "/a");
	assert_true(paths_pop(path));
	assert_string_equal(path, "/");
	assert_false(paths_pop(path));
	path[0] = '\0';
	assert_int_equal(paths_append(path, "a", 1), 0);
	assert_string_equal(path, "a");
	assert_int_equal(paths_append(path, "b", 1), 0);
	assert_string_equal(path, "a/b");
	assert_true(paths_pop(path));
	assert_true(paths_pop(path));
	assert_string_equal(path, "");
	assert_false(paths_pop(path));
	memset(long_name, 'x', sizeof(long_name));
	strcpy(path, "/a");
	assert_int_equal(paths_append(path, long_name, PATH_MAX - 3), -ENAMETOOLONG);
	assert_string_equal(path, "/a");
	assert_int_equal(paths_append(path, long_name, PATH_MAX - 4), 0);
	assert_int_equal(strlen(path), PATH_MAX - 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_path_becomes_its_normal_form),
		cmocka_unit_test(what_is_not_absolute_or_too_long_has_none),
		cmocka_unit_test(beneath_goes_by_whole_components),
		cmocka_unit_test(components_are_appended_and_taken_away),
	};

	return cmocka_run_group_tests_name("paths", tests, NULL, NULL);
}
