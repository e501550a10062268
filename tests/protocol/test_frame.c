/* SPDX-License-Identifier: Apache-2.0 */
/* The header before each message: its bytes, and every value that a peer may not send. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "protocol/frame.h"

enum { RESERVED = 20 /* where it lies in the header */ };

static const struct proto_header request = { .length = 8, .op = PROTO_STATFS, .id = 7 };
static const struct proto_header reply = { .length = 44, .op = PROTO_STATFS, .flags = PROTO_FRAME_REPLY, .id = 7 };

static int decode(const struct proto_header *header)
{
	uint8_t bytes[PROTO_HEADER_SIZE];
	struct proto_header back;

	proto_header_encode(bytes, header);
	return proto_header_decode(bytes, &back);
}

static void a_header_is_24_bytes_with_the_lowest_first(void **state)
{
	static const struct proto_header header = { .length = 0x00010203,
		                                    .op = PROTO_READ,
		                                    .flags = PROTO_FRAME_REPLY | PROTO_FRAME_MORE,
		                                    .id = UINT64_C(0x1122334455667788) };
	static const uint8_t expected[] = { 3,    2,    1,    0,    PROTO_READ, 0, 3, 0, 0x88, 0x77, 0x66, 0x55,
		                            0x44, 0x33, 0x22, 0x11, 0,          0, 0, 0, 0,    0,    0,    0 };
	uint8_t bytes[PROTO_HEADER_SIZE];
	struct proto_header back;

	assert_int_equal(sizeof(expected), PROTO_HEADER_SIZE);
	proto_header_encode(bytes, &header);
	assert_memory_equal(bytes, expected, sizeof(expected));
	assert_int_equal(proto_header_decode(bytes, &back), 0);
	assert_int_equal(back.length, header.length);
	assert_int_equal(back.op, header.op);
	assert_int_equal(back.flags, header.flags);
	assert_int_equal(back.id, header.id);
	assert_int_equal(back.status, 0);
}

static void each_message_has_a_largest_length(void **state)
{
	static const struct {
		uint16_t op, flags;
		uint32_t most;
	} limits[] = {
		{ PROTO_STATFS, 0, PROTO_SMALL_MAX },
		{ PROTO_STATFS, PROTO_FRAME_REPLY, PROTO_SMALL_MAX },
		{ PROTO_WRITE, 0, PROTO_PAYLOAD_MAX },
		{ PROTO_WRITE, PROTO_FRAME_REPLY, PROTO_SMALL_MAX },
		{ PROTO_READ, 0, PROTO_SMALL_MAX },
		{ PROTO_READ, PROTO_FRAME_REPLY, PROTO_CHUNK + 4096 },
		{ PROTO_READDIR, PROTO_FRAME_REPLY, PROTO_CHUNK + 4096 },
		{ PROTO_SCAN, PROTO_FRAME_REPLY, PROTO_CHUNK + 4096 },
	};

	for (size_t i = 0; i < sizeof(limits) / sizeof(limits[0]); i++) {
		struct proto_header header = request;

		header.op = limits[i].op;
		header.flags = limits[i].flags;
		header.length = 0;
		assert_int_equal(decode(&header), 0);
		header.length = limits[i].most;
		assert_int_equal(decode(&header), 0);
		header.length = limits[i].most + 1;
		assert_int_equal(decode(&header), -EBADMSG);
		header.length = UINT32_MAX;
		assert_int_equal(decode(&header), -EBADMSG);
	}
}

static void only_operations_of_the_table_are_known(void **state)
{
	struct proto_header header = request;
	unsigned known = 0;

	for (unsigned op = 0; op <= UINT16_MAX; op++) {
		header.op = (uint16_t) op;
		assert_int_equal(decode(&header), proto_op_info(op) == NULL ? -EBADMSG : 0);
		known += proto_op_info(op) != NULL;
	}
	assert_true(known > 30);
	header.op = 0;
	assert_int_equal(decode(&header), -EBADMSG);
}

static void unknown_flags_are_refused(void **state)
{
	struct proto_header header = reply;

	header.flags = PROTO_FRAME_REPLY | PROTO_FRAME_MORE;
	assert_int_equal(decode(&header), 0);
	header.flags = PROTO_FRAME_REPLY | PROTO_FRAME_LEASED;
	assert_int_equal(decode(&header), 0);
	for (unsigned bit = 2; bit < 16; bit++) {
		if (1U << bit == PROTO_FRAME_LEASED)
			continue;
		header.flags = (uint16_t) (PROTO_FRAME_REPLY | 1U << bit);
		assert_int_equal(decode(&header), -EBADMSG);
	}
	/* Several frames are for replies, names looked up anew for requests. */
	header = request;
	header.flags = PROTO_FRAME_ANEW;
	assert_int_equal(decode(&header), 0);
	header.flags = PROTO_FRAME_MORE;
	assert_int_equal(decode(&header), -EBADMSG);
	header.flags = PROTO_FRAME_LEASED;
	assert_int_equal(decode(&header), -EBADMSG);
	header.flags = PROTO_FRAME_REPLY | PROTO_FRAME_ANEW;
	assert_int_equal(decode(&header), -EBADMSG);
	/* A heartbeat has no names. */
	header.op = PROTO_PING;
	header.flags = 0;
	assert_int_equal(decode(&header), 0);
	header.flags = PROTO_FRAME_ANEW;
	assert_int_equal(decode(&header), -EBADMSG);
}

static void an_id_is_never_0(void **state)
{
	struct proto_header header = request;

	header.id = 0;
	assert_int_equal(decode(&header), -EBADMSG);
	header.id = UINT64_MAX;
	assert_int_equal(decode(&header), 0);
}

static void only_replies_without_a_payload_have_a_status(void **state)
{
	struct proto_header header = reply;

	header.status = ENOENT;
	assert_int_equal(decode(&header), -EBADMSG);
	header.length = 0;
	assert_int_equal(decode(&header), 0);
	header.flags = PROTO_FRAME_REPLY | PROTO_FRAME_MORE;
	assert_int_equal(decode(&header), -EBADMSG);
	header.flags = PROTO_FRAME_REPLY;
	header.status = 4095;
	assert_int_equal(decode(&header), 0);
	header.status = 4096;
	assert_int_equal(decode(&header), -EBADMSG);
	header.status = -ENOENT;
	assert_int_equal(decode(&header), -EBADMSG);
	header.status = INT32_MIN;
	assert_int_equal(decode(&header), -EBADMSG);
	header = request;
	header.length = 0;
	header.status = ENOENT;
	assert_int_equal(decode(&header), -EBADMSG);
}

static void what_has_no_reply_gets_none(void **state)
{
	struct proto_header header = request;

	header.op = PROTO_FORGET;
	assert_int_equal(decode(&header), 0);
	header.flags = PROTO_FRAME_REPLY;
	assert_int_equal(decode(&header), -EBADMSG);
}

static void what_is_reserved_is_0(void **state)
{
	for (unsigned i = 0; i < 4; i++) {
		uint8_t bytes[PROTO_HEADER_SIZE];
		struct proto_header back;

		proto_header_encode(bytes, &request);
		bytes[RESERVED + i] = 1;
		assert_int_equal(proto_header_decode(bytes, &back), -EBADMSG);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_header_is_24_bytes_with_the_lowest_first),
		cmocka_unit_test(each_message_has_a_largest_length),
		cmocka_unit_test(only_operations_of_the_table_are_known),
		cmocka_unit_test(unknown_flags_are_refused),
		cmocka_unit_test(an_id_is_never_0),
		cmocka_unit_test(only_replies_without_a_payload_have_a_status),
		cmocka_unit_test(what_has_no_reply_gets_none),
		cmocka_unit_test(what_is_reserved_is_0),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
