/* SPDX-License-Identifier: Apache-2.0 */
/* Whether every name that the guest may go by leads to the object still. */
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
#include "fileserver/worker/nodes/places.h"
#include "tests/fileserver/worker/inside.h"

/* Whatever a request does, nothing stays in use. */
static int tear_down(void **state)
{
	inside_is_idle(*state);
	return inside_tear_down(state);
}

/* What is said of a node that was looked up before. */
static int check(struct share *share, uint64_t id)
{
	struct pinned pinned;
	int r;

	inside_take(share, id, &pinned);
	r = nodes_check(inside_session(share)->nodes, pinned.node);
	inside_put(share, &pinned);
	return r;
}

/* a/b/c on the host, looked up. ret_ids: those of a, b, c. */
static void make_deep(struct share *share, uint64_t ret_ids[3])
{
	assert_int_equal(mkdirat(share->host, "a", 0755), 0);
	assert_int_equal(mkdirat(share->host, "a/b", 0755), 0);
	share_host_write(share, "a/b/c", "x");
	ret_ids[0] = inside_look_up(share, share->root, "a");
	ret_ids[1] = inside_look_up(share, ret_ids[0], "b");
	ret_ids[2] = inside_look_up(share, ret_ids[1], "c");
	/* The file is open, so that a descriptor leads to it whatever becomes of its names. */
	(void) inside_open(share, ret_ids[2], PROTO_OPEN_READ);
}

static void what_is_where_it_was_is_not_stale(void **state)
{
	struct share *share = *state;
	uint64_t ids[3];

	make_deep(share, ids);
	for (int i = 0; i < 3; i++)
		assert_int_equal(check(share, ids[i]), 0);
	assert_int_equal(check(share, share->root), 0);
	assert_false(nodes_names_move(inside_session(share)->nodes));
}

static void what_the_host_removed_moved_or_replaced_is_stale(void **state)
{
	struct share *share = *state;
	uint64_t ids[3];

	make_deep(share, ids);
	assert_int_equal(renameat(share->host, "a/b/c", share->host, "a/b/d"), 0);
	assert_int_equal(check(share, ids[2]), -ESTALE);
	assert_true(nodes_names_move(inside_session(share)->nodes));
	share_host_write(share, "a/b/c", "another");
	assert_int_equal(check(share, ids[2]), -ESTALE);
	assert_int_equal(renameat(share->host, "a/b/d", share->host, "a/b/c"), 0);
	assert_int_equal(check(share, ids[2]), 0);
	assert_int_equal(check(share, ids[1]), 0);
}

static void a_step_on_the_way_counts_as_the_last_one(void **state)
{
	struct share *share = *state;
	uint64_t ids[3];

	make_deep(share, ids);
	assert_int_equal(renameat(share->host, "a", share->host, "moved"), 0);
	assert_int_equal(check(share, ids[2]), -ESTALE);
	/* by a link there is no way */
	assert_int_equal(symlinkat("moved", share->host, "a"), 0);
	assert_int_equal(check(share, ids[2]), -ESTALE);
	assert_int_equal(check(share, ids[0]), -ESTALE);
	assert_int_equal(unlinkat(share->host, "a", 0), 0);
	share_host_write(share, "a", "a file");
	assert_int_equal(check(share, ids[2]), -ESTALE);
	assert_int_equal(unlinkat(share->host, "a", 0), 0);
	assert_int_equal(renameat(share->host, "moved", share->host, "a"), 0);
	assert_int_equal(check(share, ids[2]), 0);
}

static void a_name_that_was_told_long_ago_does_not_count(void **state)
{
	struct share *share = *state;
	struct nodes *nodes = inside_session(share)->nodes;
	uint64_t id;
	struct node *node;

	share_host_write(share, "old", "x");
	assert_int_equal(linkat(share->host, "old", share->host, "new", 0), 0);
	id = inside_look_up(share, share->root, "old");
	assert_true(inside_look_up(share, share->root, "new") == id);
	(void) inside_open(share, id, PROTO_OPEN_READ);
	assert_int_equal(unlinkat(share->host, "old", 0), 0);
	assert_int_equal(check(share, id), -ESTALE);
	nodes_lock(nodes);
	node = slots_find(&nodes->slots, id);
	node->place->next->told -= PLACE_TOLD_MS + 1000;
	nodes_unlock(nodes);
	assert_int_equal(check(share, id), 0);
	/* The last one counts however old it is. */
	nodes_lock(nodes);
	node->place->told -= PLACE_TOLD_MS + 1000;
	nodes_unlock(nodes);
	assert_int_equal(unlinkat(share->host, "new", 0), 0);
	assert_int_equal(check(share, id), -ESTALE);
}

static void what_has_no_name_is_meant_by_its_descriptor(void **state)
{
	struct share *share = *state;
	uint64_t ids[3];

	make_deep(share, ids);
	assert_int_equal(raw_unlink(&share->raw, &(struct proto_unlink_request){ ids[1], raw_name("c") },
	                            &(struct proto_unlink_reply){}),
	                 0);
	share_host_write(share, "a/b/c", "another");
	assert_int_equal(check(share, ids[2]), 0);
}

static void a_way_that_may_not_be_searched_is_taken_step_by_step(void **state)
{
	struct share *share = *state;
	uint64_t ids[3];

	make_deep(share, ids);
	assert_int_equal(fchmodat(share->host, "a", 0, 0), 0);
	if (inside_session(share)->may_lift)
		assert_int_equal(check(share, ids[2]), 0);
	inside_session(share)->config.flags = PROTO_HELLO_PERMISSIONS_HOST;
	assert_int_equal(check(share, ids[2]), -EACCES);
	assert_int_equal(fchmodat(share->host, "a", 0755, 0), 0);
	inside_session(share)->config.flags = 0;
	assert_int_equal(renameat(share->host, "a/b", share->host, "a/moved"), 0);
	assert_int_equal(fchmodat(share->host, "a", 0, 0), 0);
	if (inside_session(share)->may_lift)
		assert_int_equal(check(share, ids[2]), -ESTALE);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, inside_set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(what_is_where_it_was_is_not_stale),
		TEST(what_the_host_removed_moved_or_replaced_is_stale),
		TEST(a_step_on_the_way_counts_as_the_last_one),
		TEST(a_name_that_was_told_long_ago_does_not_count),
		TEST(what_has_no_name_is_meant_by_its_descriptor),
		cmocka_unit_test_setup_teardown(a_way_that_may_not_be_searched_is_taken_step_by_step,
		                                inside_set_up_unprivileged, share_tear_down_unprivileged),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
