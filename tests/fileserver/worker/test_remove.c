/* SPDX-License-Identifier: Apache-2.0 */
/* UNLINK and RMDIR: the name goes, and what somebody still has stays within his reach. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "fileserver/worker/host/reach.h"
#include "fileserver/worker/operations/remove.h"
#include "tests/fileserver/worker/inside.h"

static int set_up(void **state)
{
	struct share *share;

	if (inside_set_up(state) < 0)
		return -1;
	share = *state;
	share_host_write(share, "file", "content");
	return mkdirat(share->host, "directory", 0755);
}

static int tear_down(void **state)
{
	inside_is_idle(*state);
	return inside_tear_down(state);
}

static int unlink_(struct share *share, uint64_t parent, const char *name, struct proto_unlink_reply *ret_reply)
{
	struct proto_unlink_request request = { .parent = parent, .name = raw_name(name) };

	return raw_unlink(&share->raw, &request, ret_reply);
}

static int rmdir_(struct share *share, uint64_t parent, const char *name, struct proto_rmdir_reply *ret_reply)
{
	struct proto_rmdir_request request = { .parent = parent, .name = raw_name(name) };

	return raw_rmdir(&share->raw, &request, ret_reply);
}

static int links_of(struct share *share, uint64_t node)
{
	struct proto_getattr_reply reply;

	assert_int_equal(raw_getattr(&share->raw, &(struct proto_getattr_request){ .node = node }, &reply), 0);
	return (int) reply.attr.nlink;
}

static void a_name_that_nobody_knew_goes(void **state)
{
	struct share *share = *state;
	struct proto_unlink_reply reply;

	assert_int_equal(unlink_(share, share->root, "file", &reply), 0);
	assert_true(reply.node == 0);
	assert_true(reply.parent.ino == inside_stat(share, ".").st_ino);
	assert_false(inside_is_there(share, "file"));
	assert_int_equal(unlink_(share, share->root, "file", &reply), -ENOENT);
}

static void a_file_that_is_known_is_kept_by_a_descriptor_until_it_is_forgotten(void **state)
{
	struct share *share = *state;
	uint64_t file = inside_look_up(share, share->root, "file");
	struct proto_unlink_reply reply;
	struct proto_entry none;

	assert_false(inside_has_descriptor(share, file));
	assert_int_equal(unlink_(share, share->root, "file", &reply), 0);
	assert_true(reply.node == file);
	assert_true(inside_has_descriptor(share, file));
	assert_int_equal(links_of(share, file), 0);
	share_forget(share, file, 1);
	assert_int_equal(share_lookup(share, share->root, "file", &none), -ENOENT);
	assert_int_equal(raw_getattr(&share->raw, &(struct proto_getattr_request){ .node = file },
	                             &(struct proto_getattr_reply){}),
	                 -ESTALE);
}

static void a_file_goes_on_by_its_other_name(void **state)
{
	struct share *share = *state;
	uint64_t file = inside_look_up(share, share->root, "file");
	struct proto_unlink_reply reply;

	assert_int_equal(linkat(share->host, "file", share->host, "other", 0), 0);
	assert_true(inside_look_up(share, share->root, "other") == file);
	assert_int_equal(unlink_(share, share->root, "file", &reply), 0);
	assert_true(reply.node == file);
	assert_int_equal(links_of(share, file), 1);
	(void) inside_open(share, file, PROTO_OPEN_READ);
	inside_holds(share, "other", "content");
}

static void an_empty_directory_goes_and_stays_for_who_is_in_it(void **state)
{
	struct share *share = *state;
	uint64_t directory = inside_look_up(share, share->root, "directory");
	struct proto_rmdir_reply reply;
	struct proto_entry none;

	assert_int_equal(rmdir_(share, share->root, "directory", &reply), 0);
	assert_true(reply.node == directory);
	assert_true(S_ISDIR(reply.parent.mode));
	assert_false(inside_is_there(share, "directory"));
	assert_int_equal(links_of(share, directory), 0);
	assert_int_equal(share_lookup(share, directory, "a", &none), -ENOENT);
}

static void each_removes_its_own_kind(void **state)
{
	struct share *share = *state;
	struct proto_unlink_reply unlinked;
	struct proto_rmdir_reply removed;

	assert_int_equal(unlink_(share, share->root, "directory", &unlinked), -EISDIR);
	assert_int_equal(rmdir_(share, share->root, "file", &removed), -ENOTDIR);
	share_host_write(share, "directory/a", "x");
	assert_int_equal(rmdir_(share, share->root, "directory", &removed), -ENOTEMPTY);
	inside_holds(share, "file", "content");
	inside_holds(share, "directory/a", "x");
	assert_int_equal(symlinkat("directory/a", share->host, "link"), 0);
	assert_int_equal(unlink_(share, share->root, "link", &unlinked), 0);
	inside_holds(share, "directory/a", "x");
}

static void what_could_not_be_removed_is_no_orphan(void **state)
{
	struct share *share = *state;
	uint64_t directory = inside_look_up(share, share->root, "directory");
	struct proto_rmdir_reply removed;

	share_host_write(share, "directory/a", "x");
	assert_int_equal(rmdir_(share, share->root, "directory", &removed), -ENOTEMPTY);
	assert_true(inside_look_up(share, share->root, "directory") == directory);
	(void) inside_look_up(share, directory, "a");
}

static void a_links_record_goes_with_its_last_name(void **state)
{
	struct share *share = *state;
	struct proto_symlink_request request = {
		.parent = share->root, .name = raw_name("link"), .target = { 1, "x" }, .owner = { 1000, 50 }
	};
	struct proto_symlink_reply made;
	struct proto_unlink_reply reply;

	assert_int_equal(raw_symlink(&share->raw, &request, &made), 0);
	assert_int_equal(linkat(share->host, "link", share->host, "link2", 0), 0);
	assert_int_equal(unlink_(share, share->root, "link2", &reply), 0);
	assert_true(inside_has_xattr(share, ".", "user.bindshare.links"));
	assert_int_equal(unlink_(share, share->root, "link", &reply), 0);
	assert_false(inside_has_xattr(share, ".", "user.bindshare.links"));
}

static void only_what_is_known_and_has_no_descriptor_is_pinned_before(void **state)
{
	struct share *share = *state;
	struct session *session = inside_session(share);
	struct statx file, other;
	struct pinned root;
	int fd;

	share_host_write(share, "other", "other");
	assert_int_equal(reach_stat_name(session, share->host, "file", &file), 0);
	assert_int_equal(reach_stat_name(session, share->host, "other", &other), 0);
	inside_take(share, share->root, &root);
	assert_int_equal(remove_pin(session, &root, "file", &file), -EBADF);
	inside_look_up(share, share->root, "file");
	fd = remove_pin(session, &root, "file", &file);
	assert_true(fd >= 0);
	close(fd);
	/* The host has put another one there since: nobody else's descriptor becomes this one's. */
	assert_int_equal(renameat(share->host, "other", share->host, "file"), 0);
	assert_int_equal(remove_pin(session, &root, "file", &file), -EBADF);
	assert_int_equal(unlinkat(share->host, "file", 0), 0);
	assert_int_equal(remove_pin(session, &root, "file", &file), -EBADF);
	inside_put(share, &root);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_name_that_nobody_knew_goes),
		TEST(a_file_that_is_known_is_kept_by_a_descriptor_until_it_is_forgotten),
		TEST(a_file_goes_on_by_its_other_name),
		TEST(an_empty_directory_goes_and_stays_for_who_is_in_it),
		TEST(each_removes_its_own_kind),
		TEST(what_could_not_be_removed_is_no_orphan),
		TEST(a_links_record_goes_with_its_last_name),
		TEST(only_what_is_known_and_has_no_descriptor_is_pinned_before),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
