/* SPDX-License-Identifier: Apache-2.0 */
/* What may be mounted: prefixes, overlaps, links of the user's and of a guest's, and what no answer tells. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "fileserver/broker/allowlist.h"
#include "tests/support/scratch.h"

static struct allowlist list;

static int set_up(void **state)
{
	(void) scratch_make();
	(void) scratch_directory("a");
	(void) scratch_directory("a/b");
	(void) scratch_directory("a/b/c");
	(void) scratch_directory("ab");
	(void) scratch_directory("out");
	(void) scratch_directory("out/deep");
	(void) scratch_file("a/file", "", 0644);
	(void) scratch_file("out/file", "", 0644);
	return 0;
}

static int tear_down(void **state)
{
	allowlist_done(&list);
	scratch_remove();
	return 0;
}

static void add(const char *name, bool read_only)
{
	assert_int_equal(allowlist_add(&list, scratch_path(name), read_only), 0);
}

static int match(const char *name, struct allowlist_match *ret_match)
{
	return allowlist_match(&list, scratch_path(name), ret_match);
}

static void is_allowed(const char *name, const char *canonical, bool read_only)
{
	struct allowlist_match found;
	int r = match(name, &found);

	if (r < 0)
		fail_msg("%s: %s", name, strerror(-r));
	assert_string_equal(found.path, scratch_path(canonical));
	assert_int_equal(found.read_only, read_only);
}

static void is_refused(const char *name, int expected)
{
	struct allowlist_match found;

	assert_int_equal(match(name, &found), expected);
}

static void a_directory_and_all_beneath_it_are_allowed(void **state)
{
	add("a", false);
	is_allowed("a", "a", false);
	is_allowed("a/b/c", "a/b/c", false);
	is_allowed("a//b/", "a/b", false);
	is_refused("a/missing", -ENOENT);
	is_refused("a/b/missing/deep", -ENOENT);
	is_refused("a/file", -ENOTDIR);
	is_refused("a/file/deep", -ENOTDIR);
}

static void what_is_not_on_the_list_is_refused_be_it_there_or_not(void **state)
{
	struct allowlist_match found;

	add("a", false);
	is_refused("out", -EACCES);
	is_refused("missing", -EACCES);
	is_refused("out/file", -EACCES);
	is_refused("ab", -EACCES);
	is_refused("A", -EACCES);
	is_refused("", -EACCES);
	is_refused("a/../out", -EACCES);
	assert_int_equal(allowlist_match(&list, "/", &found), -EACCES);
	assert_int_equal(allowlist_match(&list, "relative", &found), -EACCES);
}

static void an_empty_list_allows_nothing(void **state)
{
	is_refused("a", -EACCES);
}

static void the_root_as_an_entry_allows_everything(void **state)
{
	struct allowlist_match found;

	assert_int_equal(allowlist_add(&list, "/", true), 0);
	assert_int_equal(allowlist_match(&list, "/", &found), 0);
	assert_string_equal(found.path, "/");
	is_allowed("a", "a", true);
}

static void an_entry_that_is_missing_or_a_file_says_so(void **state)
{
	add("later", false);
	add("a/file", false);
	is_refused("later", -ENOENT);
	is_refused("later/sub", -ENOENT);
	is_refused("a/file", -ENOTDIR);
	(void) scratch_directory("later");
	allowlist_done(&list);
	add("later", false);
	is_allowed("later", "later", false);
}

static void of_overlapping_entries_the_read_only_one_wins(void **state)
{
	add("a", false);
	add("a/b", true);
	add("a/b/c", false);
	is_allowed("a/b", "a/b", true);
	is_allowed("a/b/c", "a/b/c", true);
	/* It contains one that may only be read. */
	is_allowed("a", "a", true);
	(void) scratch_directory("a/other");
	is_allowed("a/other", "a/other", false);
}

static void the_same_entry_twice_is_as_strict_as_the_stricter(void **state)
{
	add("a", false);
	add("a", true);
	is_allowed("a", "a", true);
}

static void an_entry_may_lead_through_links_of_the_users(void **state)
{
	assert_int_equal(symlink("a", scratch_path("link")), 0);
	add("link", false);
	is_allowed("link/b", "a/b", false);
	is_allowed("a/b", "a/b", false);
	is_refused("out", -EACCES);
}

static void a_read_only_entry_counts_by_whatever_path_it_is_reached(void **state)
{
	assert_int_equal(symlink("a", scratch_path("link")), 0);
	add("link/b", true);
	add("a", false);
	is_allowed("a/b", "a/b", true);
	is_allowed("a/b/c", "a/b/c", true);
}

static void a_link_within_the_share_is_followed(void **state)
{
	add("a", false);
	assert_int_equal(symlink("b/c", scratch_path("a/relative")), 0);
	assert_int_equal(symlink("../b", scratch_path("a/b/up")), 0);
	assert_int_equal(symlink(scratch_path("a/b"), scratch_path("a/absolute")), 0);
	is_allowed("a/relative", "a/b/c", false);
	is_allowed("a/b/up/c", "a/b/c", false);
	is_allowed("a/absolute/c", "a/b/c", false);
}

static void a_link_that_leaves_the_share_is_as_if_nothing_were_there(void **state)
{
	add("a", false);
	assert_int_equal(symlink("../out", scratch_path("a/l1")), 0);
	assert_int_equal(symlink("../missing", scratch_path("a/l2")), 0);
	assert_int_equal(symlink(scratch_path("out/deep"), scratch_path("a/l3")), 0);
	assert_int_equal(symlink("../out/../a/b", scratch_path("a/l4")), 0);
	assert_int_equal(symlink("/proc/self/root", scratch_path("a/l5")), 0);
	assert_int_equal(symlink("../../../../../../../../..", scratch_path("a/l6")), 0);
	assert_int_equal(symlink("l7", scratch_path("a/l7")), 0);
	for (unsigned i = 1; i <= 7; i++) {
		char name[8];

		(void) snprintf(name, sizeof(name), "a/l%u", i);
		is_refused(name, -EACCES);
	}
	is_refused("a/l1/deep", -EACCES);
	is_refused("a/l1/missing", -EACCES);
	is_refused("a/l1/file", -EACCES);
}

static void an_entry_within_another_cannot_be_moved_out_by_a_guest(void **state)
{
	add("a", false);
	add("a/b", false);
	is_allowed("a/b/c", "a/b/c", false);
	/* What a guest that has "a" mounted can do. */
	assert_int_equal(rename(scratch_path("a/b"), scratch_path("a/gone")), 0);
	assert_int_equal(symlink("../out", scratch_path("a/b")), 0);
	is_refused("a/b", -EACCES);
	is_refused("a/b/deep", -EACCES);
}

static void a_path_that_is_no_absolute_one_is_no_entry(void **state)
{
	assert_int_equal(allowlist_add(&list, "a", false), -EINVAL);
	assert_int_equal(allowlist_add(&list, "/a/../b", false), -EINVAL);
	assert_int_equal(allowlist_add(&list, "", false), -EINVAL);
	assert_int_equal(list.count, 0);
	assert_int_equal(allowlist_add(&list, "//a/./b//", false), 0);
	assert_string_equal(list.entries[0].path, "/a/b");
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(a_directory_and_all_beneath_it_are_allowed),
		CASE(what_is_not_on_the_list_is_refused_be_it_there_or_not),
		CASE(an_empty_list_allows_nothing),
		CASE(the_root_as_an_entry_allows_everything),
		CASE(an_entry_that_is_missing_or_a_file_says_so),
		CASE(of_overlapping_entries_the_read_only_one_wins),
		CASE(the_same_entry_twice_is_as_strict_as_the_stricter),
		CASE(an_entry_may_lead_through_links_of_the_users),
		CASE(a_read_only_entry_counts_by_whatever_path_it_is_reached),
		CASE(a_link_within_the_share_is_followed),
		CASE(a_link_that_leaves_the_share_is_as_if_nothing_were_there),
		CASE(an_entry_within_another_cannot_be_moved_out_by_a_guest),
		CASE(a_path_that_is_no_absolute_one_is_no_entry),
	};

	return cmocka_run_group_tests_name("allowlist", tests, NULL, NULL);
}
