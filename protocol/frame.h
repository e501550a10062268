/* SPDX-License-Identifier: Apache-2.0 */
/* The header of each message, and its limits. */
#pragma once

#include "messages.h"

enum {
	PROTO_HEADER_SIZE = 24,
	/* Largest payload: 1 MiB of data and the fields before it. */
	PROTO_PAYLOAD_MAX = PROTO_DATA_MAX + 4096,
	/* Largest payload of a message without a data field; RENAME, SETXATTR, FORGET and HELLO are all below. */
	PROTO_SMALL_MAX = PROTO_BLOB_MAX + 4096,

	PROTO_FRAME_REPLY = 1 << 0,
	PROTO_FRAME_MORE = 1 << 1,   /* another frame of the same reply follows */
	PROTO_FRAME_ANEW = 1 << 2,   /* a request's names were just looked up, or it has none: not compared */
	PROTO_FRAME_LEASED = 1 << 3, /* a reply: INVALIDATE will say when its names do not hold any more */
};

/* Little-endian, in this order, 24 bytes. */
struct proto_header {
	uint32_t length; /* of the payload after the header, in bytes */
	uint16_t op;
	uint16_t flags;    /* PROTO_FRAME_* */
	uint64_t id;       /* chosen by the requester, never 0; the reply has the same id */
	int32_t status;    /* reply: 0, or a positive Linux errno and no payload; request: 0 */
	uint32_t reserved; /* 0 */
};

void proto_header_encode(uint8_t bytes[PROTO_HEADER_SIZE], const struct proto_header *header);
/*
 * Decodes and checks everything that can be checked before the payload is read: length, operation, flags, id, status,
 * reserved. Returns 0 or -EBADMSG.
 */
int proto_header_decode(const uint8_t bytes[PROTO_HEADER_SIZE], struct proto_header *ret_header);
