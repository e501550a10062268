/* SPDX-License-Identifier: Apache-2.0 */
/* The administrator's policy: what it allows, and which files are none. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "fileserver/broker/policy.h"
#include "tests/support/scratch.h"

static struct policy read_text(const char *text)
{
	struct policy policy;
	char error[512] = "";

	if (policy_read(scratch_file("policy", text, 0644), &policy, error, sizeof(error)) < 0)
		fail_msg("%s", error);
	return policy;
}

static void without_the_key_nothing_is_limited(void **state)
{
	struct policy policy = read_text("{\"other\": 1}");

	assert_true(policy_allows(&policy, "/etc"));
	policy_done(&policy);
	policy = read_text("{\"filesharingAllowedDirectories\": []}");
	assert_false(policy_allows(&policy, "/etc"));
	policy_done(&policy);
}

static void directories_and_what_is_beneath_them_are_allowed(void **state)
{
	struct policy policy;

	(void) scratch_directory("home");
	(void) scratch_directory("home/project");
	(void) scratch_directory("homely");
	assert_int_equal(symlink(scratch_path("homely"), scratch_path("home/link")), 0);
	assert_int_equal(setenv("HOME", scratch_path("home"), 1), 0);
	policy = read_text("{\"filesharingAllowedDirectories\": [{\"path\": \"$HOME\", \"sharedByDefault\": true},"
	                   " {\"path\": \"$TMP/none\"}]}");
	assert_int_equal(policy.count, 2);
	assert_true(policy.directories[0].shared_by_default);
	assert_false(policy.directories[1].shared_by_default);
	assert_true(policy_allows(&policy, scratch_path("home")));
	assert_true(policy_allows(&policy, scratch_path("home/project")));
	assert_true(policy_allows(&policy, scratch_path("home/none/yet")));
	assert_false(policy_allows(&policy, scratch_path("homely")));
	assert_false(policy_allows(&policy, scratch_path("home/link")));
	assert_false(policy_allows(&policy, "/"));
	policy_done(&policy);
}

static void a_home_that_is_a_link_may_be_written_either_way(void **state)
{
	struct policy policy;

	(void) scratch_directory("real");
	assert_int_equal(symlink("real", scratch_path("home")), 0);
	assert_int_equal(setenv("HOME", scratch_path("home"), 1), 0);
	policy = read_text("{\"filesharingAllowedDirectories\": [{\"path\": \"$HOME\"}]}");
	assert_true(policy_allows(&policy, scratch_path("home")));
	assert_true(policy_allows(&policy, scratch_path("real")));
	policy_done(&policy);
}

static void refused(const char *list, const char *words)
{
	struct policy policy;
	char text[512], error[512] = "";

	(void) snprintf(text, sizeof(text), "{\"filesharingAllowedDirectories\": %s}", list);
	assert_int_equal(policy_read(scratch_file("bad", text, 0644), &policy, error, sizeof(error)), -EINVAL);
	if (strstr(error, words) == NULL)
		fail_msg("said \"%s\" without \"%s\"", error, words);
}

static void what_makes_no_sense_is_refused(void **state)
{
	refused("{}", "not a list");
	refused("[7]", "entry 1");
	refused("[{\"path\": \"/\"}, {\"path\": \"me\"}]", "{\"path\":\"me\"}");
	refused("[{\"path\": \"/\"}, {}]", "entry 2");
	refused("[{\"path\": \"relative\"}]", "entry 1");
	refused("[{\"path\": \"/a/../b\"}]", "entry 1");
	refused("[{\"path\": \"$USER/x\"}]", "$HOME, $TMP and $TEMP");
	refused("[{\"path\": \"/\", \"sharedByDefault\": 1}]", "entry 1");
	assert_int_equal(unsetenv("HOME"), 0);
	refused("[{\"path\": \"$HOME\"}]", "entry 1");
}

static void a_key_in_another_case_limits_all_the_same(void **state)
{
	struct policy policy = read_text("{\"FileSharingAllowedDirectories\": [{\"path\": \"/srv\"}]}");
	char error[512] = "";

	assert_true(policy_allows(&policy, "/srv"));
	assert_false(policy_allows(&policy, "/etc"));
	policy_done(&policy);
	assert_int_equal(policy_read(scratch_file("bad",
	                                          "{\"filesharingAllowedDirectories\": [{\"path\": \"/\"}],"
	                                          " \"FilesharingAllowedDirectories\": []}",
	                                          0644),
	                             &policy, error, sizeof(error)),
	                 -EINVAL);
	assert_non_null(strstr(error, "more than once"));
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, scratch_set_up, scratch_tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(without_the_key_nothing_is_limited),
		CASE(directories_and_what_is_beneath_them_are_allowed),
		CASE(a_home_that_is_a_link_may_be_written_either_way),
		CASE(what_makes_no_sense_is_refused),
		CASE(a_key_in_another_case_limits_all_the_same),
	};

	return cmocka_run_group_tests_name("policy", tests, NULL, NULL);
}
