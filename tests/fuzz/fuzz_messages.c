/* SPDX-License-Identifier: Apache-2.0 */
/* Every decoder of the table: the first byte chooses the message; what decodes must encode and decode again alike. */
#include <stdlib.h>
#include <string.h>

#include "protocol/messages.h"

static uint8_t first[PROTO_DATA_MAX + 8192], second[PROTO_DATA_MAX + 8192];

static size_t whole(const struct proto_writer *writer, uint8_t *memory)
{
	size_t length = (size_t) (writer->next - writer->start);

	if (writer->tail_length > 0)
		memcpy(memory + length, writer->tail, writer->tail_length);
	return length + writer->tail_length;
}

#define CHECK(op, which)                                                                                               \
	static void check_##op##_##which(const uint8_t *bytes, size_t size)                                            \
	{                                                                                                              \
		static struct proto_##op##_##which message, again;                                                     \
		struct proto_reader reader;                                                                            \
		struct proto_writer writer;                                                                            \
		size_t length;                                                                                         \
                                                                                                                       \
		proto_reader_init(&reader, bytes, size, size);                                                         \
		if (proto_decode_##op##_##which(&reader, &message) != 0)                                               \
			return;                                                                                        \
		proto_writer_init(&writer, first, sizeof(first));                                                      \
		if (proto_encode_##op##_##which(&writer, &message) != 0)                                               \
			abort();                                                                                       \
		length = whole(&writer, first);                                                                        \
		proto_reader_init(&reader, first, length, length);                                                     \
		if (proto_decode_##op##_##which(&reader, &again) != 0)                                                 \
			abort();                                                                                       \
		proto_writer_init(&writer, second, sizeof(second));                                                    \
		if (proto_encode_##op##_##which(&writer, &again) != 0 || whole(&writer, second) != length ||           \
		    memcmp(first, second, length) != 0)                                                                \
			abort();                                                                                       \
	}
#define OP(SYMBOL, op, number, lane, from, changes, replay, doc) CHECK(op, request) CHECK(op, reply)
#include "protocol/ops.def"

static void (*const checks[])(const uint8_t *, size_t) = {
#define OP(SYMBOL, op, number, lane, from, changes, replay, doc) check_##op##_request, check_##op##_reply,
#include "protocol/ops.def"
};

static void check_dirents(const uint8_t *bytes, size_t size)
{
	struct proto_dirent entry;
	struct proto_reader reader;

	proto_reader_init(&reader, bytes, size, size);
	while (reader.error == 0 && reader.next < reader.end)
		proto_get_dirent(&reader, &entry);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	if (size == 0)
		return 0;
	if (bytes[0] == 255)
		check_dirents(bytes + 1, size - 1);
	else
		checks[bytes[0] % (sizeof(checks) / sizeof(checks[0]))](bytes + 1, size - 1);
	return 0;
}
