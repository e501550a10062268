/* SPDX-License-Identifier: Apache-2.0 */
/* The objects that a session knows: one node each, however it is found, for as long as there is a reason. */
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

#include "fileserver/worker/nodes/fds.h"
#include "fileserver/worker/nodes/ids.h"
#include "fileserver/worker/nodes/view.h"
#include "fileserver/worker/host/reach.h"
#include "tests/fileserver/worker/inside.h"

/* Whatever a request does, nothing stays in use. */
static int tear_down(void **state)
{
	inside_is_idle(*state);
	return inside_tear_down(state);
}

static void an_object_has_one_node_whatever_its_names(void **state)
{
	struct share *share = *state;
	struct proto_entry first, second;

	share_host_write(share, "a", "x");
	assert_int_equal(linkat(share->host, "a", share->host, "b", 0), 0);
	assert_int_equal(share_lookup(share, share->root, "a", &first), 0);
	assert_int_equal(share_lookup(share, share->root, "b", &second), 0);
	assert_true(first.node == second.node);
	assert_int_equal(second.attr.nlink, 2);
}

static void a_node_that_was_forgotten_is_stale_and_its_number_is_not_given_again(void **state)
{
	struct share *share = *state;
	struct proto_entry first, second;
	struct proto_getattr_request request = { 0 };
	struct proto_getattr_reply reply;

	share_host_write(share, "a", "x");
	share_host_write(share, "b", "y");
	assert_int_equal(share_lookup(share, share->root, "a", &first), 0);
	share_forget(share, first.node, 1);
	assert_int_equal(share_lookup(share, share->root, "b", &second), 0);
	assert_true(first.node != second.node);
	request.node = first.node;
	assert_int_equal(raw_getattr(&share->raw, &request, &reply), -ESTALE);
}

static void forgetting_more_than_there_is_harms_nobody(void **state)
{
	struct share *share = *state;
	struct proto_entry entry, again;

	share_host_write(share, "a", "x");
	assert_int_equal(share_lookup(share, share->root, "a", &entry), 0);
	share_forget(share, entry.node, UINT64_MAX);
	assert_int_equal(share_lookup(share, share->root, "none", &again), -ENOENT);
	assert_int_equal(inside_references(share, entry.node), 0);
	share_forget(share, entry.node, 1);
	share_forget(share, share->root, UINT64_MAX);
	share_forget(share, 0, 1);
	share_forget(share, UINT64_MAX, 1);
	assert_int_equal(share_lookup(share, share->root, "a", &again), 0);
}

/* Learns what is at name in the root, without the guest. In use until it is put. */
static struct node *learn(struct share *share, const char *name, struct statx *ret_stx)
{
	struct session *session = inside_session(share);
	struct node *node, *root;

	assert_int_equal(reach_stat_name(session, share->host, name, ret_stx), 0);
	assert_int_equal(nodes_get(session->nodes, share->root, &root), 0);
	assert_int_equal(nodes_learn(session->nodes, root, name, ret_stx, -EBADF, false, &node), 0);
	nodes_put(session->nodes, root);
	return node;
}

static void a_node_without_a_reason_leaves_with_those_above_it(void **state)
{
	struct share *share = *state;
	uint64_t directory, file;
	struct proto_entry none;

	assert_int_equal(mkdirat(share->host, "d", 0755), 0);
	share_host_write(share, "d/a", "x");
	directory = inside_look_up(share, share->root, "d");
	file = inside_look_up(share, directory, "a");
	assert_int_equal(proto_counter_get(&share->counters.nodes), 3);
	/* The directory stays for what is in it. */
	share_forget(share, directory, 1);
	assert_int_equal(share_lookup(share, share->root, "none", &none), -ENOENT);
	assert_int_equal(proto_counter_get(&share->counters.nodes), 3);
	share_forget(share, file, 1);
	assert_int_equal(share_lookup(share, share->root, "none", &none), -ENOENT);
	assert_int_equal(proto_counter_get(&share->counters.nodes), 1);
}

static void an_id_pins_its_node_and_no_other_does(void **state)
{
	struct share *share = *state;
	struct nodes *nodes = inside_session(share)->nodes;
	struct node *node, *found, *parent;
	struct statx stx;
	uint64_t id;

	share_host_write(share, "a", "x");
	node = learn(share, "a", &stx);
	id = nodes_id(node);
	assert_int_equal(nodes_type(node), S_IFREG);
	assert_true(nodes_find(nodes, &stx) == id);
	assert_int_equal(nodes_get(nodes, id, &found), 0);
	assert_ptr_equal(found, node);
	assert_int_equal(nodes_parent(nodes, node, &parent), 0);
	assert_true(nodes_id(parent) == nodes_root(nodes));
	nodes_put(nodes, parent);
	nodes_put(nodes, found);
	nodes_put(nodes, node);
	assert_int_equal(nodes_get(nodes, id, &found), -ESTALE);
	assert_true(nodes_find(nodes, &stx) == 0);
	assert_int_equal(nodes_get(nodes, share->root, &found), 0);
	assert_int_equal(nodes_parent(nodes, found, &parent), -ESTALE);
	nodes_put(nodes, found);
}

static void what_lost_its_name_is_an_orphan_and_what_has_another_is_none(void **state)
{
	struct share *share = *state;
	struct nodes *nodes = inside_session(share)->nodes;
	struct node *node, *root;
	struct statx stx;

	share_host_write(share, "a", "x");
	assert_int_equal(linkat(share->host, "a", share->host, "b", 0), 0);
	assert_int_equal(nodes_get(nodes, share->root, &root), 0);
	node = learn(share, "a", &stx);
	assert_ptr_equal(learn(share, "b", &stx), node);
	assert_true(nodes_needs_pin(nodes, &stx));
	nodes_orphan(nodes, &stx, root, "a", -EBADF);
	assert_int_equal(nodes->orphans, 0);
	stx.stx_nlink = 1;
	nodes_orphan(nodes, &stx, root, "b", reach_pin(inside_session(share), share->host, "b"));
	assert_int_equal(nodes->orphans, 1);
	assert_false(nodes_needs_pin(nodes, &stx));
	/* a name again */
	assert_ptr_equal(learn(share, "b", &stx), node);
	assert_int_equal(nodes->orphans, 0);
	nodes_put(nodes, node);
	nodes_put(nodes, node);
	nodes_put(nodes, node);
	nodes_put(nodes, root);
}

static void the_wait_for_orphans_is_for_who_has_some(void **state)
{
	struct share *share = *state;

	assert_false(nodes_wait_for_orphans(inside_session(share)->nodes));
}

static void a_view_is_kept_for_one_ctime(void **state)
{
	struct share *share = *state;
	struct nodes *nodes = inside_session(share)->nodes;
	const struct ownership view = { .uid = 1000, .gid = 50, .mode = S_IFREG | 04755, .bare = false };
	struct ownership seen = { .uid = 7 };
	struct statx stx;
	struct node *node;

	share_host_write(share, "a", "x");
	node = learn(share, "a", &stx);
	assert_int_equal(nodes_view_at(nodes, node, &stx, &seen), NODES_VIEW_UNKNOWN);
	assert_int_equal(seen.uid, 7);
	nodes_keep_view(nodes, node, &stx, &view, true);
	assert_int_equal(nodes_view_at(nodes, node, &stx, &seen), NODES_VIEW_KEPT);
	assert_int_equal(seen.uid, 1000);
	assert_int_equal(seen.mode, S_IFREG | 04755);
	assert_true(seen.bare);
	/* the same without the node, by what it is */
	assert_int_equal(nodes_view_at(nodes, NULL, &stx, &seen), NODES_VIEW_KEPT);
	stx.stx_ctime.tv_nsec ^= 1;
	assert_int_equal(nodes_view_at(nodes, node, &stx, &seen), NODES_VIEW_UNKNOWN);
	nodes_keep_view(nodes, NULL, &stx, NULL, false);
	assert_int_equal(nodes_view_at(nodes, node, &stx, &seen), NODES_VIEW_DEFAULT);
	assert_false(seen.bare);
	nodes_drop_view(nodes, &stx);
	assert_int_equal(nodes_view_at(nodes, node, &stx, &seen), NODES_VIEW_UNKNOWN);
	nodes_put(nodes, node);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, inside_set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(an_object_has_one_node_whatever_its_names),
		TEST(a_node_that_was_forgotten_is_stale_and_its_number_is_not_given_again),
		TEST(forgetting_more_than_there_is_harms_nobody),
		TEST(a_node_without_a_reason_leaves_with_those_above_it),
		TEST(an_id_pins_its_node_and_no_other_does),
		TEST(what_lost_its_name_is_an_orphan_and_what_has_another_is_none),
		TEST(the_wait_for_orphans_is_for_who_has_some),
		TEST(a_view_is_kept_for_one_ctime),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
