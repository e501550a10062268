/* SPDX-License-Identifier: Apache-2.0 */
/* SYMLINK, MKNOD and MKDIR: what is made on the host, what is recorded, and that nothing half done stays. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "fileserver/worker/host/xattr-names.h"
#include "fileserver/worker/operations/make.h"
#include "tests/fileserver/worker/inside.h"

static int tear_down(void **state)
{
	inside_is_idle(*state);
	return inside_tear_down(state);
}

static int make_directory(struct share *share, const char *name, uint32_t mode, struct proto_owner owner,
                          struct proto_mkdir_reply *ret_reply)
{
	struct proto_mkdir_request request = {
		.parent = share->root, .name = raw_name(name), .mode = mode, .owner = owner
	};

	return raw_mkdir(&share->raw, &request, ret_reply);
}

static int make_node(struct share *share, const char *name, uint32_t mode, uint32_t rdev,
                     struct proto_mknod_reply *ret_reply)
{
	struct proto_mknod_request request = {
		.parent = share->root, .name = raw_name(name), .mode = mode, .rdev = rdev
	};

	return raw_mknod(&share->raw, &request, ret_reply);
}

static int make_link(struct share *share, const char *name, const char *target, struct proto_owner owner,
                     struct proto_symlink_reply *ret_reply)
{
	struct proto_symlink_request request = { .parent = share->root, .name = raw_name(name), .owner = owner };

	request.target.length = strlen(target);
	memcpy(request.target.text, target, strlen(target) + 1);
	return raw_symlink(&share->raw, &request, ret_reply);
}

static void a_directory_is_made_with_its_mode(void **state)
{
	struct share *share = *state;
	struct proto_mkdir_reply reply;

	assert_int_equal(make_directory(share, "d", 0751, (struct proto_owner){ 0, 0 }, &reply), 0);
	assert_int_equal(inside_stat(share, "d").st_mode, S_IFDIR | 0751);
	assert_int_equal(reply.entry.attr.mode, S_IFDIR | 0751);
	assert_true(reply.entry.attr.ino == inside_stat(share, "d").st_ino);
	assert_true(reply.parent.ino == inside_stat(share, ".").st_ino);
	assert_int_equal(inside_references(share, reply.entry.node), 1);
	/* It may become somebody's working directory without another word. */
	assert_true(inside_has_descriptor(share, reply.entry.node));
	assert_false(inside_has_xattr(share, "d", XATTR_NAMES_OWNERSHIP));
	assert_int_equal(make_directory(share, "d", 0751, (struct proto_owner){ 0, 0 }, &reply), -EEXIST);
}

static void owner_and_sticky_bit_are_recorded_and_not_made(void **state)
{
	struct share *share = *state;
	struct proto_mkdir_reply reply;
	struct proto_entry entry;

	assert_int_equal(make_directory(share, "d", 01777, (struct proto_owner){ 1000, 50 }, &reply), 0);
	assert_int_equal(reply.entry.attr.mode, S_IFDIR | 01777);
	assert_int_equal(reply.entry.attr.uid, 1000);
	assert_int_equal(inside_stat(share, "d").st_mode, S_IFDIR | 0777);
	assert_int_equal(inside_stat(share, "d").st_uid, geteuid());
	assert_int_equal(share_lookup(share, share->root, "d", &entry), 0);
	assert_int_equal(entry.attr.mode, S_IFDIR | 01777);
	assert_int_equal(entry.attr.gid, 50);
}

static void a_set_group_id_directory_gives_its_group_to_what_is_made_in_it(void **state)
{
	struct share *share = *state;
	struct proto_mkdir_reply outer, inner;
	struct proto_mkdir_request request = { .name = raw_name("in"), .mode = 0755, .owner = { 1000, 1000 } };

	assert_int_equal(make_directory(share, "out", 02775, (struct proto_owner){ 1000, 50 }, &outer), 0);
	request.parent = outer.entry.node;
	assert_int_equal(raw_mkdir(&share->raw, &request, &inner), 0);
	assert_int_equal(inner.entry.attr.gid, 50);
	assert_int_equal(inner.entry.attr.uid, 1000);
	assert_int_equal(inner.entry.attr.mode, S_IFDIR | 02755);
}

static void a_link_holds_its_target_verbatim_and_is_not_followed(void **state)
{
	struct share *share = *state;
	struct proto_symlink_reply reply;
	char target[64];

	assert_int_equal(make_link(share, "link", "../../etc//passwd", (struct proto_owner){ 1000, 50 }, &reply), 0);
	assert_int_equal(readlinkat(share->host, "link", target, sizeof(target)), 17);
	assert_memory_equal(target, "../../etc//passwd", 17);
	assert_true(S_ISLNK(reply.entry.attr.mode));
	assert_int_equal(reply.entry.attr.uid, 1000);
	assert_int_equal(reply.entry.attr.gid, 50);
	assert_int_equal(make_link(share, "link", "x", (struct proto_owner){ 0, 0 }, &reply), -EEXIST);
}

static void what_is_no_regular_file_is_one_on_the_host_with_a_record(void **state)
{
	static const struct {
		const char *name;
		uint32_t mode, rdev, seen;
	} rows[] = { { "fifo", S_IFIFO | 0640, 7, 0 },
		     { "socket", S_IFSOCK | 0755, 7, 0 },
		     { "char", S_IFCHR | 0600, (5 << 8) | 1, (5 << 8) | 1 },
		     { "block", S_IFBLK | 0660, (8 << 8) | 17, (8 << 8) | 17 } };
	struct share *share = *state;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct proto_mknod_reply reply;
		struct proto_entry entry;
		struct stat st;

		assert_int_equal(make_node(share, rows[i].name, rows[i].mode, rows[i].rdev, &reply), 0);
		st = inside_stat(share, rows[i].name);
		assert_int_equal(st.st_mode, S_IFREG | (rows[i].mode & 0777));
		assert_int_equal(st.st_size, 0);
		assert_int_equal(share_lookup(share, share->root, rows[i].name, &entry), 0);
		assert_true(entry.node == reply.entry.node);
		assert_int_equal(entry.attr.mode, rows[i].mode);
		assert_int_equal(entry.attr.rdev, rows[i].seen);
	}
}

static void a_mode_without_a_type_is_a_regular_file(void **state)
{
	struct share *share = *state;
	struct proto_mknod_reply reply;

	assert_int_equal(make_node(share, "file", 0604, 5, &reply), 0);
	assert_int_equal(reply.entry.attr.mode, S_IFREG | 0604);
	assert_int_equal(reply.entry.attr.rdev, 0);
	assert_false(inside_has_xattr(share, "file", XATTR_NAMES_OWNERSHIP));
	assert_int_equal(make_node(share, "dir", S_IFDIR | 0755, 0, &reply), -EINVAL);
	assert_int_equal(make_node(share, "link", S_IFLNK | 0777, 0, &reply), -EINVAL);
	assert_int_equal(make_node(share, "file", 0600, 0, &reply), -EEXIST);
	assert_false(inside_is_there(share, "dir") || inside_is_there(share, "link"));
}

/* At the limit of what the session may know: the object can be made and not told. */
static void what_cannot_be_told_is_taken_back(void **state)
{
	struct share *share = *state;
	struct proto_mkdir_reply directory;
	struct proto_mknod_reply node;
	struct proto_symlink_reply link;
	struct pinned used;

	share_host_write(share, "used", "x");
	inside_take(share, inside_look_up(share, share->root, "used"), &used);
	assert_int_equal(make_directory(share, "d", 0755, (struct proto_owner){ 0, 0 }, &directory), -ENOMEM);
	assert_int_equal(make_node(share, "n", S_IFREG | 0644, 0, &node), -ENOMEM);
	assert_int_equal(make_link(share, "l", "x", (struct proto_owner){ 0, 0 }, &link), -ENOMEM);
	assert_false(inside_is_there(share, "d"));
	assert_false(inside_is_there(share, "n"));
	assert_false(inside_is_there(share, "l"));
	inside_put(share, &used);
}

static int set_up_small(void **state)
{
	uint32_t before = share_nodes_max;
	int r;

	share_nodes_max = 2;
	r = inside_set_up(state);
	share_nodes_max = before;
	return r;
}

static void without_room_nothing_is_made(void **state)
{
	struct share *share = *state;
	struct proto_mkdir_reply directory;
	struct proto_mknod_reply node;
	struct proto_symlink_reply link;

	inside_fill_disk(share);
	assert_int_equal(make_directory(share, "d", 0755, (struct proto_owner){ 0, 0 }, &directory), -ENOSPC);
	assert_int_equal(make_node(share, "n", S_IFREG | 0644, 0, &node), -ENOSPC);
	assert_int_equal(make_link(share, "l", "x", (struct proto_owner){ 0, 0 }, &link), -ENOSPC);
	inside_empty_disk(share);
	assert_false(inside_is_there(share, "d") || inside_is_there(share, "n") || inside_is_there(share, "l"));
}

static void what_is_taken_back_is_the_name_alone(void **state)
{
	struct share *share = *state;
	struct pinned root;

	share_host_write(share, "file", "x");
	assert_int_equal(mkdirat(share->host, "d", 0755), 0);
	inside_take(share, share->root, &root);
	make_undo(inside_session(share), &root, "d", 0); /* a directory only where that is said */
	assert_true(inside_is_there(share, "d"));
	make_undo(inside_session(share), &root, "d", AT_REMOVEDIR);
	assert_false(inside_is_there(share, "d"));
	make_undo(inside_session(share), &root, "nothing", 0);
	make_undo(inside_session(share), &root, "file", 0);
	assert_false(inside_is_there(share, "file"));
	inside_put(share, &root);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, inside_set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_directory_is_made_with_its_mode),
		TEST(owner_and_sticky_bit_are_recorded_and_not_made),
		TEST(a_set_group_id_directory_gives_its_group_to_what_is_made_in_it),
		TEST(a_link_holds_its_target_verbatim_and_is_not_followed),
		TEST(what_is_no_regular_file_is_one_on_the_host_with_a_record),
		TEST(a_mode_without_a_type_is_a_regular_file),
		cmocka_unit_test_setup_teardown(what_cannot_be_told_is_taken_back, set_up_small, tear_down),
		TEST(without_room_nothing_is_made),
		TEST(what_is_taken_back_is_the_name_alone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
