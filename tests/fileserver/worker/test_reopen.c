/* SPDX-License-Identifier: Apache-2.0 */
/* How a node gets a descriptor again that has none, and which file it never is. */
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
#include "protocol/clock.h"
#include "tests/fileserver/worker/inside.h"

/* Whatever a request does, nothing stays in use. */
static int tear_down(void **state)
{
	inside_is_idle(*state);
	return inside_tear_down(state);
}

/* Takes the descriptor of a node away, as when the budget is spent. */
static void drop(struct share *share, uint64_t id)
{
	struct nodes *nodes = inside_session(share)->nodes;

	nodes_lock(nodes);
	fds_drop(nodes, slots_find(&nodes->slots, id));
	nodes_unlock(nodes);
	assert_false(inside_has_descriptor(share, id));
}

/* 0 when the node has a descriptor of the object with this number. */
static int reopen(struct share *share, uint64_t id, ino_t ino)
{
	struct nodes *nodes = inside_session(share)->nodes;
	struct node *node;
	struct node_fd fd;
	struct stat st;
	int r;

	assert_int_equal(nodes_get(nodes, id, &node), 0);
	r = nodes_fd(nodes, node, &fd);
	if (r == 0) {
		assert_int_equal(fstat(fd.fd, &st), 0);
		assert_true(st.st_ino == ino);
		nodes_fd_done(nodes, &fd);
		assert_true(fd.fd < 0);
		nodes_fd_done(nodes, &fd); /* once is enough */
	}
	nodes_put(nodes, node);
	return r;
}

static void a_node_is_found_by_its_name(void **state)
{
	struct share *share = *state;
	uint64_t id;
	ino_t ino;

	share_host_write(share, "a", "x");
	id = inside_look_up(share, share->root, "a");
	ino = inside_stat(share, "a").st_ino;
	assert_false(inside_has_descriptor(share, id));
	assert_int_equal(reopen(share, id, ino), 0);
	assert_true(inside_has_descriptor(share, id));
	assert_int_equal(reopen(share, id, ino), 0);
	assert_int_equal(reopen(share, share->root, inside_stat(share, ".").st_ino), 0);
}

static void a_chain_of_directories_is_opened_from_the_top(void **state)
{
	struct share *share = *state;
	uint64_t ids[12];
	char path[64] = "";

	for (int i = 0; i < 12; i++) {
		strcat(path, i == 0 ? "d" : "/d");
		assert_int_equal(mkdirat(share->host, path, 0755), 0);
		ids[i] = inside_look_up(share, i == 0 ? share->root : ids[i - 1], "d");
	}
	for (int i = 0; i < 12; i++)
		drop(share, ids[i]);
	assert_int_equal(reopen(share, ids[11], inside_stat(share, path).st_ino), 0);
	assert_true(inside_has_descriptor(share, ids[0]));
}

static void a_handles_descriptor_serves_as_its_nodes(void **state)
{
	struct share *share = *state;
	uint64_t id;
	ino_t ino;

	share_host_write(share, "a", "x");
	id = inside_look_up(share, share->root, "a");
	ino = inside_stat(share, "a").st_ino;
	(void) inside_open(share, id, PROTO_OPEN_READ);
	drop(share, id);
	assert_int_equal(unlinkat(share->host, "a", 0), 0);
	assert_int_equal(reopen(share, id, ino), 0);
	assert_false(inside_has_descriptor(share, id));
}

static void another_file_at_the_name_is_stale_and_never_served(void **state)
{
	struct share *share = *state;
	struct nodes *nodes = inside_session(share)->nodes;
	uint64_t id;

	share_host_write(share, "a", "x");
	id = inside_look_up(share, share->root, "a");
	assert_false(nodes_names_move(nodes));
	share_host_write(share, "other", "x");
	assert_int_equal(renameat(share->host, "other", share->host, "a"), 0);
	assert_int_equal(reopen(share, id, 0), -ESTALE);
	assert_true(nodes_names_move(nodes));
	assert_int_equal(unlinkat(share->host, "a", 0), 0);
	assert_int_equal(reopen(share, id, 0), -ESTALE);
	assert_int_equal(mkdirat(share->host, "a", 0755), 0);
	assert_int_equal(reopen(share, id, 0), -ESTALE);
}

static void names_do_not_move_for_ever(void **state)
{
	struct nodes *nodes = inside_session(*state)->nodes;

	atomic_store(&nodes->stale_at, clock_coarse_ms());
	assert_true(nodes_names_move(nodes));
	atomic_store(&nodes->stale_at, clock_coarse_ms() - 60000);
	assert_false(nodes_names_move(nodes));
}

static void a_directory_that_the_host_moved_is_found_again(void **state)
{
	struct share *share = *state;
	uint64_t id, inner;
	ino_t ino;

	assert_int_equal(mkdirat(share->host, "d", 0755), 0);
	assert_int_equal(mkdirat(share->host, "d/inner", 0755), 0);
	assert_int_equal(mkdirat(share->host, "elsewhere", 0755), 0);
	id = inside_look_up(share, share->root, "d");
	inner = inside_look_up(share, id, "inner");
	ino = inside_stat(share, "d").st_ino;
	/* beside its old name, and deeper */
	drop(share, id);
	assert_int_equal(renameat(share->host, "d", share->host, "renamed"), 0);
	assert_int_equal(reopen(share, id, ino), 0);
	drop(share, id);
	assert_int_equal(renameat(share->host, "renamed", share->host, "elsewhere/d"), 0);
	assert_int_equal(reopen(share, id, ino), 0);
	/* what is in it goes by it */
	drop(share, inner);
	assert_int_equal(reopen(share, inner, inside_stat(share, "elsewhere/d/inner").st_ino), 0);
	drop(share, inner);
	drop(share, id);
	assert_int_equal(unlinkat(share->host, "elsewhere/d/inner", AT_REMOVEDIR), 0);
	assert_int_equal(reopen(share, inner, 0), -ESTALE);
}

static void a_file_that_the_host_moved_is_not_looked_for(void **state)
{
	struct share *share = *state;
	uint64_t id;

	share_host_write(share, "a", "x");
	id = inside_look_up(share, share->root, "a");
	assert_int_equal(renameat(share->host, "a", share->host, "b"), 0);
	assert_int_equal(reopen(share, id, 0), -ESTALE);
	/* Its new name is looked up, and it is the same one. */
	assert_true(inside_look_up(share, share->root, "b") == id);
	assert_int_equal(reopen(share, id, inside_stat(share, "b").st_ino), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, inside_set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_node_is_found_by_its_name),
		TEST(a_chain_of_directories_is_opened_from_the_top),
		TEST(a_handles_descriptor_serves_as_its_nodes),
		TEST(another_file_at_the_name_is_stale_and_never_served),
		TEST(names_do_not_move_for_ever),
		TEST(a_directory_that_the_host_moved_is_found_again),
		TEST(a_file_that_the_host_moved_is_not_looked_for),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
