/* SPDX-License-Identifier: Apache-2.0 */
/* A rename that leaves a whiteout behind: what each side sees of it, and that a failure leaves none. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <dirent.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/support/share.h"

static int set_up_with(void **state, uint32_t flags)
{
	*state = share_new(flags, 1000);
	return *state == NULL ? -1 : 0;
}

static int set_up(void **state)
{
	return set_up_with(state, 0);
}

static int set_up_host(void **state)
{
	return set_up_with(state, PROTO_HELLO_OWNER_HOST);
}

static int tear_down(void **state)
{
	share_free(*state);
	return 0;
}

/* Records need attributes of users. */
static void demand_attributes(struct share *share)
{
	if (fsetxattr(share->host, "user.probe", "", 0, 0) < 0)
		skip();
	assert_int_equal(fremovexattr(share->host, "user.probe"), 0);
}

static int rename_with_whiteout(struct share *share, const char *from, const char *to)
{
	struct proto_rename_request request = { .parent = share->root,
		                                .name = raw_name(from),
		                                .new_parent = share->root,
		                                .new_name = raw_name(to),
		                                .flags = PROTO_RENAME_WHITEOUT };
	struct proto_rename_reply reply;

	return raw_rename(&share->raw, &request, &reply);
}

static int names(const struct share *share)
{
	DIR *directory = fdopendir(openat(share->host, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
	int count = 0;

	assert_non_null(directory);
	while (readdir(directory) != NULL)
		count++;
	closedir(directory);
	return count - 2;
}

static void assert_whiteout(struct share *share, const char *name)
{
	struct proto_entry entry;
	struct stat st;

	assert_int_equal(share_lookup(share, share->root, name, &entry), 0);
	assert_true(S_ISCHR(entry.attr.mode));
	assert_int_equal(entry.attr.rdev, 0);
	/* No device is ever made for real. */
	assert_int_equal(fstatat(share->host, name, &st, AT_SYMLINK_NOFOLLOW), 0);
	assert_true(S_ISREG(st.st_mode));
	assert_int_equal(st.st_size, 0);
	assert_int_equal(st.st_nlink, 1);
	assert_int_equal(st.st_mode & 07177, 0);
}

static void the_old_name_is_a_whiteout_and_the_new_one_the_file(void **state)
{
	struct share *share = *state;
	struct proto_entry before, after;
	struct stat st;

	demand_attributes(share);
	share_host_write(share, "old", "content");
	assert_int_equal(share_lookup(share, share->root, "old", &before), 0);
	assert_int_equal(rename_with_whiteout(share, "old", "new"), 0);
	assert_whiteout(share, "old");
	assert_int_equal(share_lookup(share, share->root, "new", &after), 0);
	assert_int_equal(after.node, before.node);
	assert_int_equal(fstatat(share->host, "new", &st, 0), 0);
	assert_int_equal(st.st_size, 7);
	assert_int_equal(names(share), 2);
}

static void a_directory_leaves_one_too_and_what_it_replaces_goes(void **state)
{
	struct share *share = *state;

	demand_attributes(share);
	assert_int_equal(mkdirat(share->host, "old", 0755), 0);
	share_host_write(share, "old/file", "content");
	assert_int_equal(mkdirat(share->host, "new", 0755), 0);
	assert_int_equal(rename_with_whiteout(share, "old", "new"), 0);
	assert_whiteout(share, "old");
	assert_int_equal(faccessat(share->host, "new/file", R_OK, 0), 0);
	assert_int_equal(names(share), 2);
}

static void a_whiteout_can_be_replaced_and_removed_like_a_file(void **state)
{
	struct share *share = *state;
	struct proto_unlink_request request = { .parent = share->root, .name = raw_name("old") };
	struct proto_unlink_reply reply;

	demand_attributes(share);
	share_host_write(share, "old", "content");
	assert_int_equal(rename_with_whiteout(share, "old", "new"), 0);
	assert_int_equal(rename_with_whiteout(share, "new", "old"), 0);
	assert_whiteout(share, "new");
	assert_int_equal(rename_with_whiteout(share, "old", "third"), 0);
	assert_whiteout(share, "old");
	assert_int_equal(raw_unlink(&share->raw, &request, &reply), 0);
	assert_int_equal(names(share), 2);
}

static void a_rename_that_fails_leaves_none(void **state)
{
	struct share *share = *state;

	demand_attributes(share);
	assert_int_equal(mkdirat(share->host, "old", 0755), 0);
	assert_int_equal(mkdirat(share->host, "full", 0755), 0);
	share_host_write(share, "full/file", "content");
	assert_int_equal(rename_with_whiteout(share, "old", "full"), -ENOTEMPTY);
	assert_int_equal(rename_with_whiteout(share, "none", "other"), -ENOENT);
	assert_int_equal(faccessat(share->host, "old", R_OK, 0), 0);
	assert_int_equal(faccessat(share->host, "full/file", R_OK, 0), 0);
	assert_int_equal(names(share), 2);
}

static void with_the_hosts_owners_it_is_the_same(void **state)
{
	struct share *share = *state;

	demand_attributes(share);
	share_host_write(share, "old", "content");
	assert_int_equal(rename_with_whiteout(share, "old", "new"), 0);
	assert_whiteout(share, "old");
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(the_old_name_is_a_whiteout_and_the_new_one_the_file),
		TEST(a_directory_leaves_one_too_and_what_it_replaces_goes),
		TEST(a_whiteout_can_be_replaced_and_removed_like_a_file),
		TEST(a_rename_that_fails_leaves_none),
		cmocka_unit_test_setup_teardown(with_the_hosts_owners_it_is_the_same, set_up_host, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
