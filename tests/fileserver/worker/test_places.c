/* SPDX-License-Identifier: Apache-2.0 */
/* Names that lead elsewhere by now, what is forgotten at the limit, and what is kept open. */
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

#include "fileserver/worker/host/lift.h"
#include "tests/support/share.h"

enum { NODES_MAX = 200 };

static int set_up(void **state)
{
	*state = share_new(0, 1000);
	return *state == NULL ? -1 : 0;
}

static int set_up_small(void **state)
{
	share_nodes_max = NODES_MAX;
	*state = share_new(0, 1000);
	share_nodes_max = 10000;
	return *state == NULL ? -1 : 0;
}

static int tear_down(void **state)
{
	share_free(*state);
	return 0;
}

static uint64_t look_up(struct share *share, uint64_t parent, const char *name)
{
	struct proto_entry entry;

	assert_int_equal(share_lookup(share, parent, name, &entry), 0);
	return entry.node;
}

/* What the guest may ask for by the name of a file. */
#define BY_NAME(op, ...)                                                                                               \
	assert_int_equal(raw_##op(raw, &(struct proto_##op##_request){ __VA_ARGS__ }, &(struct proto_##op##_reply){}), \
	                 expected)

static void every_change_of_a_file(struct share *share, uint64_t file, int expected)
{
	struct proto_setattr mode = { .valid = PROTO_SET_MODE, .mode = 0600 };
	struct proto_setattr size = { .valid = PROTO_SET_SIZE, .size = 1 };
	struct proto_setattr times = { .valid = PROTO_SET_MTIME_NOW };
	struct raw *raw = &share->raw;
	struct proto_name xattr = raw_name("user.x"), name = raw_name("linked");

	BY_NAME(open, .node = file, .flags = PROTO_OPEN_READ);
	BY_NAME(open, .node = file, .flags = PROTO_OPEN_WRITE);
	BY_NAME(open, .node = file, .flags = PROTO_OPEN_WRITE | PROTO_OPEN_TRUNCATE);
	BY_NAME(setattr, .node = file, .set = mode);
	BY_NAME(setattr, .node = file, .set = size);
	BY_NAME(setattr, .node = file, .set = times);
	BY_NAME(setxattr, .node = file, .name = xattr, .value = { 1, "v" });
	BY_NAME(removexattr, .node = file, .name = xattr);
	if (expected != 0)
		BY_NAME(link, .node = file, .parent = share->root, .name = name);
}

static void every_change_in_a_directory(struct share *share, uint64_t directory, int expected)
{
	struct raw *raw = &share->raw;
	struct proto_name name = raw_name("name"), kept = raw_name("kept");
	uint64_t other = look_up(share, share->root, "other");

	BY_NAME(create, .parent = directory, .name = name, .flags = PROTO_OPEN_WRITE, .mode = 0644);
	BY_NAME(unlink, .parent = directory, .name = name);
	BY_NAME(mkdir, .parent = directory, .name = name, .mode = 0755);
	BY_NAME(rmdir, .parent = directory, .name = name);
	BY_NAME(symlink, .parent = directory, .name = name, .target = { 1, "x" });
	BY_NAME(rename, .parent = directory, .name = name, .new_parent = directory, .new_name = kept);
	BY_NAME(rename, .parent = directory, .name = kept, .new_parent = share->root, .new_name = name);
	BY_NAME(rename, .parent = share->root, .name = name, .new_parent = directory, .new_name = name);
	BY_NAME(unlink, .parent = directory, .name = name);
	BY_NAME(mknod, .parent = directory, .name = name, .mode = S_IFREG | 0644);
	BY_NAME(link, .node = other, .parent = directory, .name = kept);
	BY_NAME(tmpfile, .parent = directory, .flags = PROTO_OPEN_WRITE, .mode = 0644);
	BY_NAME(setattr, .node = directory, .set = { .valid = PROTO_SET_MODE, .mode = 0750 });
}

static void a_file_that_is_not_at_its_name_any_more_is_stale(void **state)
{
	struct share *share = *state;
	struct stat before, after;
	uint64_t file, handle;

	for (int how = 0; how < 3; how++) {
		share_host_write(share, "file", "old");
		file = look_up(share, share->root, "file");
		/* The guest has it open, so that nothing needs to be opened by name. */
		assert_int_equal(share_open(share, file, PROTO_OPEN_READ, &handle), 0);
		share_host_write(share, "new", "new");
		assert_int_equal(how == 0   ? unlinkat(share->host, "file", 0)
		                 : how == 1 ? renameat(share->host, "new", share->host, "file")
		                            : renameat(share->host, "file", share->host, "file~"),
		                 0);
		if (how == 2)
			assert_int_equal(fstatat(share->host, "file~", &before, 0), 0);
		every_change_of_a_file(share, file, -ESTALE);
		if (how == 2) {
			assert_int_equal(fstatat(share->host, "file~", &after, 0), 0);
			assert_memory_equal(&before.st_ctim, &after.st_ctim, sizeof(before.st_ctim));
			assert_int_equal(after.st_nlink, 1);
		}
		share->raw.flags = PROTO_FRAME_ANEW;
		every_change_of_a_file(share, file, how == 2 ? 0 : 0);
		share->raw.flags = 0;
		(void) unlinkat(share->host, "file", 0);
		(void) unlinkat(share->host, "file~", 0);
	}
}

static void a_directory_that_the_host_moved_is_stale_and_all_that_is_in_it(void **state)
{
	struct share *share = *state;
	uint64_t outer, inner, file;

	share_host_write(share, "other", "x");
	assert_int_equal(mkdirat(share->host, "outer", 0755), 0);
	assert_int_equal(mkdirat(share->host, "outer/inner", 0755), 0);
	share_host_write(share, "outer/inner/file", "old");
	outer = look_up(share, share->root, "outer");
	inner = look_up(share, outer, "inner");
	file = look_up(share, inner, "file");
	every_change_in_a_directory(share, inner, 0);
	assert_int_equal(renameat(share->host, "outer", share->host, "outer~"), 0);
	every_change_in_a_directory(share, outer, -ESTALE);
	every_change_in_a_directory(share, inner, -ESTALE);
	every_change_of_a_file(share, file, -ESTALE);
	assert_int_equal(faccessat(share->host, "outer~/inner/name", F_OK, 0), 0); /* of mknod() before */
	outer = look_up(share, share->root, "outer~");
	assert_int_equal(look_up(share, outer, "inner"), inner);
	every_change_of_a_file(share, file, 0);
	/* Only one of several steps leads elsewhere. */
	assert_int_equal(renameat(share->host, "outer~/inner", share->host, "outer~/moved"), 0);
	assert_int_equal(mkdirat(share->host, "outer~/inner", 0755), 0);
	share_host_write(share, "outer~/inner/file", "another");
	every_change_of_a_file(share, file, -ESTALE);
}

static void every_name_that_the_guest_was_told_counts(void **state)
{
	struct share *share = *state;
	struct proto_unlink_reply unlinked;
	uint64_t file, again;

	share_host_write(share, "file", "old");
	assert_int_equal(linkat(share->host, "file", share->host, "second", 0), 0);
	file = look_up(share, share->root, "file");
	assert_int_equal(look_up(share, share->root, "second"), file);
	every_change_of_a_file(share, file, 0);
	assert_int_equal(unlinkat(share->host, "file", 0), 0);
	every_change_of_a_file(share, file, -ESTALE);
	share_host_write(share, "file", "new");
	again = look_up(share, share->root, "file");
	assert_int_not_equal(again, file);
	every_change_of_a_file(share, again, 0);
	/* What the guest itself takes away is no name any more. */
	assert_int_equal(linkat(share->host, "file", share->host, "third", 0), 0);
	assert_int_equal(look_up(share, share->root, "third"), again);
	assert_int_equal(raw_unlink(&share->raw,
	                            &(struct proto_unlink_request){ .parent = share->root, .name = raw_name("file") },
	                            &unlinked),
	                 0);
	every_change_of_a_file(share, again, 0);
}

static void a_directory_that_may_not_be_searched_is_checked_all_the_same(void **state)
{
	struct share *share = *state;
	uint64_t outer, inner, file;

	if (!lift_possible(geteuid()))
		skip();
	assert_int_equal(mkdirat(share->host, "outer", 0755), 0);
	assert_int_equal(mkdirat(share->host, "outer/inner", 0755), 0);
	share_host_write(share, "outer/inner/file", "old");
	assert_int_equal(fchmodat(share->host, "outer/inner", 0, 0), 0);
	assert_int_equal(fchmodat(share->host, "outer", 0, 0), 0);
	outer = look_up(share, share->root, "outer");
	inner = look_up(share, outer, "inner");
	file = look_up(share, inner, "file");
	every_change_of_a_file(share, file, 0);
	assert_int_equal(renameat(share->host, "outer", share->host, "outer~"), 0);
	every_change_of_a_file(share, file, -ESTALE);
	/* Whoever is not root could not remove them. */
	assert_int_equal(fchmodat(share->host, "outer~", 0755, 0), 0);
	assert_int_equal(fchmodat(share->host, "outer~/inner", 0755, 0), 0);
}

static int set_up_unprivileged(void **state)
{
	return share_become_unprivileged() < 0 ? -1 : set_up(state);
}

static void at_the_limit_what_was_learned_first_is_forgotten(void **state)
{
	struct share *share = *state;
	struct proto_getattr_request request = { 0 };
	struct proto_getattr_reply reply;
	uint64_t directory, open, handle, first = 0, node;
	char name[32], bytes[8];
	int stale = 0;

	assert_int_equal(mkdirat(share->host, "directory", 0755), 0);
	directory = look_up(share, share->root, "directory");
	share_host_write(share, "open", "kept");
	open = look_up(share, share->root, "open");
	assert_int_equal(share_open(share, open, PROTO_OPEN_READ, &handle), 0);
	for (int i = 0; i < 20 * NODES_MAX; i++) {
		snprintf(name, sizeof(name), "directory/f%d", i);
		share_host_write(share, name, "x");
		node = look_up(share, directory, name + strlen("directory/"));
		first = i == 0 ? node : first;
		assert_true(proto_counter_get(&share->counters.nodes) <= NODES_MAX);
	}
	request.node = first;
	assert_int_equal(raw_getattr(&share->raw, &request, &reply), -ESTALE);
	first = look_up(share, directory, "f0");
	request.node = first;
	assert_int_equal(raw_getattr(&share->raw, &request, &reply), 0);
	/* What is open, and the directories above what is known, stay. */
	request.node = directory;
	assert_int_equal(raw_getattr(&share->raw, &request, &reply), 0);
	assert_int_equal(share_read(share, handle, 0, bytes, sizeof(bytes)), 4);
	request.node = open;
	assert_int_equal(raw_getattr(&share->raw, &request, &reply), 0);
	/* Directories alone are forgotten, too, when there is nothing else. */
	for (int i = 0; i < 2 * NODES_MAX; i++) {
		snprintf(name, sizeof(name), "directory/d%d", i);
		assert_int_equal(mkdirat(share->host, name, 0755), 0);
		request.node = look_up(share, directory, name + strlen("directory/"));
		stale += raw_getattr(&share->raw, &request, &reply) != 0;
	}
	assert_int_equal(stale, 0);
	assert_true(proto_counter_get(&share->counters.nodes) <= NODES_MAX);
}

static void what_nobody_uses_is_closed_and_found_again(void **state)
{
	struct share *share = *state;
	struct proto_unlink_reply unlinked;
	struct proto_getattr_request request = { 0 };
	struct proto_getattr_reply reply;
	uint64_t directory, file, gone, handle;

	assert_int_equal(mkdirat(share->host, "directory", 0755), 0);
	share_host_write(share, "directory/file", "x");
	share_host_write(share, "gone", "x");
	directory = look_up(share, share->root, "directory");
	file = look_up(share, directory, "file");
	gone = look_up(share, share->root, "gone");
	assert_int_equal(share_open(share, file, PROTO_OPEN_READ, &handle), 0);
	/* Nothing but its descriptor leads to what the guest has removed. */
	assert_int_equal(raw_unlink(&share->raw,
	                            &(struct proto_unlink_request){ .parent = share->root, .name = raw_name("gone") },
	                            &unlinked),
	                 0);
	assert_true(proto_counter_get(&share->counters.descriptors) >= 3);
	for (int i = 0; i < 4; i++)
		nodes_tick(share->service->session.nodes);
	/* The open handle and the removed file's. */
	assert_int_equal(proto_counter_get(&share->counters.descriptors), 2);
	for (uint64_t i = 0; i < 3; i++) {
		request.node = i == 0 ? directory : i == 1 ? file : gone;
		assert_int_equal(raw_getattr(&share->raw, &request, &reply), 0);
	}
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(a_file_that_is_not_at_its_name_any_more_is_stale),
		TEST(a_directory_that_the_host_moved_is_stale_and_all_that_is_in_it),
		TEST(every_name_that_the_guest_was_told_counts),
		cmocka_unit_test_setup_teardown(a_directory_that_may_not_be_searched_is_checked_all_the_same,
		                                set_up_unprivileged, share_tear_down_unprivileged),
		cmocka_unit_test_setup_teardown(at_the_limit_what_was_learned_first_is_forgotten, set_up_small,
		                                tear_down),
		TEST(what_nobody_uses_is_closed_and_found_again),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
