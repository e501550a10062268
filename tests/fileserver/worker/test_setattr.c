/* SPDX-License-Identifier: Apache-2.0 */
/* SETATTR: what is set for real, what is recorded, and what is left as it was. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "fileserver/worker/host/xattr-names.h"
#include "tests/fileserver/worker/inside.h"

/* Whatever a request does, nothing stays in use. */
static int tear_down(void **state)
{
	inside_is_idle(*state);
	return inside_tear_down(state);
}

static struct proto_attr after; /* what the last SETATTR told */

static int set(struct share *share, uint64_t node, uint64_t handle, struct proto_setattr values)
{
	struct proto_setattr_request request = { .node = node, .handle = handle, .set = values };
	struct proto_setattr_reply reply;
	int r = raw_setattr(&share->raw, &request, &reply);

	if (r == 0)
		after = reply.attr;
	return r;
}

#define SET(share, node, handle, ...) set(share, node, handle, (struct proto_setattr){ __VA_ARGS__ })

/* A file on the host, and its node. */
static uint64_t make(struct share *share, const char *name, const char *content)
{
	share_host_write(share, name, content);
	return inside_look_up(share, share->root, name);
}

static void permission_bits_are_real_and_the_others_recorded(void **state)
{
	struct share *share = *state;
	uint64_t node = make(share, "a", "x");

	assert_int_equal(SET(share, node, 0, .valid = PROTO_SET_MODE, .mode = 0751), 0);
	assert_int_equal(inside_stat(share, "a").st_mode, S_IFREG | 0751);
	assert_false(inside_has_xattr(share, "a", XATTR_NAMES_OWNERSHIP));
	assert_int_equal(SET(share, node, 0, .valid = PROTO_SET_MODE, .mode = 06755), 0);
	assert_int_equal(after.mode, S_IFREG | 06755);
	assert_int_equal(inside_stat(share, "a").st_mode, S_IFREG | 0755);
	assert_true(inside_has_xattr(share, "a", XATTR_NAMES_OWNERSHIP));
	/* a record that says nothing more goes */
	assert_int_equal(SET(share, node, 0, .valid = PROTO_SET_MODE, .mode = 0755), 0);
	assert_false(inside_has_xattr(share, "a", XATTR_NAMES_OWNERSHIP));
}

static void a_directory_keeps_the_hosts_own_bits_that_stay_on(void **state)
{
	struct share *share = *state;
	uint64_t node;

	assert_int_equal(mkdirat(share->host, "d", 0755), 0);
	assert_int_equal(fchmodat(share->host, "d", 02775, 0), 0);
	node = inside_look_up(share, share->root, "d");
	assert_int_equal(SET(share, node, 0, .valid = PROTO_SET_MODE, .mode = 02755), 0);
	assert_int_equal(inside_stat(share, "d").st_mode, S_IFDIR | 02755);
	assert_int_equal(SET(share, node, 0, .valid = PROTO_SET_MODE, .mode = 0755), 0);
	assert_int_equal(inside_stat(share, "d").st_mode, S_IFDIR | 0755);
	/* and gets none that it had not */
	assert_int_equal(SET(share, node, 0, .valid = PROTO_SET_MODE, .mode = 01755), 0);
	assert_int_equal(inside_stat(share, "d").st_mode, S_IFDIR | 0755);
	assert_int_equal(after.mode, S_IFDIR | 01755);
}

static void one_of_owner_and_group_leaves_the_other(void **state)
{
	struct share *share = *state;
	uint64_t node = make(share, "a", "x");
	struct stat before = inside_stat(share, "a");

	assert_int_equal(SET(share, node, 0, .valid = PROTO_SET_UID | PROTO_SET_GID, .uid = 1000, .gid = 50), 0);
	assert_int_equal(SET(share, node, 0, .valid = PROTO_SET_GID, .uid = 7, .gid = 60), 0);
	assert_int_equal(after.uid, 1000);
	assert_int_equal(after.gid, 60);
	assert_int_equal(SET(share, node, 0, .valid = PROTO_SET_UID, .uid = 1001, .gid = 7), 0);
	assert_int_equal(after.uid, 1001);
	assert_int_equal(after.gid, 60);
	assert_int_equal(inside_stat(share, "a").st_uid, before.st_uid);
	assert_int_equal(inside_stat(share, "a").st_gid, before.st_gid);
}

static void a_size_is_set_by_name_or_by_handle(void **state)
{
	struct share *share = *state;
	uint64_t node = make(share, "a", "content"), writing, reading;

	writing = inside_open(share, node, PROTO_OPEN_WRITE);
	reading = inside_open(share, node, PROTO_OPEN_READ);
	assert_int_equal(SET(share, node, 0, .valid = PROTO_SET_SIZE, .size = 3), 0);
	assert_int_equal(after.size, 3);
	inside_holds(share, "a", "con");
	assert_int_equal(SET(share, node, writing, .valid = PROTO_SET_SIZE, .size = 1), 0);
	inside_holds(share, "a", "c");
	assert_int_equal(SET(share, node, reading, .valid = PROTO_SET_SIZE, .size = 0), -EBADF);
	/* By a handle also where nobody may write by the name: ftruncate(2). */
	assert_int_equal(fchmodat(share->host, "a", 0, 0), 0);
	assert_int_equal(SET(share, node, writing, .valid = PROTO_SET_SIZE, .size = 5), 0);
	assert_int_equal(inside_stat(share, "a").st_size, 5);
}

static void what_is_no_regular_file_has_no_size(void **state)
{
	struct share *share = *state;
	uint64_t fifo, link;

	assert_int_equal(mkfifoat(share->host, "fifo", 0600), 0);
	assert_int_equal(symlinkat("target", share->host, "link"), 0);
	fifo = inside_look_up(share, share->root, "fifo");
	link = inside_look_up(share, share->root, "link");
	assert_int_equal(SET(share, fifo, 0, .valid = PROTO_SET_SIZE, .size = 1), -EINVAL);
	assert_int_equal(SET(share, link, 0, .valid = PROTO_SET_SIZE, .size = 1), -EINVAL);
	/* and a link no mode */
	assert_int_equal(SET(share, link, 0, .valid = PROTO_SET_MODE, .mode = 0700), -EOPNOTSUPP);
}

static void times_are_set_one_by_one(void **state)
{
	struct share *share = *state;
	uint64_t node = make(share, "a", "x");
	struct stat st;

	assert_int_equal(SET(share, node, 0, .valid = PROTO_SET_ATIME | PROTO_SET_MTIME, .atime = { 1000, 1 },
	                     .mtime = { 2000, 2 }),
	                 0);
	assert_int_equal(after.atime.seconds, 1000);
	assert_int_equal(after.mtime.nanoseconds, 2);
	assert_int_equal(SET(share, node, 0, .valid = PROTO_SET_MTIME, .atime = { 7, 7 }, .mtime = { 3000, 3 }), 0);
	st = inside_stat(share, "a");
	assert_int_equal(st.st_atim.tv_sec, 1000);
	assert_int_equal(st.st_mtim.tv_sec, 3000);
	assert_int_equal(SET(share, node, 0, .valid = PROTO_SET_ATIME_NOW), 0);
	st = inside_stat(share, "a");
	assert_true(st.st_atim.tv_sec > 1000000);
	assert_int_equal(st.st_mtim.tv_sec, 3000);
	assert_int_equal(SET(share, node, 0, .valid = PROTO_SET_MTIME_NOW), 0);
	assert_true(inside_stat(share, "a").st_mtim.tv_sec > 1000000);
}

static void a_links_times_and_owner_are_its_own(void **state)
{
	struct share *share = *state;
	uint64_t target = make(share, "target", "x"), link;
	struct stat before = inside_stat(share, "target");

	assert_int_equal(symlinkat("target", share->host, "link"), 0);
	link = inside_look_up(share, share->root, "link");
	assert_int_equal(SET(share, link, 0, .valid = PROTO_SET_MTIME, .mtime = { 2000, 0 }), 0);
	assert_int_equal(inside_stat(share, "link").st_mtim.tv_sec, 2000);
	assert_true(inside_stat(share, "target").st_mtim.tv_sec == before.st_mtim.tv_sec);
	assert_int_equal(SET(share, link, 0, .valid = PROTO_SET_UID | PROTO_SET_GID, .uid = 1000, .gid = 50), 0);
	assert_int_equal(after.uid, 1000);
	assert_true(inside_has_xattr(share, ".", "user.bindshare.links"));
	assert_int_equal(SET(share, target, 0, .valid = PROTO_SET_MTIME_NOW), 0);
	assert_int_equal(after.uid, 0);
}

static bool ctime_moves(struct share *share, uint64_t node, struct proto_setattr values)
{
	struct stat before = inside_stat(share, "a"), now;

	/* Kernels before 6.13 count time in ticks of up to 10 ms. */
	usleep(25000);
	assert_int_equal(set(share, node, 0, values), 0);
	now = inside_stat(share, "a");
	return now.st_ctim.tv_sec != before.st_ctim.tv_sec || now.st_ctim.tv_nsec != before.st_ctim.tv_nsec;
}

static void every_chown_changes_ctime_and_takes_setuid_away(void **state)
{
	struct share *share = *state;
	uint64_t node = make(share, "a", "x");

	assert_true(ctime_moves(share, node, (struct proto_setattr){ .valid = PROTO_SET_UID, .uid = 0 }));
	assert_int_equal(SET(share, node, 0, .valid = PROTO_SET_MODE, .mode = 06755), 0);
	/* chown(-1, -1) */
	assert_true(ctime_moves(share, node, (struct proto_setattr){ .valid = 0 }));
	assert_int_equal(after.mode, S_IFREG | 0755);
	assert_int_equal(SET(share, node, 0, .valid = PROTO_SET_MODE, .mode = 06755), 0);
	assert_int_equal(SET(share, node, 0, .valid = PROTO_SET_KILL_PRIVILEGES | PROTO_SET_SIZE, .size = 0), 0);
	assert_int_equal(after.mode, S_IFREG | 0755);
}

static void without_room_for_a_record_nothing_changes(void **state)
{
	struct share *share = *state;
	uint64_t node = make(share, "a", "x");
	struct stat before = inside_stat(share, "a");

	inside_fill_disk(share);
	assert_int_equal(SET(share, node, 0, .valid = PROTO_SET_MODE, .mode = 06700), -ENOSPC);
	assert_int_equal(inside_stat(share, "a").st_mode, before.st_mode);
	/* What is real needs none. */
	assert_int_equal(SET(share, node, 0, .valid = PROTO_SET_MODE, .mode = 0700), 0);
	inside_empty_disk(share);
	assert_int_equal(inside_stat(share, "a").st_mode, S_IFREG | 0700);
	assert_false(inside_has_xattr(share, "a", XATTR_NAMES_OWNERSHIP));
}

static void root_that_shows_real_owners_sets_them(void **state)
{
	struct share *share = *state;
	uint64_t node;

	if (geteuid() != 0)
		skip();
	inside_session(share)->config.flags = PROTO_HELLO_OWNER_HOST;
	node = make(share, "a", "x");
	assert_int_equal(SET(share, node, 0, .valid = PROTO_SET_UID | PROTO_SET_GID, .uid = 1000, .gid = 50), 0);
	assert_int_equal(inside_stat(share, "a").st_uid, 1000);
	assert_int_equal(inside_stat(share, "a").st_gid, 50);
	assert_int_equal(after.uid, 1000);
	assert_int_equal(SET(share, node, 0, .valid = PROTO_SET_GID, .uid = 7, .gid = 60), 0);
	assert_int_equal(inside_stat(share, "a").st_uid, 1000);
	assert_int_equal(inside_stat(share, "a").st_gid, 60);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, inside_set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(permission_bits_are_real_and_the_others_recorded),
		TEST(a_directory_keeps_the_hosts_own_bits_that_stay_on),
		TEST(one_of_owner_and_group_leaves_the_other),
		TEST(a_size_is_set_by_name_or_by_handle),
		TEST(what_is_no_regular_file_has_no_size),
		TEST(times_are_set_one_by_one),
		TEST(a_links_times_and_owner_are_its_own),
		TEST(every_chown_changes_ctime_and_takes_setuid_away),
		TEST(without_room_for_a_record_nothing_changes),
		TEST(root_that_shows_real_owners_sets_them),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
