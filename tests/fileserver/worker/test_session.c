/* SPDX-License-Identifier: Apache-2.0 */
/* A session's handlers over a raw lane: effects on the host's files, and what a guest may not do. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/support/share.h"

static int set_up(void **state)
{
	*state = share_new(0, 1000);
	return *state == NULL ? -1 : 0;
}

static int set_up_read_only(void **state)
{
	*state = share_new(PROTO_HELLO_READ_ONLY, 1000);
	return *state == NULL ? -1 : 0;
}

static int set_up_small(void **state)
{
	*state = share_new(0, 4);
	return *state == NULL ? -1 : 0;
}

static int tear_down(void **state)
{
	share_free(*state);
	return 0;
}

static void what_is_written_is_on_the_host_and_reads_back(void **state)
{
	struct share *share = *state;
	struct proto_create_reply created;
	char bytes[64];
	struct stat st;
	int fd;

	assert_int_equal(share_create(share, share->root, "new", PROTO_OPEN_READ | PROTO_OPEN_WRITE, 0640, &created),
	                 0);
	assert_int_equal(share_write(share, created.handle, 3, "hello", 5, 0), 5);
	assert_int_equal(share_read(share, created.handle, 0, bytes, sizeof(bytes)), 8);
	assert_memory_equal(bytes, "\0\0\0hello", 8);
	fd = openat(share->host, "new", O_RDONLY);
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(st.st_mode, S_IFREG | 0640);
	assert_int_equal(read(fd, bytes, sizeof(bytes)), 8);
	assert_memory_equal(bytes, "\0\0\0hello", 8);
	close(fd);
}

static void transfers_of_a_mebibyte_arrive_whole_in_both_directions(void **state)
{
	struct share *share = *state;
	struct proto_create_reply created;
	uint8_t *out = malloc(PROTO_DATA_MAX), *in = malloc(PROTO_DATA_MAX);

	for (size_t i = 0; i < PROTO_DATA_MAX; i++)
		out[i] = (uint8_t) (i * 2654435761U >> 13);
	assert_int_equal(share_create(share, share->root, "big", PROTO_OPEN_READ | PROTO_OPEN_WRITE, 0644, &created),
	                 0);
	assert_int_equal(share_write(share, created.handle, 0, out, PROTO_DATA_MAX, 0), PROTO_DATA_MAX);
	assert_int_equal(share_read(share, created.handle, 0, in, PROTO_DATA_MAX), PROTO_DATA_MAX);
	assert_memory_equal(in, out, PROTO_DATA_MAX);
	/* ends in the middle of a frame, at a frame's end, and before it begins */
	assert_int_equal(share_read(share, created.handle, PROTO_DATA_MAX - 1000, in, PROTO_DATA_MAX), 1000);
	assert_int_equal(share_read(share, created.handle, PROTO_DATA_MAX - PROTO_CHUNK, in, PROTO_DATA_MAX),
	                 PROTO_CHUNK);
	assert_int_equal(share_read(share, created.handle, PROTO_DATA_MAX, in, PROTO_DATA_MAX), 0);
	free(out);
	free(in);
}

static void appending_goes_to_the_end_that_the_host_has(void **state)
{
	struct share *share = *state;
	struct proto_create_reply created;
	char bytes[32];

	share_host_write(share, "log", "host line\n");
	assert_int_equal(share_create(share, share->root, "log", PROTO_OPEN_READ | PROTO_OPEN_WRITE, 0644, &created),
	                 0);
	assert_int_equal(share_write(share, created.handle, 0, "guest\n", 6, PROTO_WRITE_APPEND), 6);
	assert_int_equal(share_read(share, created.handle, 0, bytes, sizeof(bytes)), 16);
	assert_memory_equal(bytes, "host line\nguest\n", 16);
}

static void an_object_has_one_node_whatever_its_names(void **state)
{
	struct share *share = *state;
	struct proto_entry first, second;

	share_host_write(share, "a", "x");
	assert_int_equal(linkat(share->host, "a", share->host, "b", 0), 0);
	assert_int_equal(share_lookup(share, share->root, "a", &first), 0);
	assert_int_equal(share_lookup(share, share->root, "b", &second), 0);
	assert_true(first.node == second.node);
	assert_int_equal(second.attr.nlink, 2);
}

static void a_node_that_was_forgotten_is_stale_and_its_number_is_not_given_again(void **state)
{
	struct share *share = *state;
	struct proto_entry first, second;
	struct proto_getattr_request request = { 0 };
	struct proto_getattr_reply reply;

	share_host_write(share, "a", "x");
	share_host_write(share, "b", "y");
	assert_int_equal(share_lookup(share, share->root, "a", &first), 0);
	share_forget(share, first.node, 1);
	assert_int_equal(share_lookup(share, share->root, "b", &second), 0);
	assert_true(first.node != second.node);
	request.node = first.node;
	assert_int_equal(raw_getattr(&share->raw, &request, &reply), -ESTALE);
}

static void forgetting_more_than_there_is_harms_nobody(void **state)
{
	struct share *share = *state;
	struct proto_entry entry, again;

	share_host_write(share, "a", "x");
	assert_int_equal(share_lookup(share, share->root, "a", &entry), 0);
	share_forget(share, entry.node, UINT64_MAX);
	share_forget(share, entry.node, 1);
	share_forget(share, share->root, UINT64_MAX);
	share_forget(share, 0, 1);
	share_forget(share, UINT64_MAX, 1);
	assert_int_equal(share_lookup(share, share->root, "a", &again), 0);
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

static void descriptors_stay_within_the_budget_and_names_bring_them_back(void **state)
{
	struct share *share = *state;
	struct proto_entry entries[20], deep;
	char name[16];

	for (int i = 0; i < 20; i++) {
		snprintf(name, sizeof(name), "d%d", i);
		assert_int_equal(mkdirat(share->host, name, 0755), 0);
		strcat(name, "/sub");
		assert_int_equal(mkdirat(share->host, name, 0755), 0);
	}
	for (int i = 0; i < 20; i++) {
		snprintf(name, sizeof(name), "d%d", i);
		assert_int_equal(share_lookup(share, share->root, name, &entries[i]), 0);
		assert_int_equal(share_lookup(share, entries[i].node, "sub", &entries[i]), 0);
		assert_true(proto_counter_get(&share->counters.descriptors) <= 4);
	}
	for (int i = 0; i < 20; i++)
		assert_int_equal(share_lookup(share, entries[i].node, "nothing", &deep), -ENOENT);
	assert_true(proto_counter_get(&share->counters.descriptors) <= 4);
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

static void a_read_only_share_refuses_every_operation_that_changes_something(void **state)
{
	struct share *share = *state;
	struct proto_entry entry;
	struct proto_create_reply created;
	uint64_t handle;

	share_host_write(share, "a", "x");
	assert_int_equal(share_lookup(share, share->root, "a", &entry), 0);
	assert_int_equal(share_open(share, entry.node, PROTO_OPEN_WRITE, &handle), -EROFS);
	assert_int_equal(share_open(share, entry.node, PROTO_OPEN_READ | PROTO_OPEN_TRUNCATE, &handle), -EROFS);
	assert_int_equal(share_create(share, share->root, "b", PROTO_OPEN_READ, 0644, &created), -EROFS);
	assert_int_equal(share_open(share, entry.node, PROTO_OPEN_READ, &handle), 0);
	assert_int_equal(faccessat(share->host, "b", F_OK, 0), -1);
}

static void a_share_that_becomes_read_only_refuses_what_is_open_for_writing(void **state)
{
	struct share *share = *state;
	struct proto_create_reply created, other;
	static struct raw late;
	char bytes[8];
	struct stat st;

	assert_int_equal(share_create(share, share->root, "a", PROTO_OPEN_READ | PROTO_OPEN_WRITE, 0644, &created), 0);
	assert_int_equal(share_write(share, created.handle, 0, "old", 3, 0), 3);
	assert_true(lanes_make_read_only(share->service, 1000));
	assert_int_equal(share_write(share, created.handle, 0, "new", 3, 0), -EROFS);
	assert_int_equal(share_write(share, created.handle, 0, "new", 3, PROTO_WRITE_APPEND), -EROFS);
	assert_int_equal(share_create(share, share->root, "b", PROTO_OPEN_READ, 0644, &other), -EROFS);
	assert_int_equal(share_open(share, created.entry.node, PROTO_OPEN_READ | PROTO_OPEN_TRUNCATE, &other.handle),
	                 -EROFS);
	assert_int_equal(share_read(share, created.handle, 0, bytes, 8), 3);
	assert_memory_equal(bytes, "old", 3);
	assert_int_equal(share_add_lane(share, &late), 0);
	raw_done(&late);
	assert_int_equal(fstatat(share->host, "a", &st, 0), 0);
	assert_int_equal(st.st_size, 3);
}

/* Sends the first half of a write of a MiB, which a guest may do and then wait. */
static size_t send_half_a_write(struct share *share, uint64_t handle, uint8_t *memory, size_t size)
{
	struct proto_header header = { .op = PROTO_WRITE, .id = 77 };
	struct proto_write_request request = { .handle = handle,
		                               .data = { .length = PROTO_DATA_MAX, .available = PROTO_DATA_MAX } };
	struct proto_writer writer;
	size_t fields;

	request.data.bytes = memory;
	proto_writer_init(&writer, memory, 64);
	assert_int_equal(proto_encode_write_request(&writer, &request), 0);
	fields = (size_t) (writer.next - writer.start);
	header.length = (uint32_t) (fields + PROTO_DATA_MAX);
	assert_int_equal(raw_frame(&share->raw, &header, memory, size), 0);
	return header.length - size;
}

static void a_write_that_is_under_way_when_the_share_becomes_read_only_is_waited_for(void **state)
{
	static uint8_t memory[PROTO_DATA_MAX + 64];
	struct share *share = *state;
	struct proto_create_reply created;
	struct proto_header header;
	struct proto_reader reader;
	size_t rest;

	assert_int_equal(share_create(share, share->root, "a", PROTO_OPEN_WRITE, 0644, &created), 0);
	rest = send_half_a_write(share, created.handle, memory, PROTO_DATA_MAX / 2);
	while (atomic_load(&share->service->lanes[1]->busy) == 0)
		usleep(1000);
	/* The broker kills the worker then. */
	assert_false(lanes_make_read_only(share->service, 100));
	assert_int_equal(raw_bytes(&share->raw, memory, rest), 0);
	assert_int_equal(proto_channel_next(&share->raw.channel, &header, &reader), 0);
	assert_int_equal(header.status, 0);
	assert_true(lanes_make_read_only(share->service, 1000));
	assert_int_equal(share_write(share, created.handle, 0, "new", 3, 0), -EROFS);
}

/* Every row that is marked as changing something, with a request of zeros: the mark decides before the handler looks.
 */
static void the_table_alone_decides_what_a_read_only_share_refuses(void **state)
{
	struct share *share = *state;

	for (unsigned op = 0; op < PROTO_OP_LIMIT; op++) {
		const struct proto_op_info *info = proto_op_info(op);
		struct proto_header header = { .op = (uint16_t) op, .id = 99 }, reply;
		struct proto_writer writer;
		struct proto_reader reader;
		uint8_t memory[8192];
		int r = -1;

		if (info == NULL || info->changes != PROTO_CHANGES_YES)
			continue;
		proto_writer_init(&writer, memory, sizeof(memory));
		switch (op) {
#define OP(SYMBOL, op_, number, lane, from, changes, replay, doc) case number:
#define REQUEST(op_)                                                                                                   \
	{                                                                                                              \
		struct proto_##op_##_request request;                                                                  \
		memset(&request, 0, sizeof(request));                                                                  \
		r = proto_encode_##op_##_request(&writer, &request);
#define REPLY(op_)                                                                                                     \
	break;                                                                                                         \
	}
#include "protocol/ops.def"
		}
		/* Names of zeros are refused when they are encoded; that row has its handler's test above. */
		if (r != 0)
			continue;
		assert_int_equal(proto_channel_send(&share->raw.channel, &header, &writer), 0);
		assert_int_equal(proto_channel_next(&share->raw.channel, &reply, &reader), 0);
		if (reply.status != EROFS && reply.status != EINVAL)
			fail_msg("%s answered %d", info->name, reply.status);
	}
}

static void every_entry_of_a_large_directory_is_listed_once(void **state)
{
	struct share *share = *state;
	struct proto_opendir_reply opened;
	struct proto_readdir_reply more = { 0 };
	struct proto_reader reader;
	struct proto_dirent entry = { 0 };
	static char seen[6000];
	int requests = 1, number, count = 0;
	bool end;

	memset(seen, 0, sizeof(seen));
	for (int i = 0; i < 6000; i++) {
		char name[32];

		snprintf(name, sizeof(name), "file%d", i);
		share_host_write(share, name, "");
	}
	assert_int_equal(raw_opendir(&share->raw,
	                             &(struct proto_opendir_request){ .node = share->root, .size = PROTO_CHUNK + 5000 },
	                             &opened),
	                 0);
	end = opened.end != 0;
	proto_reader_init(&reader, opened.entries.bytes, opened.entries.length, opened.entries.length);
	for (;;) {
		while (reader.next < reader.end) {
			proto_get_dirent(&reader, &entry);
			assert_int_equal(reader.error, 0);
			if (entry.node == 0)
				continue;
			assert_int_equal(sscanf(entry.name.text, "file%d", &number), 1);
			assert_int_equal(seen[number], 0);
			seen[number] = 1;
			count++;
		}
		if (end)
			break;
		assert_int_equal(raw_readdir(&share->raw,
		                             &(struct proto_readdir_request){ .handle = opened.handle,
		                                                              .cookie = entry.cookie,
		                                                              .size = PROTO_CHUNK + 5000 },
		                             &more),
		                 0);
		end = more.end != 0;
		requests++;
		proto_reader_init(&reader, more.entries.bytes, more.entries.length, more.entries.length);
	}
	assert_int_equal(count, 6000);
	assert_true(requests <= 4);
}

static void a_rename_moves_the_node_and_not_what_it_is(void **state)
{
	struct share *share = *state;
	struct proto_entry a, b, again;
	struct proto_rename_reply reply;
	struct proto_rename_request request = {
		.parent = share->root, .name = raw_name("a"), .new_parent = share->root, .new_name = raw_name("b")
	};

	share_host_write(share, "a", "a");
	share_host_write(share, "b", "b");
	assert_int_equal(share_lookup(share, share->root, "a", &a), 0);
	assert_int_equal(share_lookup(share, share->root, "b", &b), 0);
	request.flags = PROTO_RENAME_NOREPLACE;
	assert_int_equal(raw_rename(&share->raw, &request, &reply), -EEXIST);
	request.flags = PROTO_RENAME_EXCHANGE;
	assert_int_equal(raw_rename(&share->raw, &request, &reply), 0);
	assert_true(reply.node == a.node && reply.replaced == b.node);
	assert_int_equal(share_lookup(share, share->root, "a", &again), 0);
	assert_true(again.node == b.node);
	request.flags = 0;
	assert_int_equal(raw_rename(&share->raw, &request, &reply), 0);
	assert_true(reply.node == b.node && reply.replaced == a.node);
}

static void bytes_that_make_no_sense_end_the_session(void **state)
{
	struct share *share = *state;
	struct proto_header header = { .op = PROTO_LOOKUP, .id = 5, .length = 3 };

	assert_int_equal(raw_frame(&share->raw, &header, "abc", 3), 0);
	assert_true(raw_closed(&share->raw, 5000));
	assert_int_equal(raw_wait_goodbye(&share->event), PROTO_GOODBYE_PROTOCOL);
}

static void a_second_request_before_the_reply_ends_the_session(void **state)
{
	struct share *share = *state;
	struct proto_header header = { .op = PROTO_STATFS, .id = 5, .length = 8 };
	uint8_t bytes[2 * (PROTO_HEADER_SIZE + 8)] = { 0 };

	proto_header_encode(bytes, &header);
	proto_header_encode(bytes + PROTO_HEADER_SIZE + 8, &header);
	assert_int_equal(raw_bytes(&share->raw, bytes, sizeof(bytes)), 0);
	assert_true(raw_closed(&share->raw, 5000));
}

static void operations_on_the_wrong_lane_end_the_session(void **state)
{
	struct share *share = *state;
	struct proto_ping_reply pong;

	assert_int_equal(raw_ping(&share->event, &(struct proto_ping_request){ .sequence = 8 }, &pong), 0);
	assert_true(pong.sequence == 8);
	assert_true(raw_ping(&share->raw, &(struct proto_ping_request){ .sequence = 8 }, &pong) < 0);
	assert_int_equal(raw_wait_goodbye(&share->event), PROTO_GOODBYE_PROTOCOL);
}

static void lanes_beyond_the_limit_are_refused_and_the_others_go_on(void **state)
{
	struct share *share = *state;
	static struct raw raws[8];
	struct proto_entry entry;
	int added = 0;

	while (added < 8 && share_add_lane(share, &raws[added]) == 0)
		added++;
	assert_int_equal(added, 7);
	assert_int_equal(share_lookup(share, share->root, "none", &entry), -ENOENT);
	for (int i = 0; i < 8; i++)
		raw_done(&raws[i]);
}

static void numbers_at_the_edge_are_errors_and_not_wraps(void **state)
{
	struct share *share = *state;
	struct proto_create_reply created;
	struct proto_fallocate_reply allocated;
	char bytes[8];

	assert_int_equal(share_create(share, share->root, "a", PROTO_OPEN_READ | PROTO_OPEN_WRITE, 0644, &created), 0);
	assert_int_equal(share_read(share, created.handle, INT64_MAX, bytes, 8), -EINVAL);
	assert_int_equal(share_read(share, created.handle, 0, bytes, UINT32_MAX), -EINVAL);
	assert_int_equal(share_write(share, created.handle, INT64_MAX, "abc", 3, 0), -EFBIG);
	assert_int_equal(raw_fallocate(&share->raw,
	                               &(struct proto_fallocate_request){
	                                       .handle = created.handle, .offset = INT64_MAX, .length = INT64_MAX },
	                               &allocated),
	                 -EFBIG);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(what_is_written_is_on_the_host_and_reads_back),
		TEST(transfers_of_a_mebibyte_arrive_whole_in_both_directions),
		TEST(appending_goes_to_the_end_that_the_host_has),
		TEST(an_object_has_one_node_whatever_its_names),
		TEST(a_node_that_was_forgotten_is_stale_and_its_number_is_not_given_again),
		TEST(forgetting_more_than_there_is_harms_nobody),
		TEST(another_file_under_the_old_name_is_stale_not_served),
		TEST(an_open_file_keeps_its_content_when_the_name_goes),
		cmocka_unit_test_setup_teardown(descriptors_stay_within_the_budget_and_names_bring_them_back,
		                                set_up_small, tear_down),
		cmocka_unit_test_setup_teardown(more_handles_than_the_budget_holds_are_refused, set_up_small,
		                                tear_down),
		TEST(handles_do_what_they_were_opened_for_and_no_more),
		TEST(symbolic_links_are_read_and_never_followed),
		TEST(fifos_and_devices_are_never_opened_and_never_made),
		cmocka_unit_test_setup_teardown(a_read_only_share_refuses_every_operation_that_changes_something,
		                                set_up_read_only, tear_down),
		cmocka_unit_test_setup_teardown(the_table_alone_decides_what_a_read_only_share_refuses,
		                                set_up_read_only, tear_down),
		TEST(a_share_that_becomes_read_only_refuses_what_is_open_for_writing),
		TEST(a_write_that_is_under_way_when_the_share_becomes_read_only_is_waited_for),
		TEST(every_entry_of_a_large_directory_is_listed_once),
		TEST(a_rename_moves_the_node_and_not_what_it_is),
		TEST(bytes_that_make_no_sense_end_the_session),
		TEST(a_second_request_before_the_reply_ends_the_session),
		TEST(operations_on_the_wrong_lane_end_the_session),
		TEST(lanes_beyond_the_limit_are_refused_and_the_others_go_on),
		TEST(numbers_at_the_edge_are_errors_and_not_wraps),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
