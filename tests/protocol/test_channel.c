/* SPDX-License-Identifier: Apache-2.0 */
/* Frames over a socket pair: whole, in pieces, cut, stalled, too long; headers that no peer may send. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "protocol/channel.h"

enum { STALL_MS = 100, SMALL = 4096 };

struct pair {
	struct proto_channel channel;
	int peer;
};

static int set_up(void **state)
{
	static struct pair pair;
	int fds[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0 ||
	    proto_channel_init(&pair.channel, fds[0], PROTO_CHUNK, STALL_MS) < 0)
		return -1;
	pair.peer = fds[1];
	*state = &pair;
	return 0;
}

static int tear_down(void **state)
{
	struct pair *pair = *state;

	proto_channel_done(&pair->channel);
	if (pair->peer >= 0)
		close(pair->peer);
	return 0;
}

static size_t ping_frame(uint8_t *bytes, uint64_t id)
{
	struct proto_header header = { .length = 8, .op = PROTO_PING, .id = id };

	proto_header_encode(bytes, &header);
	memset(bytes + PROTO_HEADER_SIZE, 0x5a, 8);
	return PROTO_HEADER_SIZE + 8;
}

static void send_all(int fd, const void *bytes, size_t size)
{
	assert_int_equal(write(fd, bytes, size), size);
}

static void frames_that_arrive_together_come_out_one_by_one(void **state)
{
	struct pair *pair = *state;
	uint8_t bytes[200];
	size_t size = 0;
	struct proto_header header;
	struct proto_reader reader;
	struct proto_ping_request ping;

	for (uint64_t id = 1; id <= 3; id++)
		size += ping_frame(bytes + size, id);
	send_all(pair->peer, bytes, size);
	for (uint64_t id = 1; id <= 3; id++) {
		assert_int_equal(proto_channel_next(&pair->channel, &header, &reader), 0);
		assert_int_equal(header.id, id);
		assert_int_equal(proto_decode_ping_request(&reader, &ping), 0);
		assert_int_equal(ping.sequence, 0x5a5a5a5a5a5a5a5a);
	}
	assert_int_equal(proto_channel_next(&pair->channel, &header, &reader), -EAGAIN);
}

static void *send_slowly(void *argument)
{
	struct pair *pair = argument;
	uint8_t bytes[64];
	size_t size = ping_frame(bytes, 9);

	for (size_t i = 0; i < size; i++) {
		usleep(1000);
		(void) !write(pair->peer, bytes + i, 1);
	}
	return NULL;
}

static void a_frame_may_come_byte_by_byte(void **state)
{
	struct pair *pair = *state;
	struct proto_header header;
	struct proto_reader reader;
	pthread_t thread;

	pthread_create(&thread, NULL, send_slowly, pair);
	assert_int_equal(proto_channel_next(&pair->channel, &header, &reader), 0);
	assert_int_equal(header.id, 9);
	pthread_join(thread, NULL);
}

static void silence_within_a_frame_is_a_stall_and_between_frames_is_not(void **state)
{
	struct pair *pair = *state;
	struct proto_header header;
	struct proto_reader reader;
	uint8_t bytes[64];

	ping_frame(bytes, 1);
	assert_int_equal(proto_channel_next(&pair->channel, &header, &reader), -EAGAIN);
	send_all(pair->peer, bytes, 10);
	assert_int_equal(proto_channel_next(&pair->channel, &header, &reader), -ETIMEDOUT);
}

static void *send_late(void *argument)
{
	struct pair *pair = argument;
	uint8_t bytes[64];

	(void) usleep(3 * STALL_MS * 1000);
	send_all(pair->peer, bytes, ping_frame(bytes, 5));
	return NULL;
}

static void a_patient_channel_has_no_limit_between_frames_but_within_one(void **state)
{
	struct pair *pair = *state;
	struct proto_header header;
	struct proto_reader reader;
	pthread_t thread;
	uint8_t bytes[64];

	assert_int_equal(proto_channel_be_patient(&pair->channel), 0);
	pthread_create(&thread, NULL, send_late, pair);
	assert_int_equal(proto_channel_next(&pair->channel, &header, &reader), 0);
	assert_int_equal(header.id, 5);
	pthread_join(thread, NULL);
	pthread_create(&thread, NULL, send_slowly, pair);
	assert_int_equal(proto_channel_next(&pair->channel, &header, &reader), 0);
	assert_int_equal(header.id, 9);
	pthread_join(thread, NULL);
	ping_frame(bytes, 1);
	send_all(pair->peer, bytes, 10);
	assert_int_equal(proto_channel_next(&pair->channel, &header, &reader), -ETIMEDOUT);
}

static void the_end_between_frames_differs_from_the_end_within_one(void **state)
{
	struct pair *pair = *state;
	struct proto_header header;
	struct proto_reader reader;
	uint8_t bytes[64];
	size_t size = ping_frame(bytes, 1);

	send_all(pair->peer, bytes, size);
	send_all(pair->peer, bytes, size - 1);
	close(pair->peer);
	pair->peer = -1;
	assert_int_equal(proto_channel_next(&pair->channel, &header, &reader), 0);
	assert_int_equal(proto_channel_next(&pair->channel, &header, &reader), -ECONNRESET);
	assert_int_equal(proto_channel_next(&pair->channel, &header, &reader), -ECONNRESET);
}

static void headers_that_no_peer_may_send_are_refused_before_the_payload(void **state)
{
	const struct proto_header good = { .length = 8, .op = PROTO_PING, .id = 1 };
	struct proto_header bad[] = { good, good, good, good, good, good, good, good, good, good };
	uint8_t bytes[PROTO_HEADER_SIZE];
	struct proto_header back;

	bad[0].length = UINT32_MAX;
	bad[1].length = PROTO_SMALL_MAX + 1;
	bad[2].op = 0;
	bad[3].op = PROTO_OP_LIMIT - 1;
	bad[4].op = UINT16_MAX;
	bad[5].flags = 4;
	bad[6].id = 0;
	bad[7].status = 5; /* a request with a status */
	bad[8].reserved = 1;
	bad[9].flags = PROTO_FRAME_MORE; /* a request in parts */
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		proto_header_encode(bytes, &bad[i]);
		assert_int_equal(proto_header_decode(bytes, &back), -EBADMSG);
	}
	proto_header_encode(bytes, &good);
	assert_int_equal(proto_header_decode(bytes, &back), 0);
}

static void an_error_reply_carries_a_header_only(void **state)
{
	struct proto_header header = {
		.length = 1, .op = PROTO_PING, .flags = PROTO_FRAME_REPLY, .id = 1, .status = 2
	};
	uint8_t bytes[PROTO_HEADER_SIZE];
	struct proto_header back;

	proto_header_encode(bytes, &header);
	assert_int_equal(proto_header_decode(bytes, &back), -EBADMSG);
	header.length = 0;
	proto_header_encode(bytes, &header);
	assert_int_equal(proto_header_decode(bytes, &back), 0);
	header.status = -2;
	proto_header_encode(bytes, &header);
	assert_int_equal(proto_header_decode(bytes, &back), -EBADMSG);
}

static void a_large_write_comes_in_parts_of_the_buffers_size(void **state)
{
	struct pair *pair = *state;
	enum { SIZE = 3 * PROTO_CHUNK + 77 };
	static uint8_t data[SIZE];
	struct proto_write_request request = { .handle = 1,
		                               .data = { .length = SIZE, .available = SIZE, .bytes = data } };
	struct proto_write_request back;
	struct proto_channel sender;
	struct proto_header header = { .op = PROTO_WRITE, .id = 5 }, got;
	struct proto_reader reader;
	struct proto_writer writer;
	uint8_t memory[64];
	size_t total;
	const void *bytes;
	ssize_t n;
	pid_t child;

	for (size_t i = 0; i < SIZE; i++)
		data[i] = (uint8_t) (i * 31 >> 3);
	child = fork();
	if (child == 0) {
		proto_writer_init(&writer, memory, sizeof(memory));
		if (proto_encode_write_request(&writer, &request) < 0 ||
		    proto_channel_init(&sender, dup(pair->peer), 4096, 5000) < 0)
			_exit(1);
		_exit(proto_channel_send(&sender, &header, &writer) == 0 ? 0 : 1);
	}
	assert_int_equal(proto_channel_next(&pair->channel, &got, &reader), 0);
	assert_int_equal(proto_decode_write_request(&reader, &back), 0);
	assert_int_equal(back.data.length, SIZE);
	assert_true(back.data.available < SIZE);
	assert_memory_equal(back.data.bytes, data, back.data.available);
	total = back.data.available;
	while ((n = proto_channel_more(&pair->channel, &bytes)) > 0) {
		assert_memory_equal(bytes, data + total, (size_t) n);
		total += (size_t) n;
	}
	assert_int_equal(n, 0);
	assert_int_equal(total, SIZE);
}

static void send_part(int fd, uint16_t flags, const uint8_t *data, size_t size, uint64_t id)
{
	uint8_t head[PROTO_HEADER_SIZE + 4];
	struct proto_header header = {
		.length = (uint32_t) (4 + size), .op = PROTO_READ, .flags = PROTO_FRAME_REPLY | flags, .id = id
	};

	proto_header_encode(head, &header);
	for (int i = 0; i < 4; i++)
		head[PROTO_HEADER_SIZE + i] = (uint8_t) (size >> (8 * i));
	send_all(fd, head, sizeof(head));
	send_all(fd, data, size);
}

static void data_in_several_frames_is_put_together(void **state)
{
	struct pair *pair = *state;
	static uint8_t data[2 * PROTO_CHUNK + 5], got[3 * PROTO_CHUNK];
	uint8_t fixed[4];
	struct proto_header header;
	size_t length;
	pid_t child;

	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t) (i >> 5);
	child = fork();
	if (child == 0) {
		send_part(pair->peer, PROTO_FRAME_MORE, data, PROTO_CHUNK, 3);
		send_part(pair->peer, PROTO_FRAME_MORE, data + PROTO_CHUNK, PROTO_CHUNK, 3);
		send_part(pair->peer, 0, data + 2 * PROTO_CHUNK, 5, 3);
		_exit(0);
	}
	assert_int_equal(
	        proto_channel_receive_data(&pair->channel, PROTO_READ, 3, fixed, 4, got, sizeof(got), &length, &header),
	        0);
	assert_int_equal(length, sizeof(data));
	assert_memory_equal(got, data, length);
}

static void a_server_that_sends_more_data_than_asked_for_is_not_believed(void **state)
{
	struct pair *pair = *state;
	uint8_t data[64] = { 0 }, got[32], fixed[4];
	struct proto_header header;
	size_t length;

	send_part(pair->peer, 0, data, 33, 3);
	assert_int_equal(
	        proto_channel_receive_data(&pair->channel, PROTO_READ, 3, fixed, 4, got, sizeof(got), &length, &header),
	        -EBADMSG);
}

/* One frame of a reply with data; what the header, and what the frame itself say of its length may differ. */
static int receive_lie(struct pair *pair, uint16_t flags, uint32_t length, uint32_t announced)
{
	static uint8_t frame[PROTO_HEADER_SIZE + 4 + PROTO_CHUNK], got[2 * PROTO_CHUNK];
	struct proto_header header = {
		.length = length, .op = PROTO_READ, .flags = PROTO_FRAME_REPLY | flags, .id = 3
	};
	uint8_t fixed[4];
	size_t received;

	proto_header_encode(frame, &header);
	for (int i = 0; i < 4; i++)
		frame[PROTO_HEADER_SIZE + i] = (uint8_t) (announced >> (8 * i));
	send_all(pair->peer, frame, PROTO_HEADER_SIZE + length);
	return proto_channel_receive_data(&pair->channel, PROTO_READ, 3, fixed, 4, got, sizeof(got), &received,
	                                  &header);
}

static void lengths_that_contradict_each_other_are_not_believed(void **state)
{
	struct pair *pair = *state;

	assert_int_equal(receive_lie(pair, 0, 14, 10), 0);
	assert_int_equal(receive_lie(pair, 0, 14, 11), -EBADMSG);
	assert_int_equal(receive_lie(pair, 0, 14, 9), -EBADMSG);
	assert_int_equal(receive_lie(pair, 0, 3, 0), -EBADMSG);                  /* not even its fixed fields */
	assert_int_equal(receive_lie(pair, PROTO_FRAME_MORE, 14, 10), -EBADMSG); /* only the last may be short */
	assert_int_equal(receive_lie(pair, 0, 4, 0), 0);
}

static void a_reply_to_another_request_is_not_believed(void **state)
{
	struct pair *pair = *state;
	uint8_t data[8] = { 0 }, got[32], fixed[4];
	struct proto_header header;
	size_t length;

	send_part(pair->peer, 0, data, 8, 4);
	assert_int_equal(
	        proto_channel_receive_data(&pair->channel, PROTO_READ, 3, fixed, 4, got, sizeof(got), &length, &header),
	        -EBADMSG);
}

static void nothing_follows_a_frame_that_was_sent_in_part(void **state)
{
	struct pair *pair = *state;
	static uint8_t data[8 * PROTO_CHUNK], memory[64];
	struct proto_header header = { .op = PROTO_READ, .flags = PROTO_FRAME_REPLY, .id = 1 };
	struct proto_header error = { .op = PROTO_READ, .flags = PROTO_FRAME_REPLY, .id = 1, .status = EIO };
	struct proto_writer writer;
	size_t came = 0;
	ssize_t n;

	proto_writer_init(&writer, memory, sizeof(memory));
	writer.tail = data;
	writer.tail_length = sizeof(data);
	assert_int_equal(proto_channel_send(&pair->channel, &header, &writer), -ETIMEDOUT);
	/* Now there would be room again. */
	while ((n = recv(pair->peer, data, sizeof(data), MSG_DONTWAIT)) > 0)
		came += (size_t) n;
	assert_in_range(came, 1, sizeof(data) - 1);
	assert_int_equal(proto_channel_send(&pair->channel, &error, NULL), -EPIPE);
	assert_int_equal(proto_channel_hold(&pair->channel, &error, NULL), -EPIPE);
	assert_int_equal(proto_channel_flush(&pair->channel), -EPIPE);
	assert_int_equal(recv(pair->peer, data, sizeof(data), MSG_DONTWAIT), -1);
}

static void a_payload_that_nobody_took_is_broken_framing_and_can_be_thrown_away(void **state)
{
	static uint8_t bytes[PROTO_HEADER_SIZE + SMALL];
	struct proto_channel channel;
	struct proto_header header = { .length = 2 * SMALL, .op = PROTO_WRITE, .id = 1 }, got;
	struct proto_reader reader;
	uint8_t fixed[4];
	size_t length;
	int fds[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	assert_int_equal(proto_channel_init(&channel, fds[0], SMALL, STALL_MS), 0);
	proto_header_encode(bytes, &header);
	send_all(fds[1], bytes, sizeof(bytes));
	assert_int_equal(proto_channel_next(&channel, &got, &reader), 0);
	assert_true(reader.missing > 0);
	assert_int_equal(proto_channel_next(&channel, &got, &reader), -EBADMSG);
	assert_int_equal(proto_channel_receive_data(&channel, PROTO_READ, 1, fixed, sizeof(fixed), bytes, sizeof(bytes),
	                                            &length, &got),
	                 -EBADMSG);
	send_all(fds[1], bytes, 10);
	assert_int_equal(proto_channel_discard(&channel), 0);
	assert_int_equal(proto_channel_discard(&channel), -EAGAIN);
	close(fds[1]);
	assert_int_equal(proto_channel_discard(&channel), -ENOTCONN);
	proto_channel_done(&channel);
}

static void a_peer_that_does_not_read_stalls_the_sender_for_a_bounded_time(void **state)
{
	struct pair *pair = *state;
	static uint8_t data[PROTO_DATA_MAX];
	struct proto_read_reply reply = { .data = {
		                                  .length = sizeof(data), .available = sizeof(data), .bytes = data } };
	struct proto_header header = { .op = PROTO_READ, .flags = PROTO_FRAME_REPLY, .id = 1 };
	struct proto_writer writer;
	uint8_t memory[64];
	int r = 0;

	proto_writer_init(&writer, memory, sizeof(memory));
	assert_int_equal(proto_encode_read_reply(&writer, &reply), 0);
	for (int i = 0; i < 64 && r == 0; i++)
		r = proto_channel_send(&pair->channel, &header, &writer);
	assert_int_equal(r, -ETIMEDOUT);
}

static void *kill_later(void *argument)
{
	usleep(20000);
	proto_channel_kill(argument);
	return NULL;
}

static void a_killed_channel_wakes_who_waits_on_it(void **state)
{
	struct pair *pair = *state;
	struct proto_header header;
	struct proto_reader reader;
	pthread_t thread;
	int r;

	pthread_create(&thread, NULL, kill_later, &pair->channel);
	do
		r = proto_channel_next(&pair->channel, &header, &reader);
	while (r == -EAGAIN);
	assert_int_equal(r, -ENOTCONN);
	pthread_join(thread, NULL);
}

static void waiting_ends_with_bytes_with_the_end_and_with_time(void **state)
{
	struct pair *pair = *state;

	assert_false(proto_channel_await(&pair->channel, false, 0, 0, -EBADF));
	assert_false(proto_channel_await(&pair->channel, false, 1, 1000, -EBADF));
	assert_int_equal(write(pair->peer, "x", 1), 1);
	assert_true(proto_channel_await(&pair->channel, true, 0, 1000, -EBADF));
	assert_true(proto_channel_await(&pair->channel, false, 1, 1000, -EBADF));
	close(pair->peer);
	pair->peer = -1;
	assert_true(proto_channel_await(&pair->channel, false, 1, 1000, -EBADF));
}

static void waiting_ends_when_something_else_is_there_to_be_read(void **state)
{
	struct pair *pair = *state;
	int other[2];

	assert_int_equal(pipe2(other, O_CLOEXEC), 0);
	assert_int_equal(write(other[1], "x", 1), 1);
	/* For ever, but for the other descriptor. */
	assert_false(proto_channel_await(&pair->channel, false, 1, -1, other[0]));
	assert_int_equal(write(pair->peer, "x", 1), 1);
	assert_true(proto_channel_await(&pair->channel, false, 1, -1, other[0]));
	close(other[0]);
	close(other[1]);
}

static size_t arrived(struct pair *pair, uint8_t *bytes, size_t size)
{
	ssize_t n = recv(pair->peer, bytes, size, MSG_DONTWAIT);

	return n < 0 ? 0 : (size_t) n;
}

static void what_is_held_goes_before_the_next_frame(void **state)
{
	struct proto_header header = { .op = PROTO_RELEASE };
	uint8_t bytes[4096], memory[16];
	struct proto_writer writer;
	struct pair *pair = *state;
	uint64_t handle = 1;

	proto_writer_init(&writer, memory, sizeof(memory));
	proto_put_u64(&writer, &handle);
	for (header.id = 1; header.id <= 2; header.id++)
		assert_int_equal(proto_channel_hold(&pair->channel, &header, &writer), 0);
	assert_int_equal(arrived(pair, bytes, sizeof(bytes)), 0);
	header = (struct proto_header){ .op = PROTO_LOOKUP, .id = 3 };
	assert_int_equal(proto_channel_send(&pair->channel, &header, NULL), 0);
	assert_int_equal(arrived(pair, bytes, sizeof(bytes)), 3 * PROTO_HEADER_SIZE + 2 * 8);
	for (uint64_t id = 1, at = 0; id <= 3; id++, at += PROTO_HEADER_SIZE + 8) {
		assert_int_equal(proto_header_decode(bytes + at, &header), 0);
		assert_int_equal(header.id, id);
	}
	header = (struct proto_header){ .op = PROTO_RELEASE, .id = 4 };
	assert_int_equal(proto_channel_hold(&pair->channel, &header, &writer), 0);
	assert_int_equal(proto_channel_flush(&pair->channel), 0);
	assert_int_equal(arrived(pair, bytes, sizeof(bytes)), PROTO_HEADER_SIZE + 8);
	assert_int_equal(proto_channel_flush(&pair->channel), 0);
	assert_int_equal(arrived(pair, bytes, sizeof(bytes)), 0);
}

static void more_than_can_be_held_is_sent(void **state)
{
	struct proto_header header = { .op = PROTO_RELEASE };
	uint8_t bytes[4 * PROTO_HELD_MAX], memory[16];
	struct proto_writer writer;
	struct pair *pair = *state;
	uint64_t handle = 1;
	size_t size = 0;

	proto_writer_init(&writer, memory, sizeof(memory));
	proto_put_u64(&writer, &handle);
	for (header.id = 1; size == 0; header.id++) {
		assert_int_equal(proto_channel_hold(&pair->channel, &header, &writer), 0);
		size = arrived(pair, bytes, sizeof(bytes));
	}
	assert_int_equal(size, (header.id - 1) * (PROTO_HEADER_SIZE + 8));
	assert_true(size > PROTO_HELD_MAX);
	assert_int_equal(pair->channel.held, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(frames_that_arrive_together_come_out_one_by_one),
		TEST(a_frame_may_come_byte_by_byte),
		TEST(silence_within_a_frame_is_a_stall_and_between_frames_is_not),
		TEST(a_patient_channel_has_no_limit_between_frames_but_within_one),
		TEST(the_end_between_frames_differs_from_the_end_within_one),
		TEST(headers_that_no_peer_may_send_are_refused_before_the_payload),
		TEST(an_error_reply_carries_a_header_only),
		TEST(a_large_write_comes_in_parts_of_the_buffers_size),
		TEST(data_in_several_frames_is_put_together),
		TEST(a_server_that_sends_more_data_than_asked_for_is_not_believed),
		TEST(a_reply_to_another_request_is_not_believed),
		TEST(lengths_that_contradict_each_other_are_not_believed),
		TEST(nothing_follows_a_frame_that_was_sent_in_part),
		TEST(a_payload_that_nobody_took_is_broken_framing_and_can_be_thrown_away),
		TEST(a_peer_that_does_not_read_stalls_the_sender_for_a_bounded_time),
		TEST(a_killed_channel_wakes_who_waits_on_it),
		TEST(what_is_held_goes_before_the_next_frame),
		TEST(more_than_can_be_held_is_sent),
		TEST(waiting_ends_with_bytes_with_the_end_and_with_time),
		TEST(waiting_ends_when_something_else_is_there_to_be_read),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
