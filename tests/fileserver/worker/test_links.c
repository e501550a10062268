/* SPDX-License-Identifier: Apache-2.0 */
/* Who a symbolic link belongs to: the record on its directory, when it is full, and when it is nonsense. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cmocka.h>

#include "fileserver/worker/links.h"
#include "tests/support/share.h"

#define RECORD "user.bindshare.links"

enum { SOMEBODY = 1000, GROUP = 2000, OTHER = 3000, ENTRY = 24 };

static int set_up_with(void **state, uint32_t flags)
{
	struct share *share = share_new(flags, 1000);

	*state = share;
	return share == NULL || mkdirat(share->host, "other", 0755) < 0 ? -1 : 0;
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

static struct statx make_link(struct share *share, const char *name)
{
	struct statx stx;

	assert_int_equal(symlinkat("target", share->host, name), 0);
	assert_int_equal(statx(share->host, name, AT_SYMLINK_NOFOLLOW, STATX_BASIC_STATS | STATX_BTIME, &stx), 0);
	return stx;
}

/* Where the share is there are attributes of users. */
static void demand_attributes(struct share *share)
{
	if (fsetxattr(share->host, "user.probe", "", 0, 0) < 0)
		skip();
	assert_int_equal(fremovexattr(share->host, "user.probe"), 0);
}

static void assert_owner(struct share *share, int directory, const struct statx *stx, uint32_t uid, uint32_t gid)
{
	struct proto_attr attr = { .uid = 7, .gid = 8 };

	links_show(share->session, directory, stx, &attr);
	assert_int_equal(attr.uid, uid);
	assert_int_equal(attr.gid, gid);
}

/* What is shown of it is what was there before: nothing is recorded. */
static void assert_nobodys(struct share *share, int directory, const struct statx *stx)
{
	assert_owner(share, directory, stx, 7, 8);
}

static ssize_t entries(int directory)
{
	char bytes[65536];
	ssize_t size = fgetxattr(directory, RECORD, bytes, sizeof(bytes));

	assert_true(size >= 0 || errno == ENODATA);
	return size < 0 ? 0 : size / ENTRY;
}

static void a_link_has_its_owner_and_no_other_link_has(void **state)
{
	struct share *share = *state;
	struct statx one = make_link(share, "one"), two = make_link(share, "two");

	demand_attributes(share);
	links_record(share->session, share->host, &one, SOMEBODY, GROUP);
	assert_owner(share, share->host, &one, SOMEBODY, GROUP);
	assert_nobodys(share, share->host, &two);
	links_record(share->session, share->host, &one, OTHER, GROUP);
	assert_owner(share, share->host, &one, OTHER, GROUP);
	assert_int_equal(entries(share->host), 1);
}

static void what_belongs_to_the_mount_needs_no_record(void **state)
{
	struct share *share = *state;
	struct statx one = make_link(share, "one");

	demand_attributes(share);
	links_record(share->session, share->host, &one, 0, 0);
	assert_int_equal(entries(share->host), 0);
	links_record(share->session, share->host, &one, SOMEBODY, GROUP);
	assert_int_equal(entries(share->host), 1);
	links_record(share->session, share->host, &one, 0, 0);
	assert_int_equal(entries(share->host), 0);
	assert_int_equal(fgetxattr(share->host, RECORD, NULL, 0), -1);
	assert_nobodys(share, share->host, &one);
}

static void what_is_no_link_is_neither_recorded_nor_shown(void **state)
{
	struct share *share = *state;
	struct statx file, one = make_link(share, "one");

	demand_attributes(share);
	share_host_write(share, "file", "content");
	assert_int_equal(statx(share->host, "file", 0, STATX_BASIC_STATS | STATX_BTIME, &file), 0);
	links_record(share->session, share->host, &file, SOMEBODY, GROUP);
	assert_int_equal(entries(share->host), 0);
	/* Somebody else's link neither, whatever stands in the record. */
	links_record(share->session, share->host, &one, SOMEBODY, GROUP);
	one.stx_uid++;
	assert_nobodys(share, share->host, &one);
	links_record(share->session, share->host, &one, OTHER, OTHER);
	one.stx_uid--;
	assert_owner(share, share->host, &one, SOMEBODY, GROUP);
}

static void a_number_that_is_used_again_is_another_link(void **state)
{
	struct share *share = *state;
	struct statx one = make_link(share, "one");

	demand_attributes(share);
	links_record(share->session, share->host, &one, SOMEBODY, GROUP);
	one.stx_btime.tv_nsec = (one.stx_btime.tv_nsec + 1) % 1000000000;
	assert_nobodys(share, share->host, &one);
}

static void an_entry_goes_with_its_link(void **state)
{
	struct share *share = *state;
	struct statx one = make_link(share, "one");
	int other = openat(share->host, "other", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	demand_attributes(share);
	links_record(share->session, share->host, &one, SOMEBODY, GROUP);
	links_move(share->session, share->host, other, &one);
	assert_owner(share, other, &one, SOMEBODY, GROUP);
	assert_int_equal(entries(share->host), 0);
	/* With another name it stays where that is, too. */
	one.stx_nlink = 2;
	links_move(share->session, other, share->host, &one);
	assert_owner(share, other, &one, SOMEBODY, GROUP);
	assert_owner(share, share->host, &one, SOMEBODY, GROUP);
	links_forget(share->session, other, &one);
	assert_nobodys(share, other, &one);
	assert_int_equal(entries(other), 0);
	close(other);
}

static void a_full_record_takes_no_more_until_the_host_removes_a_link(void **state)
{
	struct share *share = *state;
	struct statx stx, last;
	char name[16];

	demand_attributes(share);
	for (int i = 0; i < LINKS_MAX; i++) {
		snprintf(name, sizeof(name), "l%d", i);
		stx = make_link(share, name);
		links_record(share->session, share->host, &stx, SOMEBODY, GROUP);
		if (i == 0)
			last = stx;
	}
	assert_int_equal(entries(share->host), LINKS_MAX);
	stx = make_link(share, "one more");
	links_record(share->session, share->host, &stx, OTHER, GROUP);
	assert_nobodys(share, share->host, &stx);
	/* One that is there can be changed all the same. */
	links_record(share->session, share->host, &last, OTHER, GROUP);
	assert_owner(share, share->host, &last, OTHER, GROUP);
	assert_int_equal(unlinkat(share->host, "l5", 0), 0);
	assert_int_equal(unlinkat(share->host, "l6", 0), 0);
	links_record(share->session, share->host, &stx, OTHER, GROUP);
	assert_owner(share, share->host, &stx, OTHER, GROUP);
	assert_owner(share, share->host, &last, OTHER, GROUP);
	assert_int_equal(entries(share->host), LINKS_MAX - 1);
}

static void a_record_that_makes_no_sense_harms_nobody(void **state)
{
	struct share *share = *state;
	struct statx one = make_link(share, "one");
	unsigned char bytes[ENTRY];

	demand_attributes(share);
	links_record(share->session, share->host, &one, SOMEBODY, GROUP);
	assert_int_equal(fgetxattr(share->host, RECORD, bytes, sizeof(bytes)), ENTRY);
	/* Cut short, and with a number that is nobody's. */
	assert_int_equal(fsetxattr(share->host, RECORD, bytes, ENTRY - 1, 0), 0);
	assert_nobodys(share, share->host, &one);
	memset(bytes + 16, 0xff, 4);
	assert_int_equal(fsetxattr(share->host, RECORD, bytes, ENTRY, 0), 0);
	assert_nobodys(share, share->host, &one);
	links_record(share->session, share->host, &one, SOMEBODY, GROUP);
	assert_owner(share, share->host, &one, SOMEBODY, GROUP);
}

static void with_the_hosts_owners_nothing_is_recorded(void **state)
{
	struct share *share = *state;
	struct statx one = make_link(share, "one");

	demand_attributes(share);
	links_record(share->session, share->host, &one, SOMEBODY, GROUP);
	assert_int_equal(entries(share->host), 0);
	assert_nobodys(share, share->host, &one);
}

static void a_guest_sees_who_made_a_link_and_whom_it_was_given_to(void **state)
{
	struct share *share = *state;
	struct proto_symlink_request request = { .parent = share->root,
		                                 .name = raw_name("link"),
		                                 .target = { .length = 6, .text = "target" },
		                                 .owner = { SOMEBODY, GROUP } };
	struct proto_symlink_reply made;
	struct proto_setattr_request give = { 0 };
	struct proto_setattr_reply given;
	struct proto_link_request link = { .parent = share->root, .name = raw_name("second") };
	struct proto_link_reply linked;
	struct proto_entry entry;

	demand_attributes(share);
	assert_int_equal(raw_symlink(&share->raw, &request, &made), 0);
	assert_int_equal(made.entry.attr.uid, SOMEBODY);
	give.node = made.entry.node;
	give.set = (struct proto_setattr){ .valid = PROTO_SET_UID, .uid = OTHER };
	assert_int_equal(raw_setattr(&share->raw, &give, &given), 0);
	assert_int_equal(given.attr.uid, OTHER);
	assert_int_equal(given.attr.gid, GROUP);
	assert_int_equal(share_lookup(share, share->root, "other", &entry), 0);
	link.node = made.entry.node;
	link.parent = entry.node;
	assert_int_equal(raw_link(&share->raw, &link, &linked), 0);
	assert_int_equal(linked.entry.attr.uid, OTHER);
	assert_int_equal(share_lookup(share, entry.node, "second", &entry), 0);
	assert_int_equal(entry.attr.uid, OTHER);
	assert_int_equal(entry.attr.gid, GROUP);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_link_has_its_owner_and_no_other_link_has),
		TEST(what_belongs_to_the_mount_needs_no_record),
		TEST(what_is_no_link_is_neither_recorded_nor_shown),
		TEST(a_number_that_is_used_again_is_another_link),
		TEST(an_entry_goes_with_its_link),
		TEST(a_full_record_takes_no_more_until_the_host_removes_a_link),
		TEST(a_record_that_makes_no_sense_harms_nobody),
		cmocka_unit_test_setup_teardown(with_the_hosts_owners_nothing_is_recorded, set_up_host, tear_down),
		TEST(a_guest_sees_who_made_a_link_and_whom_it_was_given_to),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
