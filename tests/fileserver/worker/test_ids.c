/* SPDX-License-Identifier: Apache-2.0 */
/* Every operation with a node or a handle that was never given, or one of another kind. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/support/share.h"

enum { NOWHERE = 12345 };

static const uint64_t unknown = PROTO_ID(7, NOWHERE);

static int set_up(void **state)
{
	struct share *share = share_new(0, 1000);

	*state = share;
	if (share == NULL)
		return -1;
	share_host_write(share, "file", "content");
	return mkdirat(share->host, "directory", 0755);
}

static int tear_down(void **state)
{
	share_free(*state);
	return 0;
}

static void no_operation_takes_a_node_that_was_never_given(void **state)
{
	struct share *share = *state;
	struct raw *raw = &share->raw;
	struct proto_name name = raw_name("name");
	struct proto_name xattr = raw_name("user.x");
	struct proto_entry file, found;
	struct proto_create_reply created;
	uint64_t handle;

	assert_int_equal(share_lookup(share, share->root, "file", &file), 0);
	assert_int_equal(share_lookup(share, unknown, "name", &found), -ESTALE);
	assert_int_equal(share_open(share, unknown, PROTO_OPEN_READ, &handle), -ESTALE);
	assert_int_equal(share_create(share, unknown, "name", PROTO_OPEN_WRITE, 0644, &created), -ESTALE);
#define REFUSED(op, ...)                                                                                               \
	assert_int_equal(raw_##op(raw, &(struct proto_##op##_request){ __VA_ARGS__ }, &(struct proto_##op##_reply){}), \
	                 -ESTALE)
	REFUSED(getattr, .node = unknown);
	REFUSED(setattr, .node = unknown);
	REFUSED(readlink, .node = unknown);
	REFUSED(symlink, .parent = unknown, .name = name, .target = { 1, "x" });
	REFUSED(mknod, .parent = unknown, .name = name);
	REFUSED(mkdir, .parent = unknown, .name = name);
	REFUSED(unlink, .parent = unknown, .name = name);
	REFUSED(rmdir, .parent = unknown, .name = name);
	REFUSED(rename, .parent = unknown, .name = name, .new_parent = share->root, .new_name = name);
	REFUSED(rename, .parent = share->root, .name = name, .new_parent = unknown, .new_name = name);
	REFUSED(link, .node = unknown, .parent = share->root, .name = name);
	REFUSED(link, .node = file.node, .parent = unknown, .name = name);
	REFUSED(tmpfile, .parent = unknown, .flags = PROTO_OPEN_WRITE);
	REFUSED(opendir, .node = unknown, .size = PROTO_CHUNK);
	REFUSED(statfs, .node = unknown);
	REFUSED(getxattr, .node = unknown, .name = xattr);
	REFUSED(setxattr, .node = unknown, .name = xattr);
	REFUSED(listxattr, .node = unknown);
	REFUSED(removexattr, .node = unknown, .name = xattr);
	REFUSED(access, .node = unknown);
	REFUSED(syncfs, .node = unknown);
#undef REFUSED
	assert_int_equal(share_lookup(share, share->root, "name", &found), -ENOENT);
}

static void a_directory_is_no_file_and_a_file_no_directory(void **state)
{
	struct share *share = *state;
	struct proto_name name = raw_name("name");
	struct proto_entry file, directory, found;
	uint64_t handle;

	assert_int_equal(share_lookup(share, share->root, "file", &file), 0);
	assert_int_equal(share_lookup(share, share->root, "directory", &directory), 0);
	assert_int_equal(share_lookup(share, file.node, "name", &found), -ENOTDIR);
	assert_int_equal(share_open(share, directory.node, PROTO_OPEN_READ, &handle), -EISDIR);
	assert_int_equal(raw_readlink(&share->raw, &(struct proto_readlink_request){ file.node },
	                              &(struct proto_readlink_reply){}),
	                 -EINVAL);
	assert_int_equal(raw_link(&share->raw,
	                          &(struct proto_link_request){ directory.node, share->root, raw_name("name") },
	                          &(struct proto_link_reply){}),
	                 -EPERM);
	assert_int_equal(
	        raw_mknod(&share->raw,
	                  &(struct proto_mknod_request){ .parent = share->root, .name = name, .mode = S_IFDIR },
	                  &(struct proto_mknod_reply){}),
	        -EINVAL);
}

/* Each operation on a handle; what is not that operation's kind answers EBADF. */
static void refuse_handle(struct share *share, uint64_t handle, uint64_t file, bool directory)
{
	struct raw *raw = &share->raw;
	char bytes[16];

	assert_int_equal(share_read(share, handle, 0, bytes, sizeof(bytes)), -EBADF);
	assert_int_equal(share_write(share, handle, 0, "x", 1, 0), -EBADF);
#define REFUSED(op, ...)                                                                                               \
	assert_int_equal(raw_##op(raw, &(struct proto_##op##_request){ __VA_ARGS__ }, &(struct proto_##op##_reply){}), \
	                 -EBADF)
	REFUSED(fallocate, .handle = handle, .length = 1);
	REFUSED(lseek, .handle = handle, .whence = SEEK_DATA);
	REFUSED(copy_range, .handle_in = handle, .handle_out = file, .length = 1);
	REFUSED(copy_range, .handle_in = file, .handle_out = handle, .length = 1);
	if (!directory) {
		REFUSED(fsync, .handle = handle);
		REFUSED(readdir, .handle = handle, .size = PROTO_CHUNK);
	}
#undef REFUSED
}

static void no_operation_takes_a_handle_that_was_never_given_or_is_of_another_kind(void **state)
{
	struct share *share = *state;
	struct proto_opendir_reply opened;
	struct proto_entry file, directory;
	uint64_t handle;
	struct proto_setattr_request set = { .set = { .valid = PROTO_SET_SIZE } };

	assert_int_equal(share_lookup(share, share->root, "file", &file), 0);
	assert_int_equal(share_lookup(share, share->root, "directory", &directory), 0);
	assert_int_equal(share_open(share, file.node, PROTO_OPEN_READ | PROTO_OPEN_WRITE, &handle), 0);
	assert_int_equal(
	        raw_opendir(&share->raw, &(struct proto_opendir_request){ directory.node, PROTO_CHUNK }, &opened), 0);
	refuse_handle(share, unknown, handle, false);
	refuse_handle(share, opened.handle, handle, true);
	assert_int_equal(raw_readdir(&share->raw, &(struct proto_readdir_request){ handle, 0, PROTO_CHUNK },
	                             &(struct proto_readdir_reply){}),
	                 -EBADF);
	/* A size by the handle of another file, or by none that there is. */
	set.node = directory.node;
	set.handle = handle;
	assert_int_equal(raw_setattr(&share->raw, &set, &(struct proto_setattr_reply){}), -EBADF);
	set.node = file.node;
	set.handle = unknown;
	assert_int_equal(raw_setattr(&share->raw, &set, &(struct proto_setattr_reply){}), -EBADF);
	/* What is closed twice, or was never open, harms nobody. */
	for (int i = 0; i < 2; i++) {
		assert_int_equal(raw_release(&share->raw, &(struct proto_release_request){ handle },
		                             &(struct proto_release_reply){}),
		                 0);
		assert_int_equal(raw_release(&share->raw, &(struct proto_release_request){ unknown },
		                             &(struct proto_release_reply){}),
		                 0);
	}
	refuse_handle(share, handle, unknown, false);
	assert_int_equal(share->counters.handles, 1);
}

static void values_out_of_range_are_refused(void **state)
{
	struct share *share = *state;
	struct raw *raw = &share->raw;
	struct proto_opendir_reply opened;
	struct proto_entry file;
	uint64_t handle;

	assert_int_equal(share_lookup(share, share->root, "file", &file), 0);
	assert_int_equal(share_open(share, file.node, PROTO_OPEN_READ | PROTO_OPEN_WRITE, &handle), 0);
	assert_int_equal(raw_opendir(raw, &(struct proto_opendir_request){ share->root, PROTO_CHUNK }, &opened), 0);
#define REFUSED(op, ...)                                                                                               \
	assert_int_equal(raw_##op(raw, &(struct proto_##op##_request){ __VA_ARGS__ }, &(struct proto_##op##_reply){}), \
	                 -EINVAL)
	REFUSED(opendir, .node = share->root, .size = PROTO_DIRENT_MAX - 1);
	REFUSED(readdir, .handle = opened.handle, .size = PROTO_DIRENT_MAX - 1);
	REFUSED(readdir, .handle = opened.handle, .size = PROTO_CHUNK, .cookie = (uint64_t) INT64_MAX + 1);
	REFUSED(fallocate, .handle = handle, .length = 0);
	REFUSED(lseek, .handle = handle, .whence = SEEK_SET);
	REFUSED(access, .node = file.node, .mask = 8);
	REFUSED(open, .node = file.node, .flags = PROTO_OPEN_READ, .size = PROTO_CHUNK + 1);
	REFUSED(open, .node = file.node, .flags = PROTO_OPEN_WRITE, .size = 1);
#undef REFUSED
}

static void nobody_may_write_a_read_only_share(void **state)
{
	struct share *share = share_new(PROTO_HELLO_READ_ONLY, 100);
	struct proto_access_reply reply;

	assert_non_null(share);
	assert_int_equal(raw_access(&share->raw, &(struct proto_access_request){ share->root, W_OK }, &reply), -EROFS);
	assert_int_equal(raw_access(&share->raw, &(struct proto_access_request){ share->root, R_OK }, &reply), 0);
	share_free(share);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(no_operation_takes_a_node_that_was_never_given),
		TEST(a_directory_is_no_file_and_a_file_no_directory),
		TEST(no_operation_takes_a_handle_that_was_never_given_or_is_of_another_kind),
		TEST(values_out_of_range_are_refused),
		cmocka_unit_test(nobody_may_write_a_read_only_share),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
