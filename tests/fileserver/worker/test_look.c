/* SPDX-License-Identifier: Apache-2.0 */
/* LOOKUP, FORGET, GETATTR, READLINK, ACCESS, STATFS and SYNCFS: what the host says, and nothing is changed. */
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

#include "fileserver/worker/nodes/nodes.h"
#include "tests/fileserver/worker/inside.h"

/* Whatever a request does, nothing stays in use. */
static int tear_down(void **state)
{
	inside_is_idle(*state);
	return inside_tear_down(state);
}

static void a_look_up_tells_what_is_there_and_counts_a_reference(void **state)
{
	struct share *share = *state;
	struct proto_entry entry, again;
	struct stat st;

	share_host_write(share, "a", "content");
	st = inside_stat(share, "a");
	assert_int_equal(share_lookup(share, share->root, "a", &entry), 0);
	assert_true(entry.attr.ino == st.st_ino);
	assert_int_equal(entry.attr.size, 7);
	assert_int_equal(entry.attr.nlink, 1);
	assert_int_equal(entry.attr.mode, st.st_mode);
	assert_true(entry.attr.mtime.seconds == st.st_mtim.tv_sec);
	assert_int_equal(entry.attr.mtime.nanoseconds, st.st_mtim.tv_nsec);
	assert_int_equal(share_lookup(share, share->root, "a", &again), 0);
	assert_true(again.node == entry.node);
	assert_int_equal(inside_references(share, entry.node), 2);
	assert_int_equal(share_lookup(share, share->root, "none", &again), -ENOENT);
	assert_int_equal(share_lookup(share, entry.node, "a", &again), -ENOTDIR);
}

static void a_directory_is_pinned_at_once_and_a_file_while_names_move(void **state)
{
	struct share *share = *state;
	struct proto_getattr_reply reply;
	uint64_t file, other, directory;

	share_host_write(share, "a", "a");
	share_host_write(share, "b", "b");
	assert_int_equal(mkdirat(share->host, "d", 0755), 0);
	file = inside_look_up(share, share->root, "a");
	directory = inside_look_up(share, share->root, "d");
	assert_false(inside_has_descriptor(share, file));
	assert_true(inside_has_descriptor(share, directory));
	/* another file at the name: from now on what is looked up is kept open for a while */
	share_host_write(share, "new", "new");
	assert_int_equal(renameat(share->host, "new", share->host, "a"), 0);
	assert_int_equal(raw_getattr(&share->raw, &(struct proto_getattr_request){ .node = file }, &reply), -ESTALE);
	other = inside_look_up(share, share->root, "b");
	assert_true(inside_has_descriptor(share, other));
}

static void references_are_given_back_in_any_order(void **state)
{
	struct share *share = *state;
	uint8_t bytes[3 * 16];
	struct proto_writer writer;
	struct proto_forget_request request = { .forgets = { .count = 3, .bytes = bytes } };
	struct proto_forget_reply reply;
	uint64_t a, b, none = UINT64_MAX, one = 1, two = 2;

	share_host_write(share, "a", "a");
	share_host_write(share, "b", "b");
	a = inside_look_up(share, share->root, "a");
	(void) inside_look_up(share, share->root, "a");
	(void) inside_look_up(share, share->root, "a");
	b = inside_look_up(share, share->root, "b");
	proto_writer_init(&writer, bytes, sizeof(bytes));
	proto_put_node(&writer, &b);
	proto_put_u64(&writer, &one);
	proto_put_node(&writer, &none);
	proto_put_u64(&writer, &one);
	proto_put_node(&writer, &a);
	proto_put_u64(&writer, &two);
	(void) raw_forget(&share->raw, &request, &reply);
	assert_int_equal(share_lookup(share, share->root, "none", &(struct proto_entry){}), -ENOENT);
	assert_int_equal(inside_references(share, a), 1);
	assert_int_equal(inside_references(share, b), 0);
}

static void attributes_come_with_the_time_of_birth(void **state)
{
	struct share *share = *state;
	struct proto_getattr_request request = { 0 };
	struct proto_getattr_reply reply;
	struct statx stx;

	share_host_write(share, "a", "content");
	request.node = inside_look_up(share, share->root, "a");
	assert_int_equal(statx(share->host, "a", 0, STATX_BTIME, &stx), 0);
	share_host_write(share, "a", "longer content");
	assert_int_equal(raw_getattr(&share->raw, &request, &reply), 0);
	assert_int_equal(reply.attr.size, 14);
	assert_true(reply.attr.ino == stx.stx_ino);
	if ((stx.stx_mask & STATX_BTIME) == 0)
		skip();
	assert_true(reply.btime.seconds == stx.stx_btime.tv_sec);
	assert_int_equal(reply.btime.nanoseconds, stx.stx_btime.tv_nsec);
}

static void a_links_target_is_told_in_whole(void **state)
{
	struct share *share = *state;
	struct proto_readlink_reply reply;
	struct proto_readlink_request request = { 0 };
	char target[PROTO_TARGET_MAX + 1];

	memset(target, 't', PROTO_TARGET_MAX);
	target[PROTO_TARGET_MAX] = '\0';
	assert_int_equal(symlinkat(target, share->host, "long"), 0);
	request.node = inside_look_up(share, share->root, "long");
	assert_int_equal(raw_readlink(&share->raw, &request, &reply), 0);
	assert_int_equal(reply.target.length, PROTO_TARGET_MAX);
	assert_memory_equal(reply.target.text, target, PROTO_TARGET_MAX);
	share_host_write(share, "file", "x");
	request.node = inside_look_up(share, share->root, "file");
	assert_int_equal(raw_readlink(&share->raw, &request, &reply), -EINVAL);
}

static int ask_access(struct share *share, uint64_t node, uint32_t mask)
{
	struct proto_access_request request = { .node = node, .mask = mask };

	return raw_access(&share->raw, &request, &(struct proto_access_reply){});
}

static void access_asks_what_the_serving_user_may(void **state)
{
	struct share *share = *state;
	uint64_t node;

	share_host_write(share, "a", "x");
	node = inside_look_up(share, share->root, "a");
	assert_int_equal(ask_access(share, node, F_OK), 0);
	assert_int_equal(ask_access(share, node, R_OK | W_OK), 0);
	/* nobody may execute it: not even root */
	assert_int_equal(ask_access(share, node, X_OK), -EACCES);
	assert_int_equal(ask_access(share, node, 8), -EINVAL);
	atomic_store(&inside_session(share)->read_only, true);
	assert_int_equal(ask_access(share, node, W_OK), -EROFS);
	assert_int_equal(ask_access(share, node, R_OK), 0);
}

static void the_file_systems_figures_are_told_without_the_reserve(void **state)
{
	struct share *share = *state;
	struct proto_statfs_request request = { .node = share->root };
	struct proto_statfs_reply all, less;

	assert_int_equal(raw_statfs(&share->raw, &request, &all), 0);
	assert_true(all.statfs.blocks > 0 && all.statfs.bsize > 0);
	assert_int_equal(all.statfs.namelen, PROTO_NAME_MAX);
	inside_session(share)->space.reserve = 1;
	assert_int_equal(raw_statfs(&share->raw, &request, &less), 0);
	assert_int_equal(less.statfs.blocks, all.statfs.blocks);
	if (all.statfs.bavail > all.statfs.blocks / 10)
		assert_true(less.statfs.bavail < all.statfs.bavail);
}

static void the_file_system_is_written_back_by_way_of_files_and_directories_alone(void **state)
{
	struct share *share = *state;
	struct proto_syncfs_request request = { .node = share->root };
	struct proto_syncfs_reply reply;

	assert_int_equal(raw_syncfs(&share->raw, &request, &reply), 0);
	assert_true(inside_session(share)->sync.last == 1);
	assert_int_equal(mkfifoat(share->host, "fifo", 0600), 0);
	request.node = inside_look_up(share, share->root, "fifo");
	assert_int_equal(raw_syncfs(&share->raw, &request, &reply), -ENXIO);
	assert_true(inside_session(share)->sync.last == 1);
}

/* As FSYNC is: the kernel asks for it, whoever may read the directory. */
static void a_directory_that_nobody_may_read_is_no_obstacle(void **state)
{
	struct share *share = *state;
	struct proto_syncfs_request request = { .node = share->root };
	struct proto_syncfs_reply reply;
	int r;

	assert_int_equal(fchmod(share->host, 0300), 0);
	r = raw_syncfs(&share->raw, &request, &reply);
	assert_int_equal(fchmod(share->host, 0700), 0);
	if (!inside_session(share)->may_lift && geteuid() != 0)
		skip(); /* the machine has no user namespaces */
	assert_int_equal(r, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, inside_set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_look_up_tells_what_is_there_and_counts_a_reference),
		TEST(a_directory_is_pinned_at_once_and_a_file_while_names_move),
		TEST(references_are_given_back_in_any_order),
		TEST(attributes_come_with_the_time_of_birth),
		TEST(a_links_target_is_told_in_whole),
		TEST(access_asks_what_the_serving_user_may),
		TEST(the_file_systems_figures_are_told_without_the_reserve),
		TEST(the_file_system_is_written_back_by_way_of_files_and_directories_alone),
		cmocka_unit_test_setup_teardown(a_directory_that_nobody_may_read_is_no_obstacle,
		                                inside_set_up_unprivileged, share_tear_down_unprivileged),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
