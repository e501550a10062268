/* SPDX-License-Identifier: Apache-2.0 */
/* The list of shares: its parts, its pins, its changes. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "fileserver/broker/shares.h"
#include "tests/support/scratch.h"

static struct shares shares;
static char error[SHARES_ERROR_SIZE];

static int set_up(void **state)
{
	(void) scratch_make();
	(void) scratch_directory("one");
	(void) scratch_directory("two");
	shares = (struct shares){ 0 };
	return 0;
}

static int tear_down(void **state)
{
	shares_done(&shares);
	scratch_remove();
	return 0;
}

static void settings(const char *first, const char *second)
{
	char text[2048];

	(void) snprintf(text, sizeof(text), "{\"FilesharingDirectories\": [\"%s\"%s%s%s]}", scratch_path(first),
	                second ? ", \"" : "", second ? scratch_path(second) : "", second ? "\"" : "");
	shares.settings_path = scratch_file("settings", text, 0600);
}

static void what_was_given_and_what_is_set_are_one_list(void **state)
{
	settings("one", "two");
	assert_int_equal(shares_give(&shares, scratch_path("two/"), true, SHARE_COMMAND_LINE), 0);
	assert_int_equal(shares_give(&shares, "relative", true, SHARE_COMMAND_LINE), -EINVAL);
	assert_int_equal(shares_load(&shares, error, sizeof(error)), 0);
	assert_int_equal(shares.list.count, 2);
	/* Where both name a directory, read-only wins. */
	assert_string_equal(shares.list.shares[0].path, scratch_path("two"));
	assert_true(shares.list.shares[0].read_only);
	assert_int_equal(shares.list.shares[0].source, SHARE_COMMAND_LINE);
	assert_int_equal(shares.list.shares[1].source, SHARE_SETTINGS);
	assert_int_equal(shares.allowlist.count, 2);
}

static void a_share_stays_pinned_to_its_directory(void **state)
{
	settings("one", NULL);
	assert_int_equal(shares_load(&shares, error, sizeof(error)), 0);
	assert_int_equal(rename(scratch_path("one"), scratch_path("kept")), 0);
	shares_look(&shares);
	assert_int_equal(shares.list.shares[0].state, SHARE_MISSING);
	assert_false(shares.allowlist.entries[0].replaced);
	(void) scratch_directory("one");
	shares_reload(&shares);
	assert_int_equal(shares.list.shares[0].state, SHARE_REPLACED);
	assert_true(shares.allowlist.entries[0].replaced);
	assert_int_equal(rmdir(scratch_path("one")), 0);
	assert_int_equal(rename(scratch_path("kept"), scratch_path("one")), 0);
	shares_look(&shares);
	assert_int_equal(shares.list.shares[0].state, SHARE_SERVED);
	assert_false(shares.allowlist.entries[0].replaced);
}

static void a_share_that_is_not_there_yet_is_pinned_when_it_is(void **state)
{
	settings("later", NULL);
	assert_int_equal(shares_load(&shares, error, sizeof(error)), 0);
	assert_int_equal(shares.list.shares[0].state, SHARE_MISSING);
	(void) scratch_directory("later");
	shares_look(&shares);
	assert_int_equal(shares.list.shares[0].state, SHARE_SERVED);
	assert_true(shares.list.shares[0].pinned);
}

static void adding_a_replaced_share_pins_what_is_there_now(void **state)
{
	struct shares_problem problem;
	bool persistent;

	settings("one", NULL);
	assert_int_equal(shares_load(&shares, error, sizeof(error)), 0);
	assert_int_equal(rename(scratch_path("one"), scratch_path("kept")), 0);
	(void) scratch_directory("one");
	shares_look(&shares);
	assert_int_equal(shares.list.shares[0].state, SHARE_REPLACED);
	assert_int_equal(shares_add(&shares, scratch_path("one"), false, true, &persistent, &problem), 0);
	assert_true(persistent);
	assert_int_equal(shares.list.shares[0].state, SHARE_SERVED);
}

static void errors_keep_the_last_good_list_and_are_kept(void **state)
{
	settings("one", NULL);
	assert_int_equal(shares_load(&shares, error, sizeof(error)), 0);
	(void) scratch_file("settings", "{", 0600);
	shares_reload(&shares);
	assert_non_null(strstr(shares.settings_error, "line 1"));
	assert_int_equal(shares.list.count, 1);
	assert_int_equal(unlink(scratch_path("settings")), 0);
	shares_reload(&shares);
	assert_non_null(strstr(shares.settings_error, "No such file"));
	assert_int_equal(shares.list.count, 1);
	settings("two", NULL);
	shares_reload(&shares);
	assert_string_equal(shares.settings_error, "");
	assert_string_equal(shares.list.shares[0].path, scratch_path("two"));
}

static void a_policy_leaves_out_what_it_does_not_allow(void **state)
{
	char text[512];
	struct shares_problem problem;
	bool persistent;

	settings("one", "two");
	(void) snprintf(text, sizeof(text), "{\"filesharingAllowedDirectories\": [{\"path\": \"%s\"}]}",
	                scratch_path("one"));
	shares.policy_path = scratch_file("policy", text, 0600);
	assert_int_equal(shares_load(&shares, error, sizeof(error)), 0);
	assert_int_equal(shares.list.shares[1].state, SHARE_DENIED);
	assert_int_equal(shares.allowlist.count, 1);
	assert_int_equal(shares_add(&shares, scratch_path("two"), false, true, &persistent, &problem), -EACCES);
	assert_string_equal(problem.code, "policy");
	/* What was given at the start is an error then. */
	assert_int_equal(shares_give(&shares, scratch_path("two"), false, SHARE_COMMAND_LINE), 0);
	assert_int_equal(shares_load(&shares, error, sizeof(error)), -EACCES);
	assert_non_null(strstr(error, "policy"));
}

static void files_that_are_optional_may_be_missing_at_the_start_only(void **state)
{
	shares.settings_path = scratch_path("settings");
	shares.policy_path = scratch_path("policy");
	assert_int_equal(shares_load(&shares, error, sizeof(error)), -ENOENT);
	shares.policy_is_optional = true;
	assert_int_equal(shares_load(&shares, error, sizeof(error)), -ENOENT);
	shares.settings_are_optional = true;
	assert_int_equal(shares_load(&shares, error, sizeof(error)), 0);
	shares_reload(&shares);
	assert_string_equal(shares.settings_error, "");
	assert_string_equal(shares.policy_error, "");
	settings("one", NULL);
	shares_reload(&shares);
	assert_int_equal(unlink(scratch_path("settings")), 0);
	shares_reload(&shares);
	assert_non_null(strstr(shares.settings_error, "No such file"));
	assert_int_equal(shares.list.count, 1);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(what_was_given_and_what_is_set_are_one_list),
		CASE(a_share_stays_pinned_to_its_directory),
		CASE(a_share_that_is_not_there_yet_is_pinned_when_it_is),
		CASE(adding_a_replaced_share_pins_what_is_there_now),
		CASE(errors_keep_the_last_good_list_and_are_kept),
		CASE(a_policy_leaves_out_what_it_does_not_allow),
		CASE(files_that_are_optional_may_be_missing_at_the_start_only),
	};

	return cmocka_run_group_tests_name("shares", tests, NULL, NULL);
}
