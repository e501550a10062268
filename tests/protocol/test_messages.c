/* SPDX-License-Identifier: Apache-2.0 */
/* Every message of the table: round trip, truncation at every byte, bytes too many, golden bytes. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "protocol/frame.h"
#include "tests/protocol/samples.h"

enum { ROUNDS = 50, MEMORY = 128 * 1024 };

/* One message, by the functions that the table made for it. */
struct message_case {
	const char *name;
	size_t size, most;
	void (*sample)(struct samples *samples, void *message);
	int (*encode)(struct proto_writer *writer, const void *message);
	int (*decode)(struct proto_reader *reader, void *message);
};

#define REQUEST(op)                                                                                                    \
	static void fill_##op##_request(struct samples *samples, struct proto_##op##_request *message)                 \
	{                                                                                                              \
		(void) samples, (void) message;
#define FIELD(kind, name, doc) sample_##kind(samples, &message->name);
#define REPLY(op)                                                                                                      \
	}                                                                                                              \
	static void fill_##op##_reply(struct samples *samples, struct proto_##op##_reply *message)                     \
	{                                                                                                              \
		(void) samples, (void) message;
#define END(op) }
#include "protocol/ops.def"

#define WRAP(op, which)                                                                                                \
	static void sample_##op##_##which(struct samples *samples, void *message)                                      \
	{                                                                                                              \
		fill_##op##_##which(samples, message);                                                                 \
	}                                                                                                              \
	static int encode_##op##_##which(struct proto_writer *writer, const void *message)                             \
	{                                                                                                              \
		return proto_encode_##op##_##which(writer, message);                                                   \
	}                                                                                                              \
	static int decode_##op##_##which(struct proto_reader *reader, void *message)                                   \
	{                                                                                                              \
		return proto_decode_##op##_##which(reader, message);                                                   \
	}
#define OP(SYMBOL, op, number, lane, from, changes, replay, doc)                                                       \
	WRAP(op, request)                                                                                              \
	WRAP(op, reply)
#include "protocol/ops.def"

#define ROW(op, which)                                                                                                 \
	{ #op " " #which,                                                                                              \
	  sizeof(struct proto_##op##_##which),                                                                         \
	  PROTO_MOST_##op##_##which,                                                                                   \
	  sample_##op##_##which,                                                                                       \
	  encode_##op##_##which,                                                                                       \
	  decode_##op##_##which },
static const struct message_case cases[] = {
#define OP(SYMBOL, op, number, lane, from, changes, replay, doc) ROW(op, request) ROW(op, reply)
#include "protocol/ops.def"
};
enum { CASES = sizeof(cases) / sizeof(cases[0]) };

/* The whole payload, the tail at its end. */
static size_t encode(const struct message_case *one, const void *message, uint8_t *bytes)
{
	struct proto_writer writer;
	size_t length;

	proto_writer_init(&writer, bytes, MEMORY);
	assert_int_equal(one->encode(&writer, message), 0);
	length = (size_t) (writer.next - writer.start);
	assert_true(length <= one->most);
	if (writer.tail_length > 0)
		memcpy(bytes + length, writer.tail, writer.tail_length);
	return length + writer.tail_length;
}

static int decode(const struct message_case *one, const uint8_t *bytes, size_t length, void *message)
{
	struct proto_reader reader;

	proto_reader_init(&reader, bytes, length, length);
	return one->decode(&reader, message);
}

static size_t fields_of(const struct proto_writer *writer)
{
	assert_int_equal(writer->error, 0);
	return (size_t) (writer->next - writer->start);
}

static void the_largest_messages_are_as_large_as_the_table_says(void **state)
{
	static struct proto_goodbye_request goodbye;
	static struct proto_readlink_reply readlink;
	static struct proto_resolve_request resolve = { .path = { .path = "/" } };
	static struct proto_rename_request rename = { .parent = 1, .new_parent = 1 };
	static uint8_t bytes[MEMORY];
	struct proto_writer writer;

	memset(goodbye.text.text, 'x', PROTO_TEXT_MAX);
	goodbye.text.length = PROTO_TEXT_MAX;
	proto_writer_init(&writer, bytes, sizeof(bytes));
	(void) proto_encode_goodbye_request(&writer, &goodbye);
	assert_int_equal(fields_of(&writer), PROTO_MOST_goodbye_request);
	memset(readlink.target.text, 'x', PROTO_TARGET_MAX);
	readlink.target.length = PROTO_TARGET_MAX;
	proto_writer_init(&writer, bytes, sizeof(bytes));
	(void) proto_encode_readlink_reply(&writer, &readlink);
	assert_int_equal(fields_of(&writer), PROTO_MOST_readlink_reply);
	proto_writer_init(&writer, bytes, sizeof(bytes));
	(void) proto_encode_resolve_request(&writer, &resolve);
	assert_int_equal(fields_of(&writer), PROTO_MOST_resolve_request);
	memset(rename.name.text, 'x', PROTO_NAME_MAX);
	rename.name.length = PROTO_NAME_MAX;
	rename.new_name = rename.name;
	proto_writer_init(&writer, bytes, sizeof(bytes));
	(void) proto_encode_rename_request(&writer, &rename);
	assert_int_equal(fields_of(&writer), PROTO_MOST_rename_request);
	assert_int_equal(PROTO_MOST_EVENT, PROTO_MOST_goodbye_request + 1);
	assert_int_equal(PROTO_MOST_LIST_REQUEST, PROTO_MOST_bind_refused_request + 1);
	assert_int_equal(PROTO_MOST_LIST_REPLY, PROTO_MOST_share_reply + 1);
}

static void a_row_says_who_may_send_it_and_what_it_may_answer(void **state)
{
	assert_non_null(proto_op_expected(PROTO_PING, PROTO_LANE_EVENT, PROTO_FROM_GUEST));
	assert_null(proto_op_expected(PROTO_PING, PROTO_LANE_EVENT, PROTO_FROM_SERVER));
	assert_non_null(proto_op_expected(PROTO_PING, PROTO_LANE_LIST, PROTO_FROM_GUEST));
	assert_null(proto_op_expected(PROTO_PING, PROTO_LANE_DATA, PROTO_FROM_GUEST));
	assert_non_null(proto_op_expected(PROTO_GOODBYE, PROTO_LANE_EVENT, PROTO_FROM_SERVER));
	assert_non_null(proto_op_expected(PROTO_GOODBYE, PROTO_LANE_EVENT, PROTO_FROM_GUEST));
	assert_null(proto_op_expected(PROTO_OP_LIMIT, PROTO_LANE_DATA, PROTO_FROM_GUEST));
	assert_null(proto_op_expected(0, PROTO_LANE_DATA, PROTO_FROM_GUEST));
	assert_true(proto_op_may_fail(PROTO_LOOKUP, ENOENT) && proto_op_may_fail(PROTO_LOOKUP, EIO));
	assert_false(proto_op_may_fail(PROTO_READ, ENOENT) || proto_op_may_fail(0, EIO));
	assert_string_equal(proto_op_errors(PROTO_LSEEK), "EBADF, ENXIO");
	assert_string_equal(proto_op_errors(PROTO_FORGET), "");
}

static void every_message_survives_a_round_trip(void **state)
{
	static uint8_t first[MEMORY], second[MEMORY];
	static struct samples samples;

	for (size_t i = 0; i < CASES; i++) {
		void *message = calloc(1, cases[i].size + 1), *back = calloc(1, cases[i].size + 1);

		for (int round = 0; round < ROUNDS; round++) {
			size_t length, again;

			samples.state = (uint64_t) round * 1000 + i;
			cases[i].sample(&samples, message);
			length = encode(&cases[i], message, first);
			assert_int_equal(decode(&cases[i], first, length, back), 0);
			again = encode(&cases[i], back, second);
			assert_int_equal(again, length);
			assert_memory_equal(first, second, length);
		}
		free(message);
		free(back);
	}
}

static void a_message_cut_at_any_byte_breaks_the_framing(void **state)
{
	static uint8_t bytes[MEMORY];
	static struct samples samples;

	for (size_t i = 0; i < CASES; i++) {
		void *message = calloc(1, cases[i].size + 1);
		size_t length;

		samples.state = i;
		cases[i].sample(&samples, message);
		length = encode(&cases[i], message, bytes);
		for (size_t cut = 0; cut < length; cut++) {
			uint8_t *copy = malloc(cut + 1); /* on the heap, where a sanitizer sees a read past it */

			memcpy(copy, bytes, cut);
			if (decode(&cases[i], copy, cut, message) != -EBADMSG)
				fail_msg("%s of %zu bytes was accepted when cut to %zu", cases[i].name, length, cut);
			free(copy);
		}
		free(message);
	}
}

static void a_message_with_a_byte_too_many_breaks_the_framing(void **state)
{
	static uint8_t bytes[MEMORY + 1];
	static struct samples samples;

	for (size_t i = 0; i < CASES; i++) {
		void *message = calloc(1, cases[i].size + 1);
		size_t length;

		samples.state = i;
		cases[i].sample(&samples, message);
		length = encode(&cases[i], message, bytes);
		bytes[length] = 0;
		assert_int_equal(decode(&cases[i], bytes, length + 1, message), -EBADMSG);
		free(message);
	}
}

static void random_bytes_never_harm_a_decoder(void **state)
{
	static struct samples samples = { .state = 7 };

	for (size_t i = 0; i < CASES; i++) {
		void *message = calloc(1, cases[i].size + 1);

		for (int round = 0; round < 200; round++) {
			uint64_t length;
			uint8_t *bytes;

			sample_u64(&samples, &length);
			length %= 300;
			bytes = malloc(length + 1);
			for (size_t at = 0; at < length; at++) {
				uint64_t byte;

				sample_u64(&samples, &byte);
				bytes[at] = round % 2 == 0 ? (uint8_t) byte : (uint8_t) (byte % 3);
			}
			(void) decode(&cases[i], bytes, length, message);
			free(bytes);
		}
		free(message);
	}
}

/* tests/golden/messages.txt: "name hex" a line; BINDSHARE_GOLDEN_WRITE=1 writes it anew. */
static void the_bytes_of_every_message_are_the_frozen_ones(void **state)
{
	static uint8_t bytes[MEMORY];
	static struct samples samples;
	const char *path = getenv("BINDSHARE_GOLDEN");
	bool write = getenv("BINDSHARE_GOLDEN_WRITE") != NULL;
	FILE *file;
	char *line = NULL;
	size_t line_size = 0;

	assert_non_null(path);
	file = fopen(path, write ? "we" : "re");
	assert_non_null(file);
	for (size_t i = 0; i < CASES; i++) {
		void *message = calloc(1, cases[i].size + 1);
		size_t length, at;
		char *text = malloc(2 * MEMORY);

		samples.state = 0;
		cases[i].sample(&samples, message);
		length = encode(&cases[i], message, bytes);
		at = (size_t) sprintf(text, "%s:", cases[i].name);
		for (size_t byte = 0; byte < length; byte++)
			at += (size_t) sprintf(text + at, "%02x", bytes[byte]);
		sprintf(text + at, "\n");
		if (write) {
			fputs(text, file);
		} else {
			assert_true(getline(&line, &line_size, file) > 0);
			assert_string_equal(line, text);
		}
		free(text);
		free(message);
	}
	if (!write)
		assert_int_equal(getline(&line, &line_size, file), -1);
	free(line);
	fclose(file);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_largest_messages_are_as_large_as_the_table_says),
		cmocka_unit_test(a_row_says_who_may_send_it_and_what_it_may_answer),
		cmocka_unit_test(every_message_survives_a_round_trip),
		cmocka_unit_test(a_message_cut_at_any_byte_breaks_the_framing),
		cmocka_unit_test(a_message_with_a_byte_too_many_breaks_the_framing),
		cmocka_unit_test(random_bytes_never_harm_a_decoder),
		cmocka_unit_test(the_bytes_of_every_message_are_the_frozen_ones),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
