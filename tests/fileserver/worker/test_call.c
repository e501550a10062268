/* SPDX-License-Identifier: Apache-2.0 */
/* What a handler may ask of the lane that its request came on, and of none. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include <cmocka.h>

#include "fileserver/worker/session/call.h"
#include "tests/support/raw.h"

static struct proto_channel lane;
static struct raw guest;
static struct call call;

static int set_up(void **state)
{
	int fds[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0 || raw_init(&guest, fds[0]) < 0 ||
	    proto_channel_init(&lane, fds[1], 4096, 5000) < 0)
		return -1;
	call = (struct call){ .op = PROTO_READ, .id = 42, .channel = &lane };
	return 0;
}

static int tear_down(void **state)
{
	raw_done(&guest);
	proto_channel_done(&lane);
	return 0;
}

/* A READ's reply with these bytes at its tail, into memory. */
static void encode(struct proto_writer *writer, uint8_t *memory, size_t size, const char *bytes)
{
	struct proto_read_reply reply = {
		.data = { .length = strlen(bytes), .available = strlen(bytes), .bytes = bytes }
	};

	proto_writer_init(writer, memory, size);
	assert_int_equal(proto_encode_read_reply(writer, &reply), 0);
}

static void a_part_of_a_reply_says_that_more_follows(void **state)
{
	struct proto_header header;
	struct proto_reader reader;
	struct proto_read_reply reply;
	struct proto_writer writer;
	uint8_t memory[64];

	encode(&writer, memory, sizeof(memory), "content");
	assert_int_equal(call_send_part(&call, &writer), 0);
	assert_int_equal(proto_channel_next(&guest.channel, &header, &reader), 0);
	assert_int_equal(header.op, PROTO_READ);
	assert_true(header.id == 42);
	assert_int_equal(header.flags, PROTO_FRAME_REPLY | PROTO_FRAME_MORE);
	assert_int_equal(header.status, 0);
	assert_int_equal(proto_decode_read_reply(&reader, &reply), 0);
	assert_int_equal(reply.data.length, 7);
	assert_memory_equal(reply.data.bytes, "content", 7);
}

static void a_request_that_is_part_of_another_has_all_its_data_and_one_frame(void **state)
{
	struct proto_writer writer;
	const void *bytes = NULL;
	uint8_t memory[64];

	call.channel = NULL;
	encode(&writer, memory, sizeof(memory), "content");
	assert_int_equal(call_send_part(&call, &writer), -EMSGSIZE);
	assert_int_equal(call_more_data(&call, &bytes), 0);
}

static void the_rest_of_a_requests_data_comes_as_it_arrives(void **state)
{
	static uint8_t data[20000];
	struct proto_header header = { .op = PROTO_WRITE, .id = 42 };
	struct proto_write_request request = { .data = { .length = sizeof(data), .available = sizeof(data) } };
	struct proto_reader reader;
	struct proto_writer writer;
	uint8_t memory[64];
	const void *bytes;
	size_t got;
	ssize_t n;

	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t) (i * 7);
	request.data.bytes = data;
	proto_writer_init(&writer, memory, sizeof(memory));
	assert_int_equal(proto_encode_write_request(&writer, &request), 0);
	assert_int_equal(proto_channel_send(&guest.channel, &header, &writer), 0);
	assert_int_equal(proto_channel_next(&lane, &header, &reader), 0);
	assert_int_equal(proto_decode_write_request(&reader, &request), 0);
	assert_true(request.data.available < sizeof(data));
	assert_memory_equal(request.data.bytes, data, request.data.available);
	got = request.data.available;
	while ((n = call_more_data(&call, &bytes)) > 0) {
		assert_true(got + (size_t) n <= sizeof(data));
		assert_memory_equal(bytes, data + got, (size_t) n);
		got += (size_t) n;
	}
	assert_int_equal(n, 0);
	assert_int_equal(got, sizeof(data));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_part_of_a_reply_says_that_more_follows),
		TEST(a_request_that_is_part_of_another_has_all_its_data_and_one_frame),
		TEST(the_rest_of_a_requests_data_comes_as_it_arrives),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
