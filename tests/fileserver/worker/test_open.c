/* SPDX-License-Identifier: Apache-2.0 */
/* OPEN, CREATE and TMPFILE: what is opened, what is never, and what an error leaves. */
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

#include "fileserver/worker/host/xattr-names.h"
#include "tests/fileserver/worker/inside.h"

/* Whatever a request does, nothing stays in use. */
static int tear_down(void **state)
{
	inside_is_idle(*state);
	return inside_tear_down(state);
}

static void symbolic_links_are_read_and_never_followed(void **state)
{
	struct share *share = *state;
	struct proto_entry entry, below;
	struct proto_readlink_reply link;
	uint64_t handle;

	assert_int_equal(symlinkat("/etc", share->host, "l"), 0);
	assert_int_equal(share_lookup(share, share->root, "l", &entry), 0);
	assert_true(S_ISLNK(entry.attr.mode));
	assert_int_equal(share_lookup(share, entry.node, "passwd", &below), -ENOTDIR);
	assert_int_equal(share_open(share, entry.node, PROTO_OPEN_READ, &handle), -ELOOP);
	assert_int_equal(raw_readlink(&share->raw, &(struct proto_readlink_request){ .node = entry.node }, &link), 0);
	assert_string_equal(link.target.text, "/etc");
}

static void fifos_and_devices_are_never_opened_and_never_made(void **state)
{
	struct share *share = *state;
	struct proto_entry entry;
	struct proto_mknod_reply made;
	struct proto_mknod_request request = {
		.parent = share->root, .name = raw_name("pipe2"), .mode = S_IFIFO | 0644, .owner = { 0, 0 }
	};
	struct stat st;
	uint64_t handle;

	assert_int_equal(mkfifoat(share->host, "pipe", 0644), 0);
	assert_int_equal(share_lookup(share, share->root, "pipe", &entry), 0);
	assert_int_equal(share_open(share, entry.node, PROTO_OPEN_READ, &handle), -ENXIO);
	assert_int_equal(raw_mknod(&share->raw, &request, &made), 0);
	assert_true(S_ISFIFO(made.entry.attr.mode));
	assert_int_equal(fstatat(share->host, "pipe2", &st, AT_SYMLINK_NOFOLLOW), 0);
	assert_true(S_ISREG(st.st_mode));
	request.name = raw_name("device");
	request.mode = S_IFCHR | 0600;
	request.rdev = (1 << 8) | 3;
	assert_int_equal(raw_mknod(&share->raw, &request, &made), 0);
	assert_int_equal(fstatat(share->host, "device", &st, AT_SYMLINK_NOFOLLOW), 0);
	assert_true(S_ISREG(st.st_mode));
	assert_int_equal(share_lookup(share, share->root, "device", &entry), 0);
	assert_true(S_ISCHR(entry.attr.mode));
	assert_int_equal(entry.attr.rdev, (1 << 8) | 3);
}

static void another_file_under_the_old_name_is_stale_not_served(void **state)
{
	struct share *share = *state;
	struct proto_entry entry;
	uint64_t handle;

	share_host_write(share, "a", "old");
	assert_int_equal(share_lookup(share, share->root, "a", &entry), 0);
	share_host_write(share, "new", "new");
	assert_int_equal(renameat(share->host, "new", share->host, "a"), 0);
	assert_int_equal(share_open(share, entry.node, PROTO_OPEN_READ, &handle), -ESTALE);
}

static void an_open_file_keeps_its_content_when_the_name_goes(void **state)
{
	struct share *share = *state;
	struct proto_entry entry;
	struct proto_getattr_request request = { 0 };
	struct proto_getattr_reply reply;
	uint64_t handle;
	char bytes[16];

	share_host_write(share, "a", "old");
	assert_int_equal(share_lookup(share, share->root, "a", &entry), 0);
	assert_int_equal(share_open(share, entry.node, PROTO_OPEN_READ, &handle), 0);
	share_host_write(share, "new", "something else");
	assert_int_equal(renameat(share->host, "new", share->host, "a"), 0);
	assert_int_equal(share_read(share, handle, 0, bytes, sizeof(bytes)), 3);
	assert_memory_equal(bytes, "old", 3);
	request.node = entry.node;
	assert_int_equal(raw_getattr(&share->raw, &request, &reply), 0);
	assert_int_equal(reply.attr.nlink, 0);
	/* By the node, through the descriptor that is there, when no name is meant. */
	assert_int_equal(share_open(share, entry.node, PROTO_OPEN_READ, &handle), -ESTALE);
	share->raw.flags = PROTO_FRAME_ANEW;
	assert_int_equal(share_open(share, entry.node, PROTO_OPEN_READ, &handle), 0);
	assert_int_equal(share_read(share, handle, 0, bytes, sizeof(bytes)), 3);
}

/* The content of a file from its start, by a handle of its node that was opened before. */
static void reads(struct share *share, uint64_t handle, const char *text)
{
	char bytes[64];

	assert_int_equal(share_read(share, handle, 0, bytes, sizeof(bytes)), strlen(text));
	assert_memory_equal(bytes, text, strlen(text));
}

static int open_first(struct share *share, uint64_t node, uint32_t flags, uint32_t size,
                      struct proto_open_reply *ret_reply)
{
	struct proto_open_request request = { .node = node, .flags = flags, .size = size };

	return raw_open(&share->raw, &request, ret_reply);
}

static void the_first_bytes_come_with_the_handle(void **state)
{
	struct share *share = *state;
	struct proto_open_reply reply;
	uint64_t node;

	share_host_write(share, "a", "content");
	node = inside_look_up(share, share->root, "a");
	assert_int_equal(open_first(share, node, PROTO_OPEN_READ, 4, &reply), 0);
	assert_int_equal(reply.data.length, 4);
	assert_memory_equal(reply.data.bytes, "cont", 4);
	assert_int_equal(reply.attr.size, 7);
	reads(share, reply.handle, "content");
	assert_int_equal(open_first(share, node, PROTO_OPEN_READ, PROTO_CHUNK, &reply), 0);
	assert_int_equal(reply.data.length, 7);
	assert_int_equal(open_first(share, node, PROTO_OPEN_READ, 0, &reply), 0);
	assert_int_equal(reply.data.length, 0);
	/* more than one frame holds, and of a file that is not read */
	assert_int_equal(open_first(share, node, PROTO_OPEN_READ, PROTO_CHUNK + 1, &reply), -EINVAL);
	assert_int_equal(open_first(share, node, PROTO_OPEN_WRITE, 1, &reply), -EINVAL);
}

static void truncating_empties_the_file_and_takes_setuid_away(void **state)
{
	struct share *share = *state;
	struct proto_create_reply created;
	struct proto_open_reply reply;

	assert_int_equal(share_create(share, share->root, "a", PROTO_OPEN_WRITE, 04755, &created), 0);
	assert_int_equal(created.entry.attr.mode, S_IFREG | 04755);
	assert_int_equal(share_write(share, created.handle, 0, "content", 7, 0), 7);
	assert_int_equal(open_first(share, created.entry.node, PROTO_OPEN_WRITE | PROTO_OPEN_TRUNCATE, 0, &reply), 0);
	assert_int_equal(reply.attr.size, 0);
	assert_int_equal(reply.attr.mode, S_IFREG | 0755);
	inside_holds(share, "a", "");
}

static void a_file_is_made_with_mode_and_owner(void **state)
{
	struct share *share = *state;
	struct proto_create_request request = { .parent = share->root,
		                                .name = raw_name("a"),
		                                .flags = PROTO_OPEN_READ | PROTO_OPEN_WRITE,
		                                .mode = 02741,
		                                .owner = { 1000, 50 } };
	struct proto_create_reply reply;

	assert_int_equal(raw_create(&share->raw, &request, &reply), 0);
	assert_int_equal(reply.entry.attr.mode, S_IFREG | 02741);
	assert_int_equal(reply.entry.attr.uid, 1000);
	assert_int_equal(reply.entry.attr.gid, 50);
	assert_int_equal(inside_stat(share, "a").st_mode, S_IFREG | 0741);
	assert_true(inside_has_xattr(share, "a", XATTR_NAMES_OWNERSHIP));
	assert_true(reply.parent.ino == inside_stat(share, ".").st_ino);
	assert_int_equal(inside_references(share, reply.entry.node), 1);
	assert_int_equal(share_write(share, reply.handle, 0, "x", 1, 0), 1);
	reads(share, reply.handle, "x");
}

static void a_file_that_is_there_is_opened_unless_it_must_be_new(void **state)
{
	struct share *share = *state;
	struct proto_create_reply reply;
	uint64_t node;

	share_host_write(share, "a", "content");
	node = inside_look_up(share, share->root, "a");
	assert_int_equal(share_create(share, share->root, "a", PROTO_OPEN_READ | PROTO_OPEN_EXCLUSIVE, 0600, &reply),
	                 -EEXIST);
	assert_int_equal(share_create(share, share->root, "a", PROTO_OPEN_READ, 0600, &reply), 0);
	assert_true(reply.entry.node == node);
	assert_int_equal(reply.entry.attr.mode & 07777, 0644);
	assert_int_equal(inside_references(share, node), 2);
	reads(share, reply.handle, "content");
	assert_int_equal(share_create(share, share->root, "a", PROTO_OPEN_WRITE | PROTO_OPEN_TRUNCATE, 0600, &reply),
	                 0);
	assert_int_equal(reply.entry.attr.size, 0);
	inside_holds(share, "a", "");
}

static void creating_opens_nothing_but_regular_files(void **state)
{
	struct share *share = *state;
	struct proto_create_reply reply;

	assert_int_equal(mkdirat(share->host, "d", 0755), 0);
	assert_int_equal(mkfifoat(share->host, "fifo", 0600), 0);
	assert_int_equal(symlinkat("/etc/passwd", share->host, "link"), 0);
	assert_int_equal(symlinkat("nothing", share->host, "dangling"), 0);
	assert_int_equal(share_create(share, share->root, "d", PROTO_OPEN_READ, 0600, &reply), -EISDIR);
	assert_int_equal(share_create(share, share->root, "fifo", PROTO_OPEN_READ, 0600, &reply), -ENXIO);
	assert_int_equal(share_create(share, share->root, "link", PROTO_OPEN_READ, 0600, &reply), -ELOOP);
	assert_int_equal(share_create(share, share->root, "dangling", PROTO_OPEN_WRITE, 0600, &reply), -ELOOP);
	assert_false(inside_is_there(share, "nothing"));
}

static int make_unnamed(struct share *share, uint32_t flags, struct proto_tmpfile_reply *ret_reply)
{
	struct proto_tmpfile_request request = {
		.parent = share->root, .flags = flags, .mode = 0640, .owner = { 1000, 50 }
	};

	return raw_tmpfile(&share->raw, &request, ret_reply);
}

static void a_file_without_a_name_outlives_its_handle_and_gets_one_by_link(void **state)
{
	struct share *share = *state;
	struct proto_tmpfile_reply made;
	struct proto_link_request link = { .parent = share->root, .name = raw_name("named") };
	struct proto_link_reply linked;

	if (make_unnamed(share, PROTO_OPEN_READ | PROTO_OPEN_WRITE, &made) == -EOPNOTSUPP)
		skip();
	assert_int_equal(made.entry.attr.mode, S_IFREG | 0640);
	assert_int_equal(made.entry.attr.nlink, 0);
	assert_int_equal(made.entry.attr.uid, 1000);
	assert_int_equal(share_write(share, made.handle, 0, "content", 7, 0), 7);
	assert_true(inside_has_descriptor(share, made.entry.node));
	raw_release(&share->raw, &(struct proto_release_request){ made.handle }, &(struct proto_release_reply){});
	link.node = made.entry.node;
	assert_int_equal(raw_link(&share->raw, &link, &linked), 0);
	assert_true(linked.entry.node == made.entry.node);
	inside_holds(share, "named", "content");
}

/* The budget of descriptors is spent by handles: what was made goes again, and what was there stays. */
static void without_a_handle_nothing_stays(void **state)
{
	struct share *share = *state;
	struct proto_create_reply reply;
	struct proto_tmpfile_reply unnamed;
	uint64_t node, handle, nodes;

	share_host_write(share, "a", "content");
	node = inside_look_up(share, share->root, "a");
	for (int i = 0; i < 3; i++)
		(void) inside_open(share, node, PROTO_OPEN_READ);
	nodes = proto_counter_get(&share->counters.nodes);
	assert_int_equal(share_open(share, node, PROTO_OPEN_READ, &handle), -ENFILE);
	assert_int_equal(share_create(share, share->root, "new", PROTO_OPEN_WRITE, 0600, &reply), -ENFILE);
	assert_false(inside_is_there(share, "new"));
	assert_int_equal(share_create(share, share->root, "a", PROTO_OPEN_WRITE, 0600, &reply), -ENFILE);
	inside_holds(share, "a", "content");
	assert_int_equal(inside_references(share, node), 1);
	assert_true(make_unnamed(share, PROTO_OPEN_WRITE, &unnamed) < 0);
	assert_int_equal(proto_counter_get(&share->counters.nodes), nodes);
}

static int set_up_small(void **state)
{
	*state = share_new(0, 3);
	return *state == NULL ? -1 : 0;
}

static void without_room_what_is_there_is_opened_and_nothing_is_made(void **state)
{
	struct share *share = *state;
	struct proto_create_reply reply;
	struct proto_tmpfile_reply unnamed;

	share_host_write(share, "a", "content");
	inside_fill_disk(share);
	assert_int_equal(share_create(share, share->root, "new", PROTO_OPEN_WRITE, 0600, &reply), -ENOSPC);
	assert_int_equal(make_unnamed(share, PROTO_OPEN_WRITE, &unnamed), -ENOSPC);
	assert_int_equal(share_create(share, share->root, "a", PROTO_OPEN_READ, 0600, &reply), 0);
	reads(share, reply.handle, "content");
	inside_empty_disk(share);
	assert_false(inside_is_there(share, "new"));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, inside_set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(symbolic_links_are_read_and_never_followed),
		TEST(fifos_and_devices_are_never_opened_and_never_made),
		TEST(another_file_under_the_old_name_is_stale_not_served),
		TEST(an_open_file_keeps_its_content_when_the_name_goes),
		TEST(the_first_bytes_come_with_the_handle),
		TEST(truncating_empties_the_file_and_takes_setuid_away),
		TEST(a_file_is_made_with_mode_and_owner),
		TEST(a_file_that_is_there_is_opened_unless_it_must_be_new),
		TEST(creating_opens_nothing_but_regular_files),
		TEST(a_file_without_a_name_outlives_its_handle_and_gets_one_by_link),
		cmocka_unit_test_setup_teardown(without_a_handle_nothing_stays, set_up_small, tear_down),
		TEST(without_room_what_is_there_is_opened_and_nothing_is_made),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
