/* SPDX-License-Identifier: Apache-2.0 */
/* What a reply says of an object at a name: the node, its attributes, a reference, and who keeps the descriptor. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "fileserver/worker/host/entries.h"
#include "fileserver/worker/host/reach.h"
#include "tests/fileserver/worker/inside.h"

static struct pinned root;

static int set_up(void **state)
{
	struct share *share;

	if (inside_set_up(state) < 0)
		return -1;
	share = *state;
	share_host_write(share, "file", "content");
	inside_take(share, share->root, &root);
	return 0;
}

/* The root's one use is the test's. */
static int tear_down(void **state)
{
	inside_put(*state, &root);
	inside_is_idle(*state);
	return inside_tear_down(state);
}

static void look(struct share *share, const char *name, struct statx *ret_stx)
{
	assert_int_equal(reach_stat_name(inside_session(share), share->host, name, ret_stx), 0);
}

static void an_entry_is_what_the_host_has_with_one_reference_more(void **state)
{
	struct share *share = *state;
	struct stat st = inside_stat(share, "file");
	struct proto_entry entry, again;
	struct statx stx;

	look(share, "file", &stx);
	assert_int_equal(entries_learn(inside_session(share), &root, "file", &stx, -EBADF, &entry, NULL), 0);
	assert_true(entry.attr.ino == st.st_ino);
	assert_int_equal(entry.attr.size, 7);
	assert_int_equal(entry.attr.mode, st.st_mode);
	assert_int_equal(inside_references(share, entry.node), 1);
	assert_false(inside_has_descriptor(share, entry.node));
	assert_int_equal(entries_learn(inside_session(share), &root, "file", &stx, -EBADF, &again, NULL), 0);
	assert_true(again.node == entry.node);
	assert_int_equal(inside_references(share, entry.node), 2);
}

static void the_descriptor_is_the_nodes_from_then_on(void **state)
{
	struct share *share = *state;
	struct session *session = inside_session(share);
	int pinned = reach_pin(session, share->host, "file");
	struct proto_entry entry;
	struct node *node;
	struct statx stx;

	look(share, "file", &stx);
	assert_int_equal(entries_learn(session, &root, "file", &stx, pinned, &entry, &node), 0);
	assert_true(nodes_id(node) == entry.node);
	nodes_put(session->nodes, node);
	assert_true(inside_has_descriptor(share, entry.node));
	assert_true(fcntl(pinned, F_GETFD) >= 0);
	share_forget(share, entry.node, 1);
	inside_look_up(share, share->root, "file"); /* after FORGET has been served */
	assert_int_equal(inside_references(share, entry.node), 0);
	assert_true(fcntl(pinned, F_GETFD) < 0);
}

static void a_node_that_is_pinned_for_the_caller_stays_without_a_reference(void **state)
{
	struct share *share = *state;
	struct session *session = inside_session(share);
	struct proto_entry entry;
	struct node *node;
	struct statx stx;

	look(share, "file", &stx);
	assert_int_equal(entries_learn(session, &root, "file", &stx, -EBADF, &entry, &node), 0);
	nodes_forget(session->nodes, entry.node, 1);
	assert_true(nodes_find(session->nodes, &stx) == entry.node);
	nodes_put(session->nodes, node);
	assert_true(nodes_find(session->nodes, &stx) == 0);
}

/* At the limit of what a session may know, all of it in use. */
static void what_cannot_be_learned_leaves_the_descriptor_to_the_caller(void **state)
{
	struct share *share = *state;
	struct session *session = inside_session(share);
	struct proto_entry entry;
	struct pinned used;
	struct statx stx;
	int pinned;

	share_host_write(share, "other", "x");
	inside_take(share, inside_look_up(share, share->root, "other"), &used);
	pinned = reach_pin(session, share->host, "file");
	look(share, "file", &stx);
	assert_int_equal(entries_learn(session, &root, "file", &stx, pinned, &entry, NULL), -ENOMEM);
	assert_int_equal(close(pinned), 0);
	assert_true(nodes_find(session->nodes, &stx) == 0);
	inside_put(share, &used);
}

static int set_up_small(void **state)
{
	uint32_t before = share_nodes_max;
	int r;

	share_nodes_max = 2;
	r = set_up(state);
	share_nodes_max = before;
	return r;
}

static void a_name_that_is_gone_gives_no_entry(void **state)
{
	struct share *share = *state;
	struct proto_entry entry;
	struct statx stx;

	look(share, "file", &stx);
	assert_int_equal(unlinkat(share->host, "file", 0), 0);
	assert_int_equal(entries_learn(inside_session(share), &root, "file", &stx, -EBADF, &entry, NULL), -ENOENT);
	assert_true(nodes_find(inside_session(share)->nodes, &stx) == 0);
}

/* The name leads to another object by the time that its record is read: the entry is of one of them, in whole. */
static void a_name_that_leads_elsewhere_meanwhile_gives_an_entry_of_one_object(void **state)
{
	struct share *share = *state;
	struct proto_entry entry;
	struct statx stx, now;

	look(share, "file", &stx);
	share_host_write(share, "other", "longer content");
	assert_int_equal(renameat(share->host, "other", share->host, "file"), 0);
	assert_int_equal(entries_learn(inside_session(share), &root, "file", &stx, -EBADF, &entry, NULL), 0);
	look(share, "file", &now);
	assert_true(stx.stx_ino == now.stx_ino);
	assert_true(entry.attr.ino == now.stx_ino);
	assert_int_equal(entry.attr.size, 14);
	assert_true(nodes_find(inside_session(share)->nodes, &now) == entry.node);
}

static void a_directorys_attributes_come_with_the_change_or_are_asked_for(void **state)
{
	struct share *share = *state;
	struct pinned nothing = { .node = root.node, .fd = { .fd = -EBADF } };
	struct proto_attr attr = { 0 };

	assert_int_equal(mkdirat(share->host, "d", 0755), 0);
	entries_changed(inside_session(share), &root, &attr);
	assert_true(attr.ino == inside_stat(share, ".").st_ino);
	assert_int_equal(attr.nlink, inside_stat(share, ".").st_nlink);
	assert_true(S_ISDIR(attr.mode));
	entries_changed(inside_session(share), &nothing, &attr);
	assert_int_equal(attr.mode, 0);
	assert_int_equal(attr.ino, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(an_entry_is_what_the_host_has_with_one_reference_more),
		TEST(the_descriptor_is_the_nodes_from_then_on),
		TEST(a_node_that_is_pinned_for_the_caller_stays_without_a_reference),
		cmocka_unit_test_setup_teardown(what_cannot_be_learned_leaves_the_descriptor_to_the_caller,
		                                set_up_small, tear_down),
		TEST(a_name_that_is_gone_gives_no_entry),
		TEST(a_name_that_leads_elsewhere_meanwhile_gives_an_entry_of_one_object),
		TEST(a_directorys_attributes_come_with_the_change_or_are_asked_for),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
