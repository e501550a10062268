/* SPDX-License-Identifier: Apache-2.0 */
/* Data lanes: how many, which numbers, and what happens to them when the share becomes read-only. */
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

#include "tests/fileserver/worker/inside.h"

/* Whatever a request does, nothing stays in use. */
static int tear_down(void **state)
{
	inside_is_idle(*state);
	return inside_tear_down(state);
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

static uint64_t lanes(struct share *share)
{
	return atomic_load(&share->counters.lanes);
}

/* A lane ends on its own thread, a moment after its connection. */
static void wait_for(struct share *share, uint64_t wanted)
{
	for (int waited = 0; lanes(share) != wanted && waited < 10000; waited++)
		usleep(1000);
	assert_int_equal(lanes(share), wanted);
}

static int refused(struct share *share, struct proto_refuse_request *ret_refuse)
{
	struct proto_header header;
	struct proto_reader reader;
	static struct raw raw;
	int fds[2], r;

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	assert_int_equal(raw_init(&raw, fds[0]), 0);
	r = lanes_add(share->service, fds[1], 5);
	assert_int_equal(proto_channel_next(&raw.channel, &header, &reader), 0);
	assert_int_equal(header.op, PROTO_REFUSE);
	assert_int_equal(proto_decode_refuse_request(&reader, ret_refuse), 0);
	assert_true(raw_closed(&raw, 5000));
	raw_done(&raw);
	return r;
}

static void a_lane_too_many_is_told_so(void **state)
{
	struct share *share = *state;
	struct proto_refuse_request refuse;

	inside_session(share)->config.lanes_max = 1;
	assert_int_equal(refused(share, &refuse), -ENOSPC);
	assert_int_equal(refuse.code, PROTO_REFUSE_LIMIT);
	assert_int_equal(lanes(share), 1);
}

static void a_lanes_number_is_used_again(void **state)
{
	struct share *share = *state;
	struct proto_lane_state_reply state_;
	struct proto_entry none;
	static struct raw second;

	assert_int_equal(lanes(share), 1);
	assert_int_equal(share_add_lane(share, &second), 0);
	assert_int_equal(lanes(share), 2);
	raw_done(&second);
	wait_for(share, 1);
	assert_int_equal(share_lookup(share, share->root, "none", &none), -ENOENT);
	assert_int_equal(share_add_lane(share, &second), 0);
	lanes_state(share->service, 2, &state_);
	assert_int_equal(state_.last, 0);
	assert_int_equal(raw_getattr(&second, &(struct proto_getattr_request){ .node = share->root },
	                             &(struct proto_getattr_reply){}),
	                 0);
	lanes_state(share->service, 2, &state_);
	assert_int_equal(state_.last, second.id);
	lanes_state(share->service, 3, &state_);
	assert_int_equal(state_.last, 0);
	lanes_state(share->service, UINT32_MAX, &state_);
	assert_int_equal(state_.last, 0);
	raw_done(&second);
	wait_for(share, 1);
}

static void a_session_that_has_ended_takes_no_lane(void **state)
{
	struct share *share = *state;
	struct proto_refuse_request refuse;

	service_end(share->service, PROTO_GOODBYE_DONE, "");
	assert_true(refused(share, &refuse) < 0);
	wait_for(share, 0);
}

static void an_idle_share_becomes_read_only_at_once(void **state)
{
	struct share *share = *state;
	struct proto_create_reply reply;

	assert_true(lanes_make_read_only(share->service, 0));
	assert_true(session_is_read_only(inside_session(share)));
	assert_int_equal(share_create(share, share->root, "a", PROTO_OPEN_WRITE, 0600, &reply), -EROFS);
	assert_true(lanes_make_read_only(share->service, 0));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, inside_set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_share_that_becomes_read_only_refuses_what_is_open_for_writing),
		TEST(a_write_that_is_under_way_when_the_share_becomes_read_only_is_waited_for),
		TEST(lanes_beyond_the_limit_are_refused_and_the_others_go_on),
		TEST(a_lane_too_many_is_told_so),
		TEST(a_lanes_number_is_used_again),
		TEST(a_session_that_has_ended_takes_no_lane),
		TEST(an_idle_share_becomes_read_only_at_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
