/* SPDX-License-Identifier: Apache-2.0 */
/* RENAME: what is where afterwards, on the host and in the table of nodes. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/fileserver/worker/inside.h"

static uint64_t from, to;
static struct proto_rename_reply reply;

static int set_up(void **state)
{
	struct share *share;

	if (inside_set_up(state) < 0)
		return -1;
	share = *state;
	assert_int_equal(mkdirat(share->host, "from", 0755), 0);
	assert_int_equal(mkdirat(share->host, "to", 0755), 0);
	share_host_write(share, "from/a", "a");
	share_host_write(share, "to/b", "b");
	from = inside_look_up(share, share->root, "from");
	to = inside_look_up(share, share->root, "to");
	return 0;
}

/* Whatever a request does, nothing stays in use. */
static int tear_down(void **state)
{
	inside_is_idle(*state);
	return inside_tear_down(state);
}

static int move(struct share *share, uint64_t old_parent, const char *old, uint64_t new_parent, const char *new,
                uint32_t flags)
{
	struct proto_rename_request request = { .parent = old_parent,
		                                .name = raw_name(old),
		                                .new_parent = new_parent,
		                                .new_name = raw_name(new),
		                                .flags = flags };

	reply = (struct proto_rename_reply){ 0 };
	return raw_rename(&share->raw, &request, &reply);
}

static void a_node_is_found_at_its_new_name(void **state)
{
	struct share *share = *state;
	uint64_t a = inside_look_up(share, from, "a");

	assert_int_equal(move(share, from, "a", to, "c", 0), 0);
	assert_true(reply.node == a);
	assert_true(reply.replaced == 0);
	assert_true(reply.parent.ino == inside_stat(share, "from").st_ino);
	assert_true(reply.new_parent.ino == inside_stat(share, "to").st_ino);
	assert_false(inside_is_there(share, "from/a"));
	inside_holds(share, "to/c", "a");
	/* The node goes by its new name: it is opened there, without being looked up. */
	(void) inside_open(share, a, PROTO_OPEN_READ);
	assert_true(inside_look_up(share, to, "c") == a);
}

static void what_is_replaced_stays_within_reach_of_who_has_it(void **state)
{
	struct share *share = *state;
	uint64_t a = inside_look_up(share, from, "a"), b = inside_look_up(share, to, "b");
	struct proto_getattr_reply attr;

	assert_false(inside_has_descriptor(share, b));
	assert_int_equal(move(share, from, "a", to, "b", 0), 0);
	assert_true(reply.node == a && reply.replaced == b);
	inside_holds(share, "to/b", "a");
	assert_true(inside_has_descriptor(share, b));
	assert_int_equal(raw_getattr(&share->raw, &(struct proto_getattr_request){ .node = b }, &attr), 0);
	assert_int_equal(attr.attr.nlink, 0);
}

static void two_names_are_exchanged(void **state)
{
	struct share *share = *state;
	uint64_t a = inside_look_up(share, from, "a"), b = inside_look_up(share, to, "b");

	assert_int_equal(move(share, from, "a", to, "b", PROTO_RENAME_EXCHANGE), 0);
	assert_true(reply.node == a && reply.replaced == b);
	inside_holds(share, "from/a", "b");
	inside_holds(share, "to/b", "a");
	(void) inside_open(share, a, PROTO_OPEN_READ);
	(void) inside_open(share, b, PROTO_OPEN_READ);
	assert_true(inside_look_up(share, from, "a") == b);
	assert_int_equal(move(share, from, "a", to, "none", PROTO_RENAME_EXCHANGE), -ENOENT);
}

static void nothing_is_replaced_where_that_is_asked_for(void **state)
{
	struct share *share = *state;

	assert_int_equal(move(share, from, "a", to, "b", PROTO_RENAME_NOREPLACE), -EEXIST);
	inside_holds(share, "from/a", "a");
	inside_holds(share, "to/b", "b");
	assert_int_equal(move(share, from, "a", to, "c", PROTO_RENAME_NOREPLACE), 0);
	inside_holds(share, "to/c", "a");
}

static void two_names_of_one_object_stay_both(void **state)
{
	struct share *share = *state;
	uint64_t a = inside_look_up(share, from, "a");

	assert_int_equal(linkat(share->host, "from/a", share->host, "to/same", 0), 0);
	assert_int_equal(move(share, from, "a", to, "same", 0), 0);
	assert_true(reply.node == a && reply.replaced == a);
	inside_holds(share, "from/a", "a");
	inside_holds(share, "to/same", "a");
	/* Nothing has moved: the node goes by the name that it had, whatever becomes of the other. */
	assert_int_equal(unlinkat(share->host, "to/same", 0), 0);
	(void) inside_open(share, a, PROTO_OPEN_READ);
	assert_true(inside_look_up(share, from, "a") == a);
}

static void a_directory_takes_all_that_is_in_it_along(void **state)
{
	struct share *share = *state;
	uint64_t a = inside_look_up(share, from, "a");

	assert_int_equal(move(share, share->root, "from", to, "moved", 0), 0);
	assert_true(reply.node == from);
	(void) inside_open(share, a, PROTO_OPEN_READ);
	inside_holds(share, "to/moved/a", "a");
	assert_int_equal(move(share, share->root, "to", from, "ring", 0), -EINVAL);
}

static void what_does_not_go_changes_nothing(void **state)
{
	struct share *share = *state;

	assert_int_equal(move(share, from, "none", to, "c", 0), -ENOENT);
	assert_int_equal(move(share, from, "a", share->root, "to", 0), -EISDIR);
	assert_int_equal(move(share, share->root, "to", from, "a", 0), -ENOTDIR);
	assert_int_equal(move(share, share->root, "from", share->root, "to", 0), -ENOTEMPTY);
	inside_holds(share, "from/a", "a");
	inside_holds(share, "to/b", "b");
	assert_true(reply.node == 0);
}

static void a_links_owner_goes_with_it(void **state)
{
	struct share *share = *state;
	struct proto_symlink_request request = {
		.parent = from, .name = raw_name("link"), .target = { 1, "x" }, .owner = { 1000, 50 }
	};
	struct proto_symlink_reply made;
	struct proto_entry entry;

	assert_int_equal(raw_symlink(&share->raw, &request, &made), 0);
	assert_int_equal(made.entry.attr.uid, 1000);
	assert_int_equal(move(share, from, "link", to, "link", 0), 0);
	assert_int_equal(share_lookup(share, to, "link", &entry), 0);
	assert_int_equal(entry.attr.uid, 1000);
	assert_int_equal(entry.attr.gid, 50);
	assert_false(inside_has_xattr(share, "from", "user.bindshare.links"));
	/* What replaces a link takes its record away. */
	assert_int_equal(move(share, from, "a", to, "link", 0), 0);
	assert_false(inside_has_xattr(share, "to", "user.bindshare.links"));
}

static void a_whiteout_needs_room_and_a_rename_does_not(void **state)
{
	struct share *share = *state;

	inside_fill_disk(share);
	assert_int_equal(move(share, from, "a", to, "c", PROTO_RENAME_WHITEOUT), -ENOSPC);
	inside_holds(share, "from/a", "a");
	assert_int_equal(move(share, from, "a", to, "c", 0), 0);
	inside_empty_disk(share);
}

static void a_rename_moves_the_node_and_not_what_it_is(void **state)
{
	struct share *share = *state;
	struct proto_entry a, b, again;
	struct proto_rename_request request = {
		.parent = share->root, .name = raw_name("a"), .new_parent = share->root, .new_name = raw_name("b")
	};

	share_host_write(share, "a", "a");
	share_host_write(share, "b", "b");
	assert_int_equal(share_lookup(share, share->root, "a", &a), 0);
	assert_int_equal(share_lookup(share, share->root, "b", &b), 0);
	request.flags = PROTO_RENAME_NOREPLACE;
	assert_int_equal(raw_rename(&share->raw, &request, &reply), -EEXIST);
	request.flags = PROTO_RENAME_EXCHANGE;
	assert_int_equal(raw_rename(&share->raw, &request, &reply), 0);
	assert_true(reply.node == a.node && reply.replaced == b.node);
	assert_int_equal(share_lookup(share, share->root, "a", &again), 0);
	assert_true(again.node == b.node);
	request.flags = 0;
	assert_int_equal(raw_rename(&share->raw, &request, &reply), 0);
	assert_true(reply.node == b.node && reply.replaced == a.node);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_node_is_found_at_its_new_name),
		TEST(what_is_replaced_stays_within_reach_of_who_has_it),
		TEST(two_names_are_exchanged),
		TEST(nothing_is_replaced_where_that_is_asked_for),
		TEST(two_names_of_one_object_stay_both),
		TEST(a_directory_takes_all_that_is_in_it_along),
		TEST(what_does_not_go_changes_nothing),
		TEST(a_links_owner_goes_with_it),
		TEST(a_rename_moves_the_node_and_not_what_it_is),
		TEST(a_whiteout_needs_room_and_a_rename_does_not),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
