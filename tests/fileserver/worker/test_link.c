/* SPDX-License-Identifier: Apache-2.0 */
/* LINK: another name of an object, whatever it is, and never of what a link leads to. */
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

#include "tests/fileserver/worker/inside.h"

/* Whatever a request does, nothing stays in use. */
static int tear_down(void **state)
{
	inside_is_idle(*state);
	return inside_tear_down(state);
}

static int link_to(struct share *share, uint64_t node, uint64_t parent, const char *name,
                   struct proto_link_reply *ret_reply)
{
	struct proto_link_request request = { .node = node, .parent = parent, .name = raw_name(name) };

	return raw_link(&share->raw, &request, ret_reply);
}

static void a_file_has_two_names_and_one_node(void **state)
{
	struct share *share = *state;
	struct proto_link_reply reply;
	uint64_t node, directory;

	share_host_write(share, "a", "content");
	assert_int_equal(mkdirat(share->host, "d", 0755), 0);
	node = inside_look_up(share, share->root, "a");
	directory = inside_look_up(share, share->root, "d");
	assert_int_equal(link_to(share, node, directory, "b", &reply), 0);
	assert_true(reply.entry.node == node);
	assert_int_equal(reply.entry.attr.nlink, 2);
	assert_true(reply.parent.ino == inside_stat(share, "d").st_ino);
	assert_int_equal(inside_references(share, node), 2);
	assert_true(inside_stat(share, "d/b").st_ino == inside_stat(share, "a").st_ino);
}

static void a_symbolic_link_is_linked_and_not_followed(void **state)
{
	struct share *share = *state;
	struct proto_symlink_request request = {
		.parent = share->root, .name = raw_name("link"), .target = { 6, "target" }, .owner = { 1000, 50 }
	};
	struct proto_symlink_reply made;
	struct proto_link_reply reply;
	uint64_t directory;

	share_host_write(share, "target", "x");
	assert_int_equal(mkdirat(share->host, "d", 0755), 0);
	directory = inside_look_up(share, share->root, "d");
	assert_int_equal(raw_symlink(&share->raw, &request, &made), 0);
	assert_int_equal(link_to(share, made.entry.node, directory, "other", &reply), 0);
	assert_true(S_ISLNK(reply.entry.attr.mode));
	assert_true(S_ISLNK(inside_stat(share, "d/other").st_mode));
	/* and its owner has a record there, too */
	assert_int_equal(reply.entry.attr.uid, 1000);
	assert_int_equal(reply.entry.attr.gid, 50);
	assert_true(inside_has_xattr(share, "d", "user.bindshare.links"));
}

static void a_name_that_is_there_is_not_replaced(void **state)
{
	struct share *share = *state;
	struct proto_link_reply reply;
	uint64_t node;

	share_host_write(share, "a", "a");
	share_host_write(share, "b", "b");
	node = inside_look_up(share, share->root, "a");
	assert_int_equal(link_to(share, node, share->root, "b", &reply), -EEXIST);
	inside_holds(share, "b", "b");
	assert_int_equal(inside_references(share, node), 1);
}

static void a_directory_has_one_name(void **state)
{
	struct share *share = *state;
	struct proto_link_reply reply;

	assert_int_equal(mkdirat(share->host, "d", 0755), 0);
	assert_int_equal(link_to(share, inside_look_up(share, share->root, "d"), share->root, "e", &reply), -EPERM);
	assert_false(inside_is_there(share, "e"));
}

static void a_file_that_was_removed_is_not_brought_back(void **state)
{
	struct share *share = *state;
	struct proto_link_reply reply;
	uint64_t node;

	share_host_write(share, "a", "a");
	node = inside_look_up(share, share->root, "a");
	(void) inside_open(share, node, PROTO_OPEN_READ);
	assert_int_equal(raw_unlink(&share->raw, &(struct proto_unlink_request){ share->root, raw_name("a") },
	                            &(struct proto_unlink_reply){}),
	                 0);
	assert_int_equal(link_to(share, node, share->root, "b", &reply), -ENOENT);
	assert_false(inside_is_there(share, "b"));
}

static void without_room_there_is_no_other_name(void **state)
{
	struct share *share = *state;
	struct proto_link_reply reply;
	uint64_t node;

	share_host_write(share, "a", "a");
	node = inside_look_up(share, share->root, "a");
	inside_fill_disk(share);
	assert_int_equal(link_to(share, node, share->root, "b", &reply), -ENOSPC);
	inside_empty_disk(share);
	assert_false(inside_is_there(share, "b"));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, inside_set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_file_has_two_names_and_one_node),           TEST(a_symbolic_link_is_linked_and_not_followed),
		TEST(a_name_that_is_there_is_not_replaced),        TEST(a_directory_has_one_name),
		TEST(a_file_that_was_removed_is_not_brought_back), TEST(without_room_there_is_no_other_name),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
