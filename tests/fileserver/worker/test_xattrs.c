/* SPDX-License-Identifier: Apache-2.0 */
/* GETXATTR, SETXATTR, LISTXATTR and REMOVEXATTR: which objects have them, and what the host keeps. */
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

#include "tests/fileserver/worker/inside.h"

/* Whatever a request does, nothing stays in use. */
static int tear_down(void **state)
{
	inside_is_idle(*state);
	return inside_tear_down(state);
}

static uint64_t file;

static int set_up(void **state)
{
	struct share *share;

	if (inside_set_up(state) < 0)
		return -1;
	share = *state;
	share_host_write(share, "file", "content");
	file = inside_look_up(share, share->root, "file");
	return 0;
}

static int set_x(struct share *share, uint64_t node, const char *name, const char *value, uint32_t flags)
{
	struct proto_setxattr_request request = {
		.node = node,
		.name = raw_name(name),
		.flags = flags,
		.value = { .length = strlen(value), .bytes = value },
	};

	return raw_setxattr(&share->raw, &request, &(struct proto_setxattr_reply){});
}

/* That its value is this. */
static void has(struct share *share, uint64_t node, const char *name, const char *value)
{
	struct proto_getxattr_request request = { .node = node, .name = raw_name(name) };
	struct proto_getxattr_reply reply;

	assert_int_equal(raw_getxattr(&share->raw, &request, &reply), 0);
	assert_int_equal(reply.value.length, strlen(value));
	assert_memory_equal(reply.value.bytes, value, strlen(value));
}

static int get_x(struct share *share, uint64_t node, const char *name)
{
	struct proto_getxattr_request request = { .node = node, .name = raw_name(name) };

	return raw_getxattr(&share->raw, &request, &(struct proto_getxattr_reply){});
}

static int remove_x(struct share *share, uint64_t node, const char *name)
{
	struct proto_removexattr_request request = { .node = node, .name = raw_name(name) };

	return raw_removexattr(&share->raw, &request, &(struct proto_removexattr_reply){});
}

static void lists(struct share *share, uint64_t node, const char *names, size_t length)
{
	struct proto_listxattr_request request = { .node = node };
	struct proto_listxattr_reply reply;

	assert_int_equal(raw_listxattr(&share->raw, &request, &reply), 0);
	assert_int_equal(reply.names.length, length);
	assert_memory_equal(reply.names.bytes, names, length);
}

static void what_is_set_is_on_the_host_and_read_back(void **state)
{
	struct share *share = *state;

	assert_int_equal(get_x(share, file, "user.a"), -ENODATA);
	assert_int_equal(set_x(share, file, "user.a", "value", 0), 0);
	assert_true(inside_has_xattr(share, "file", "user.a"));
	has(share, file, "user.a", "value");
	lists(share, file, "user.a", sizeof("user.a"));
	assert_int_equal(set_x(share, file, "user.a", "", 0), 0);
	has(share, file, "user.a", "");
	assert_int_equal(remove_x(share, file, "user.a"), 0);
	assert_false(inside_has_xattr(share, "file", "user.a"));
	assert_int_equal(remove_x(share, file, "user.a"), -ENODATA);
	lists(share, file, "", 0);
	assert_int_equal(set_x(share, share->root, "user.b", "of a directory", 0), 0);
	has(share, share->root, "user.b", "of a directory");
}

static void making_and_replacing_are_told_apart(void **state)
{
	struct share *share = *state;

	assert_int_equal(set_x(share, file, "user.a", "one", PROTO_XATTR_REPLACE), -ENODATA);
	assert_int_equal(set_x(share, file, "user.a", "one", PROTO_XATTR_CREATE), 0);
	assert_int_equal(set_x(share, file, "user.a", "two", PROTO_XATTR_CREATE), -EEXIST);
	has(share, file, "user.a", "one");
	assert_int_equal(set_x(share, file, "user.a", "two", PROTO_XATTR_REPLACE), 0);
	has(share, file, "user.a", "two");
}

static void trusted_ones_are_kept_under_another_name(void **state)
{
	struct share *share = *state;

	assert_int_equal(set_x(share, file, "trusted.overlay.opaque", "y", 0), 0);
	assert_true(inside_has_xattr(share, "file", "user.bindshare.trusted.overlay.opaque"));
	assert_false(inside_has_xattr(share, "file", "trusted.overlay.opaque"));
	has(share, file, "trusted.overlay.opaque", "y");
	lists(share, file, "trusted.overlay.opaque", sizeof("trusted.overlay.opaque"));
	assert_int_equal(get_x(share, file, "user.bindshare.trusted.overlay.opaque"), -ENODATA);
	assert_int_equal(remove_x(share, file, "trusted.overlay.opaque"), 0);
	lists(share, file, "", 0);
}

static void the_servers_own_are_not_there(void **state)
{
	struct share *share = *state;
	struct proto_setattr_request request = { .node = file, .set = { .valid = PROTO_SET_UID, .uid = 1000 } };

	assert_int_equal(raw_setattr(&share->raw, &request, &(struct proto_setattr_reply){}), 0);
	assert_true(inside_has_xattr(share, "file", "user.containers.override_stat"));
	lists(share, file, "", 0);
	assert_int_equal(get_x(share, file, "user.containers.override_stat"), -ENODATA);
	assert_int_equal(set_x(share, file, "user.containers.override_stat", "0:0:0", 0), -EPERM);
	assert_int_equal(remove_x(share, file, "user.containers.override_stat"), -ENODATA);
	assert_true(inside_has_xattr(share, "file", "user.containers.override_stat"));
	/* what the list keeps stands together, whatever lies between */
	assert_int_equal(set_x(share, file, "user.z", "1", 0), 0);
	lists(share, file, "user.z", sizeof("user.z"));
}

static void what_the_hosts_kernel_keeps_is_not_offered(void **state)
{
	struct share *share = *state;

	assert_int_equal(get_x(share, file, "security.selinux"), -EOPNOTSUPP);
	assert_int_equal(set_x(share, file, "security.capability", "x", 0), -EOPNOTSUPP);
	assert_int_equal(set_x(share, file, "system.posix_acl_access", "x", 0), -EOPNOTSUPP);
	assert_int_equal(remove_x(share, file, "system.posix_acl_access"), -EOPNOTSUPP);
}

static void links_and_special_files_have_none(void **state)
{
	static const char *const names[] = { "link", "fifo" };
	struct share *share = *state;

	assert_int_equal(symlinkat("file", share->host, "link"), 0);
	assert_int_equal(mkfifoat(share->host, "fifo", 0600), 0);
	assert_int_equal(set_x(share, file, "user.a", "of the target", 0), 0);
	for (size_t i = 0; i < 2; i++) {
		uint64_t node = inside_look_up(share, share->root, names[i]);

		assert_int_equal(get_x(share, node, "user.a"), -ENODATA);
		assert_int_equal(set_x(share, node, "user.a", "x", 0), -EPERM);
		assert_int_equal(remove_x(share, node, "user.a"), -EPERM);
		lists(share, node, "", 0);
	}
	has(share, file, "user.a", "of the target");
}

static void without_room_none_is_set_and_one_can_be_removed(void **state)
{
	struct share *share = *state;

	assert_int_equal(set_x(share, file, "user.a", "x", 0), 0);
	inside_fill_disk(share);
	assert_int_equal(set_x(share, file, "user.b", "x", 0), -ENOSPC);
	assert_int_equal(remove_x(share, file, "user.a"), 0);
	inside_empty_disk(share);
	assert_false(inside_has_xattr(share, "file", "user.b"));
	/* What was claimed is settled. */
	inside_session(share)->space.reserve = 1;
	assert_int_equal(set_x(share, file, "user.b", "x", 0), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(what_is_set_is_on_the_host_and_read_back),        TEST(making_and_replacing_are_told_apart),
		TEST(trusted_ones_are_kept_under_another_name),        TEST(the_servers_own_are_not_there),
		TEST(what_the_hosts_kernel_keeps_is_not_offered),      TEST(links_and_special_files_have_none),
		TEST(without_room_none_is_set_and_one_can_be_removed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
