/* SPDX-License-Identifier: Apache-2.0 */
/* The header of each message. */
#include "protocol/frame.h"

#include <errno.h>

static void store(uint8_t *bytes, uint64_t value, size_t size)
{
	for (size_t i = 0; i < size; i++)
		bytes[i] = (uint8_t) (value >> (8 * i));
}

static uint64_t load(const uint8_t *bytes, size_t size)
{
	uint64_t value = 0;

	for (size_t i = 0; i < size; i++)
		value |= (uint64_t) bytes[i] << (8 * i);
	return value;
}

void proto_header_encode(uint8_t bytes[PROTO_HEADER_SIZE], const struct proto_header *header)
{
	store(bytes, header->length, 4);
	store(bytes + 4, header->op, 2);
	store(bytes + 6, header->flags, 2);
	store(bytes + 8, header->id, 8);
	store(bytes + 16, (uint32_t) header->status, 4);
	store(bytes + 20, header->reserved, 4);
}

/* The largest payload that a message of this operation may have. */
static uint32_t payload_limit(unsigned op, bool reply)
{
	switch (op) {
	case PROTO_WRITE:
		return reply ? PROTO_SMALL_MAX : PROTO_PAYLOAD_MAX;
	case PROTO_READ:
	case PROTO_OPENDIR:
	case PROTO_READDIR:
	case PROTO_SCAN:
		return reply ? PROTO_CHUNK + 4096 : PROTO_SMALL_MAX;
	default:
		return PROTO_SMALL_MAX;
	}
}

int proto_header_decode(const uint8_t bytes[PROTO_HEADER_SIZE], struct proto_header *ret_header)
{
	struct proto_header header = {
		.length = (uint32_t) load(bytes, 4),
		.op = (uint16_t) load(bytes + 4, 2),
		.flags = (uint16_t) load(bytes + 6, 2),
		.id = load(bytes + 8, 8),
		.status = (int32_t) (uint32_t) load(bytes + 16, 4),
		.reserved = (uint32_t) load(bytes + 20, 4),
	};
	const struct proto_op_info *info = proto_op_info(header.op);
	bool reply = (header.flags & PROTO_FRAME_REPLY) != 0;

	if (info == NULL || header.reserved != 0 || header.id == 0 ||
	    (header.flags &
	     ~(unsigned) (PROTO_FRAME_REPLY | PROTO_FRAME_MORE | PROTO_FRAME_ANEW | PROTO_FRAME_LEASED)) != 0 ||
	    ((header.flags & PROTO_FRAME_ANEW) != 0 && (reply || info->lane != PROTO_LANE_DATA)) ||
	    ((header.flags & PROTO_FRAME_LEASED) != 0 && (!reply || info->lane != PROTO_LANE_DATA)) ||
	    header.length > payload_limit(header.op, reply))
		return -EBADMSG;
	if (reply && (info->replay == PROTO_REPLAY_NOREPLY || header.status < 0 || header.status > 4095 ||
	              (header.status != 0 && (header.length != 0 || (header.flags & PROTO_FRAME_MORE) != 0))))
		return -EBADMSG;
	if (!reply && (header.status != 0 || (header.flags & PROTO_FRAME_MORE) != 0))
		return -EBADMSG;
	*ret_header = header;
	return 0;
}
