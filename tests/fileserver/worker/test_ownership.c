/* SPDX-License-Identifier: Apache-2.0 */
/* What a guest sees of owners and modes, what it may record, and what never reaches the host. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cmocka.h>

#include "fileserver/worker/host/lift.h"
#include "fileserver/worker/host/ownership.h"
#include "fileserver/worker/host/xattr-names.h"
#include "tests/support/share.h"

static int set_up(void **state)
{
	*state = share_new(0, 1000);
	return *state == NULL ? -1 : 0;
}

static int tear_down(void **state)
{
	share_free(*state);
	return 0;
}

static int set_up_unprivileged(void **state)
{
	return share_become_unprivileged() < 0 ? -1 : set_up(state);
}

static void setuid_setgid_and_sticky_never_reach_the_host(void **state)
{
	struct share *share = *state;
	struct proto_create_reply created;
	struct proto_setattr_request request = { 0 };
	struct proto_setattr_reply reply;
	struct proto_getattr_reply after;
	struct stat st;

	assert_int_equal(share_create(share, share->root, "a", PROTO_OPEN_WRITE, 06755, &created), 0);
	assert_int_equal(created.entry.attr.mode, S_IFREG | 06755);
	request.node = created.entry.node;
	request.set = (struct proto_setattr){ .valid = PROTO_SET_MODE, .mode = 07711 };
	assert_int_equal(raw_setattr(&share->raw, &request, &reply), 0);
	assert_int_equal(reply.attr.mode & 07777, 07711);
	assert_int_equal(fstatat(share->host, "a", &st, 0), 0);
	assert_int_equal(st.st_mode & 07777, 0711);
	/* writing takes them away, in the view */
	assert_int_equal(share_write(share, created.handle, 0, "x", 1, PROTO_WRITE_KILL_PRIVILEGES), 1);
	assert_int_equal(raw_getattr(&share->raw, &(struct proto_getattr_request){ .node = request.node }, &after), 0);
	assert_int_equal(after.attr.mode & 07777, 01711);
}

static void chown_is_remembered_and_the_record_goes_when_it_is_not_needed(void **state)
{
	struct share *share = *state;
	struct proto_create_reply created;
	struct proto_setattr_request request = { 0 };
	struct proto_setattr_reply reply;
	struct proto_entry entry;
	char path[128], value[64];

	assert_int_equal(share_create(share, share->root, "a", PROTO_OPEN_WRITE, 0644, &created), 0);
	snprintf(path, sizeof(path), "%s/a", share->directory);
	assert_int_equal(getxattr(path, XATTR_NAMES_OWNERSHIP, value, sizeof(value)), -1);
	request.node = created.entry.node;
	request.set = (struct proto_setattr){ .valid = PROTO_SET_UID | PROTO_SET_GID, .uid = 1000, .gid = 50 };
	assert_int_equal(raw_setattr(&share->raw, &request, &reply), 0);
	assert_int_equal(reply.attr.uid, 1000);
	assert_int_equal(share_lookup(share, share->root, "a", &entry), 0);
	assert_int_equal(entry.attr.gid, 50);
	assert_true(getxattr(path, XATTR_NAMES_OWNERSHIP, value, sizeof(value)) > 0);
	assert_memory_equal(value, "1000:50:0644:file", 17);
	request.set = (struct proto_setattr){ .valid = PROTO_SET_UID | PROTO_SET_GID };
	assert_int_equal(raw_setattr(&share->raw, &request, &reply), 0);
	assert_int_equal(getxattr(path, XATTR_NAMES_OWNERSHIP, value, sizeof(value)), -1);
}

static void the_private_xattr_is_hidden_from_every_call(void **state)
{
	struct share *share = *state;
	struct proto_name name = raw_name(XATTR_NAMES_OWNERSHIP), other = raw_name("user.other");
	struct proto_getxattr_reply got;
	struct proto_setxattr_reply set;
	struct proto_listxattr_reply list;
	struct proto_removexattr_reply removed;
	struct proto_entry entry;
	char path[128];

	share_host_write(share, "a", "x");
	snprintf(path, sizeof(path), "%s/a", share->directory);
	assert_int_equal(setxattr(path, XATTR_NAMES_OWNERSHIP, "1:2:0644", 8, 0), 0);
	assert_int_equal(setxattr(path, "user.other", "v", 1, 0), 0);
	assert_int_equal(share_lookup(share, share->root, "a", &entry), 0);
	assert_int_equal(entry.attr.uid, 1);
	assert_int_equal(
	        raw_getxattr(&share->raw, &(struct proto_getxattr_request){ .node = entry.node, .name = name }, &got),
	        -ENODATA);
	assert_int_equal(
	        raw_setxattr(&share->raw,
	                     &(struct proto_setxattr_request){ .node = entry.node, .name = name, .value = { 1, "x" } },
	                     &set),
	        -EPERM);
	assert_int_equal(raw_removexattr(&share->raw,
	                                 &(struct proto_removexattr_request){ .node = entry.node, .name = name },
	                                 &removed),
	                 -ENODATA);
	assert_int_equal(raw_listxattr(&share->raw, &(struct proto_listxattr_request){ .node = entry.node }, &list), 0);
	assert_int_equal(list.names.length, 11);
	assert_memory_equal(list.names.bytes, "user.other", 11);
	assert_int_equal(
	        raw_getxattr(&share->raw, &(struct proto_getxattr_request){ .node = entry.node, .name = other }, &got),
	        0);
	assert_memory_equal(got.value.bytes, "v", 1);
}

static void a_hostile_record_widens_nothing(void **state)
{
	struct share *share = *state;
	static const char *const records[] = {
		"0:0:0777:file",   "0:0:04777", "0:0:0666:char-1-1", "-1:0:0777", "4294967295:0:0777",
		"0:0:99999999999", "::",        "0:0:0777:nonsense"
	};
	struct proto_entry entry;
	char path[128];

	share_host_write(share, "a", "x");
	assert_int_equal(fchmodat(share->host, "a", 0600, 0), 0);
	snprintf(path, sizeof(path), "%s/a", share->directory);
	for (size_t i = 0; i < sizeof(records) / sizeof(records[0]); i++) {
		assert_int_equal(setxattr(path, XATTR_NAMES_OWNERSHIP, records[i], strlen(records[i]), 0), 0);
		assert_int_equal(share_lookup(share, share->root, "a", &entry), 0);
		assert_int_equal(entry.attr.mode & 0777, 0600);
		assert_true(S_ISREG(entry.attr.mode)); /* with content it stays a file */
	}
}

static void the_owners_own_mode_bits_are_lifted_for_the_moment_and_put_back(void **state)
{
	struct share *share = *state;
	struct proto_create_reply created;
	struct proto_entry entry, directory;
	struct proto_unlink_reply removed;
	struct stat st;
	uint64_t handle;

	if (!lift_possible(geteuid()))
		skip();
	assert_int_equal(share_create(share, share->root, "ro", PROTO_OPEN_WRITE, 0444, &created), 0);
	assert_int_equal(share_open(share, created.entry.node, PROTO_OPEN_WRITE, &handle), 0);
	assert_int_equal(fstatat(share->host, "ro", &st, 0), 0);
	assert_int_equal(st.st_mode & 07777, 0444);
	assert_int_equal(mkdirat(share->host, "d", 0755), 0);
	share_host_write(share, "d/f", "x");
	assert_int_equal(fchmodat(share->host, "d", 0555, 0), 0);
	assert_int_equal(share_lookup(share, share->root, "d", &directory), 0);
	assert_int_equal(share_lookup(share, directory.node, "f", &entry), 0);
	assert_int_equal(raw_unlink(&share->raw,
	                            &(struct proto_unlink_request){ .parent = directory.node, .name = raw_name("f") },
	                            &removed),
	                 0);
	assert_true(removed.node == entry.node);
	assert_int_equal(fstatat(share->host, "d", &st, 0), 0);
	assert_int_equal(st.st_mode & 07777, 0555);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(setuid_setgid_and_sticky_never_reach_the_host),
		TEST(chown_is_remembered_and_the_record_goes_when_it_is_not_needed),
		TEST(the_private_xattr_is_hidden_from_every_call),
		TEST(a_hostile_record_widens_nothing),
		cmocka_unit_test_setup_teardown(the_owners_own_mode_bits_are_lifted_for_the_moment_and_put_back,
		                                set_up_unprivileged, share_tear_down_unprivileged),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
