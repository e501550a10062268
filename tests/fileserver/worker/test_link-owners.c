/* SPDX-License-Identifier: Apache-2.0 */
/* Who a symbolic link belongs to: the record on its directory, which goes where the link goes. */
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

#include "fileserver/worker/host/link-owners.h"
#include "fileserver/worker/host/reach.h"
#include "tests/fileserver/worker/inside.h"

#define LINKS "user.bindshare.links"

enum { ENTRY = 24, VIEW_UID = 7, VIEW_GID = 8 };

static int directory; /* of the share's a */

static int set_up(void **state)
{
	struct share *share = share_new(0, 1000);

	*state = share;
	if (share == NULL)
		return -1;
	inside_session(share)->config.view_uid = VIEW_UID;
	inside_session(share)->config.view_gid = VIEW_GID;
	assert_int_equal(mkdirat(share->host, "a", 0755), 0);
	assert_int_equal(mkdirat(share->host, "b", 0755), 0);
	directory = openat(share->host, "a", O_RDONLY | O_CLOEXEC);
	return directory < 0 ? -1 : 0;
}

static int tear_down(void **state)
{
	close(directory);
	return inside_tear_down(state);
}

static struct statx look(struct share *share, int in, const char *name)
{
	struct statx stx;

	assert_int_equal(reach_stat_name(inside_session(share), in, name, &stx), 0);
	return stx;
}

/* Makes a symbolic link in a. */
static struct statx make(struct share *share, const char *name)
{
	assert_int_equal(symlinkat("target", directory, name), 0);
	return look(share, directory, name);
}

/* To whom it belongs by the record in that directory. */
static void belongs(struct share *share, int in, const struct statx *stx, uint32_t uid, uint32_t gid)
{
	struct proto_attr attr = { .uid = VIEW_UID, .gid = VIEW_GID };

	link_owners_show(inside_session(share), in, stx, &attr);
	assert_int_equal(attr.uid, uid);
	assert_int_equal(attr.gid, gid);
}

static ssize_t size_of_record(int in)
{
	ssize_t n = fgetxattr(in, LINKS, NULL, 0);

	return n < 0 ? -errno : n;
}

static void a_link_belongs_to_whom_it_was_recorded_for(void **state)
{
	struct share *share = *state;
	struct statx one = make(share, "one"), other = make(share, "other");

	belongs(share, directory, &one, VIEW_UID, VIEW_GID);
	link_owners_record(inside_session(share), directory, &one, 1000, 50);
	link_owners_record(inside_session(share), directory, &other, 1001, 51);
	belongs(share, directory, &one, 1000, 50);
	belongs(share, directory, &other, 1001, 51);
	assert_int_equal(size_of_record(directory), 2 * ENTRY);
	link_owners_record(inside_session(share), directory, &one, 2000, 60);
	belongs(share, directory, &one, 2000, 60);
	belongs(share, directory, &other, 1001, 51);
	assert_int_equal(size_of_record(directory), 2 * ENTRY);
}

static void what_belongs_to_the_mounts_owner_has_no_record(void **state)
{
	struct share *share = *state;
	struct statx one = make(share, "one"), other = make(share, "other");

	link_owners_record(inside_session(share), directory, &one, VIEW_UID, VIEW_GID);
	assert_int_equal(size_of_record(directory), -ENODATA);
	link_owners_record(inside_session(share), directory, &one, VIEW_UID, 50);
	link_owners_record(inside_session(share), directory, &other, 1001, 51);
	link_owners_record(inside_session(share), directory, &one, VIEW_UID, VIEW_GID);
	belongs(share, directory, &one, VIEW_UID, VIEW_GID);
	belongs(share, directory, &other, 1001, 51);
	assert_int_equal(size_of_record(directory), ENTRY);
	link_owners_forget(inside_session(share), directory, &other);
	assert_int_equal(size_of_record(directory), -ENODATA);
}

static void nothing_but_a_link_has_one_and_nobody_elses(void **state)
{
	struct share *share = *state;
	struct session *session = inside_session(share);
	struct statx link = make(share, "link"), file;
	uid_t uid = session->uid;

	share_host_write(share, "a/file", "x");
	file = look(share, directory, "file");
	link_owners_record(session, directory, &file, 1000, 50);
	session->uid = uid + 1;
	link_owners_record(session, directory, &link, 1000, 50);
	session->uid = uid;
	session->config.flags = PROTO_HELLO_OWNER_HOST;
	link_owners_record(session, directory, &link, 1000, 50);
	assert_int_equal(size_of_record(directory), -ENODATA);
	session->config.flags = 0;
	link_owners_record(session, directory, &link, 1000, 50);
	session->uid = uid + 1;
	belongs(share, directory, &link, VIEW_UID, VIEW_GID);
	session->uid = uid;
	session->config.flags = PROTO_HELLO_OWNER_HOST;
	belongs(share, directory, &link, VIEW_UID, VIEW_GID);
	session->config.flags = 0;
	belongs(share, directory, &link, 1000, 50);
}

static void a_number_that_is_used_again_does_not_inherit(void **state)
{
	struct share *share = *state;
	struct statx link = make(share, "link"), later = link;

	if ((link.stx_mask & STATX_BTIME) == 0)
		skip();
	link_owners_record(inside_session(share), directory, &link, 1000, 50);
	later.stx_btime.tv_nsec ^= 1;
	belongs(share, directory, &later, VIEW_UID, VIEW_GID);
}

static void when_there_is_no_room_what_is_gone_is_cleared_away(void **state)
{
	struct share *share = *state;
	struct session *session = inside_session(share);
	struct statx stx, late = make(share, "late");
	char name[16];

	for (unsigned i = 0; i < LINKS_MAX; i++) {
		snprintf(name, sizeof(name), "l%u", i);
		stx = make(share, name);
		link_owners_record(session, directory, &stx, 1000 + i, 50);
	}
	if (size_of_record(directory) != LINKS_MAX * ENTRY)
		skip(); /* the file system has less room for attributes */
	/* all of them are there: no error, and the mount's owner */
	link_owners_record(session, directory, &late, 2000, 60);
	belongs(share, directory, &late, VIEW_UID, VIEW_GID);
	assert_int_equal(size_of_record(directory), LINKS_MAX * ENTRY);
	/* the host removes two */
	assert_int_equal(unlinkat(directory, "l5", 0), 0);
	assert_int_equal(unlinkat(directory, "l119", 0), 0);
	link_owners_record(session, directory, &late, 2000, 60);
	belongs(share, directory, &late, 2000, 60);
	assert_int_equal(size_of_record(directory), (LINKS_MAX - 1) * ENTRY);
	stx = look(share, directory, "l0");
	belongs(share, directory, &stx, 1000, 50);
	stx = look(share, directory, "l118");
	belongs(share, directory, &stx, 1118, 50);
}

static void a_hostile_record_gives_nobody_a_link(void **state)
{
	struct share *share = *state;
	struct statx link = make(share, "link");
	uint8_t record[ENTRY + 5], bytes[64 * ENTRY * 3];

	link_owners_record(inside_session(share), directory, &link, 1000, 50);
	assert_int_equal(fgetxattr(directory, LINKS, record, sizeof(record)), ENTRY);
	/* 2^32-1 is nobody */
	memset(record + 16, 0xff, 4);
	assert_int_equal(fsetxattr(directory, LINKS, record, ENTRY, 0), 0);
	belongs(share, directory, &link, VIEW_UID, VIEW_GID);
	/* half an entry, one and a bit, more than there may be */
	assert_int_equal(fsetxattr(directory, LINKS, record, ENTRY - 1, 0), 0);
	belongs(share, directory, &link, VIEW_UID, VIEW_GID);
	memset(record + 16, 1, 4);
	assert_int_equal(fsetxattr(directory, LINKS, record, ENTRY + 5, 0), 0);
	belongs(share, directory, &link, 0x01010101, 50);
	for (size_t i = 0; i < sizeof(bytes) / ENTRY; i++)
		memcpy(bytes + i * ENTRY, record, ENTRY);
	if (fsetxattr(directory, LINKS, bytes, sizeof(bytes), 0) == 0)
		belongs(share, directory, &link, VIEW_UID, VIEW_GID);
}

static void a_record_moves_with_its_link(void **state)
{
	struct share *share = *state;
	struct session *session = inside_session(share);
	int other = openat(share->host, "b", O_RDONLY | O_CLOEXEC);
	struct statx link = make(share, "link"), plain = make(share, "plain");

	link_owners_record(session, directory, &link, 1000, 50);
	link_owners_move(session, directory, other, &plain);
	assert_int_equal(size_of_record(other), -ENODATA);
	link_owners_move(session, directory, other, &link);
	belongs(share, other, &link, 1000, 50);
	assert_int_equal(size_of_record(directory), -ENODATA);
	/* One of two names: the other one stays where it is. */
	link.stx_nlink = 2;
	link_owners_move(session, other, directory, &link);
	belongs(share, directory, &link, 1000, 50);
	belongs(share, other, &link, 1000, 50);
	close(other);
}

static void a_link_is_known_by_its_node_and_the_directory_that_it_was_seen_in(void **state)
{
	struct share *share = *state;
	struct session *session = inside_session(share);
	int other = openat(share->host, "b", O_RDONLY | O_CLOEXEC);
	struct statx link = make(share, "link");
	struct proto_attr attr = { .uid = VIEW_UID, .gid = VIEW_GID };
	struct proto_setattr set = { .valid = PROTO_SET_UID, .uid = 1000, .gid = 9999 };
	struct pinned pinned;

	inside_take(share, inside_look_up(share, inside_look_up(share, share->root, "a"), "link"), &pinned);
	link_owners_change(session, pinned.node, &link, &set);
	belongs(share, directory, &link, 1000, VIEW_GID);
	set = (struct proto_setattr){ .valid = PROTO_SET_GID, .gid = 50 };
	link_owners_change(session, pinned.node, &link, &set);
	belongs(share, directory, &link, 1000, 50);
	set = (struct proto_setattr){ .valid = PROTO_SET_UID, .uid = 1000 };
	link_owners_change(session, pinned.node, &link, &set);
	belongs(share, directory, &link, 1000, 50);
	link_owners_show_node(session, pinned.node, &link, &attr);
	assert_int_equal(attr.uid, 1000);
	assert_int_equal(attr.gid, 50);
	link_owners_copy(session, pinned.node, other, &link);
	belongs(share, other, &link, 1000, 50);
	inside_put(share, &pinned);
	inside_is_idle(share);
	/* what has no directory above it, as the root, is left alone */
	inside_take(share, share->root, &pinned);
	attr = (struct proto_attr){ .uid = VIEW_UID };
	link_owners_show_node(session, pinned.node, &link, &attr);
	assert_int_equal(attr.uid, VIEW_UID);
	inside_put(share, &pinned);
	close(other);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_link_belongs_to_whom_it_was_recorded_for),
		TEST(what_belongs_to_the_mounts_owner_has_no_record),
		TEST(nothing_but_a_link_has_one_and_nobody_elses),
		TEST(a_number_that_is_used_again_does_not_inherit),
		TEST(when_there_is_no_room_what_is_gone_is_cleared_away),
		TEST(a_hostile_record_gives_nobody_a_link),
		TEST(a_record_moves_with_its_link),
		TEST(a_link_is_known_by_its_node_and_the_directory_that_it_was_seen_in),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
