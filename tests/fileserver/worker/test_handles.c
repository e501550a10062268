/* SPDX-License-Identifier: Apache-2.0 */
/* Open files and directories: ids, who uses them, and what they were opened for. */
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

#include "fileserver/worker/nodes/ids.h"
#include "fileserver/worker/nodes/fds.h"
#include "tests/fileserver/worker/inside.h"

/* Whatever a request does, nothing stays in use. */
static int tear_down(void **state)
{
	inside_is_idle(*state);
	return inside_tear_down(state);
}

static int set_up_small(void **state)
{
	*state = share_new(0, 4);
	return *state == NULL ? -1 : 0;
}

static void more_handles_than_the_budget_holds_are_refused(void **state)
{
	struct share *share = *state;
	struct proto_entry entry;
	uint64_t handles[5];
	struct proto_release_reply reply;

	share_host_write(share, "a", "x");
	assert_int_equal(share_lookup(share, share->root, "a", &entry), 0);
	for (int i = 0; i < 4; i++)
		assert_int_equal(share_open(share, entry.node, PROTO_OPEN_READ, &handles[i]), 0);
	assert_int_equal(share_open(share, entry.node, PROTO_OPEN_READ, &handles[4]), -ENFILE);
	raw_release(&share->raw, &(struct proto_release_request){ .handle = handles[0] }, &reply);
	assert_int_equal(share_open(share, entry.node, PROTO_OPEN_READ, &handles[4]), 0);
}

static void handles_do_what_they_were_opened_for_and_no_more(void **state)
{
	struct share *share = *state;
	struct proto_entry entry, directory;
	struct proto_opendir_reply opened;
	uint64_t reading, writing;
	char bytes[8];

	share_host_write(share, "a", "x");
	assert_int_equal(mkdirat(share->host, "d", 0755), 0);
	assert_int_equal(share_lookup(share, share->root, "a", &entry), 0);
	assert_int_equal(share_lookup(share, share->root, "d", &directory), 0);
	assert_int_equal(share_open(share, entry.node, PROTO_OPEN_READ, &reading), 0);
	assert_int_equal(share_open(share, entry.node, PROTO_OPEN_WRITE, &writing), 0);
	assert_int_equal(share_write(share, reading, 0, "y", 1, 0), -EBADF);
	assert_int_equal(share_read(share, writing, 0, bytes, 1), -EBADF);
	assert_int_equal(share_read(share, 0, 0, bytes, 1), -EBADF);
	assert_int_equal(share_read(share, reading ^ (1ULL << 33), 0, bytes, 1), -EBADF);
	assert_int_equal(share_open(share, directory.node, PROTO_OPEN_READ, &reading), -EISDIR);
	assert_int_equal(
	        raw_opendir(&share->raw, &(struct proto_opendir_request){ .node = entry.node, .size = 65536 }, &opened),
	        -ENOTDIR);
	assert_int_equal(raw_opendir(&share->raw,
	                             &(struct proto_opendir_request){ .node = directory.node, .size = 65536 }, &opened),
	                 0);
	assert_int_equal(share_read(share, opened.handle, 0, bytes, 1), -EBADF);
	assert_int_equal(share_write(share, opened.handle, 0, "x", 1, 0), -EBADF);
}

static bool is_open(int fd)
{
	return fcntl(fd, F_GETFD) >= 0;
}

/* A handle of the root's, in use. */
static struct handle *open_root(struct share *share, uint64_t *ret_id)
{
	struct nodes *nodes = inside_session(share)->nodes;
	struct handle *handle;
	struct node *root;

	assert_int_equal(nodes_get(nodes, share->root, &root), 0);
	assert_int_equal(nodes_open(nodes, root, dup(share->host), true, true, false, ret_id, &handle), 0);
	nodes_put(nodes, root);
	return handle;
}

static void a_handle_is_what_it_was_made_of(void **state)
{
	struct share *share = *state;
	struct nodes *nodes = inside_session(share)->nodes;
	struct handle *handle, *found;
	uint64_t id;

	handle = open_root(share, &id);
	assert_true(id != 0 && handle->id == id);
	assert_true(handle->directory && handle->readable && !handle->writable);
	assert_true(nodes_id(handle->node) == share->root);
	assert_int_equal(proto_counter_get(&share->counters.handles), 1);
	assert_int_equal(proto_counter_get(&share->counters.descriptors), 1);
	assert_int_equal(nodes_handle(nodes, id, &found), 0);
	assert_ptr_equal(found, handle);
	nodes_handle_put(nodes, found);
	nodes_close(nodes, handle);
	nodes_handle_put(nodes, handle);
	assert_int_equal(proto_counter_get(&share->counters.handles), 0);
	assert_int_equal(proto_counter_get(&share->counters.descriptors), 0);
}

static void what_was_closed_stays_open_for_who_uses_it(void **state)
{
	struct share *share = *state;
	struct nodes *nodes = inside_session(share)->nodes;
	struct handle *handle, *user, *none;
	uint64_t id, next;
	int fd;

	handle = open_root(share, &id);
	fd = handle->fd;
	assert_int_equal(nodes_handle(nodes, id, &user), 0);
	nodes_close(nodes, handle);
	nodes_close(nodes, handle); /* twice, as two RELEASEs at the same time */
	assert_int_equal(nodes_handle(nodes, id, &none), -EBADF);
	nodes_handle_put(nodes, handle);
	assert_true(is_open(fd));
	nodes_handle_put(nodes, user);
	assert_false(is_open(fd));
	/* The id is not given again. */
	handle = open_root(share, &next);
	assert_true(next != id);
	assert_int_equal(nodes_handle(nodes, id, &none), -EBADF);
	nodes_handle_put(nodes, handle);
}

static void what_nobody_closed_stays_when_nobody_uses_it(void **state)
{
	struct share *share = *state;
	struct nodes *nodes = inside_session(share)->nodes;
	struct handle *handle = NULL;
	uint64_t id;
	int fd;

	handle = open_root(share, &id);
	fd = handle->fd;
	nodes_handle_put(nodes, handle);
	nodes_handle_put(nodes, NULL);
	assert_true(is_open(fd));
	assert_int_equal(nodes_handle(nodes, id, &handle), 0);
	nodes_handle_put(nodes, handle);
}

static void a_node_with_a_handle_stays_without_a_reference(void **state)
{
	struct share *share = *state;
	struct proto_getattr_reply reply;
	uint64_t node, handle;

	share_host_write(share, "a", "x");
	node = inside_look_up(share, share->root, "a");
	handle = inside_open(share, node, PROTO_OPEN_READ);
	share_forget(share, node, 1);
	assert_int_equal(raw_getattr(&share->raw, &(struct proto_getattr_request){ .node = node }, &reply), 0);
	raw_release(&share->raw, &(struct proto_release_request){ handle }, &(struct proto_release_reply){});
	assert_int_equal(raw_getattr(&share->raw, &(struct proto_getattr_request){ .node = node }, &reply), -ESTALE);
}

/* The descriptor stays the caller's where there is no handle. */
static void without_room_in_the_budget_there_is_no_handle(void **state)
{
	struct share *share = *state;
	struct nodes *nodes = inside_session(share)->nodes;
	struct handle *handle = NULL;
	struct node *root;
	uint64_t id;
	int fd = dup(share->host);

	assert_int_equal(nodes_get(nodes, share->root, &root), 0);
	nodes->descriptors_max = 0;
	assert_int_equal(nodes_open(nodes, root, fd, true, true, false, &id, &handle), -ENFILE);
	assert_null(handle);
	assert_true(is_open(fd));
	close(fd);
	assert_int_equal(proto_counter_get(&share->counters.handles), 0);
	nodes_put(nodes, root);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, inside_set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(more_handles_than_the_budget_holds_are_refused, set_up_small,
		                                tear_down),
		TEST(handles_do_what_they_were_opened_for_and_no_more),
		TEST(a_handle_is_what_it_was_made_of),
		TEST(what_was_closed_stays_open_for_who_uses_it),
		TEST(what_nobody_closed_stays_when_nobody_uses_it),
		TEST(a_node_with_a_handle_stays_without_a_reference),
		TEST(without_room_in_the_budget_there_is_no_handle),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
