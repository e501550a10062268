/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A raw client for tests: one lane, every operation as a call, and the means to send what no client would. Replies'
 * data and blobs point into the client's memory until the next call.
 */
#pragma once

#include "protocol/channel.h"

struct raw {
	struct proto_channel channel;
	uint64_t id; /* of the last request */
	uint8_t request[PROTO_SMALL_MAX];
	uint8_t data[PROTO_DATA_MAX + 64]; /* the fields before it, too */
	uint16_t flags;                    /* PROTO_FRAME_* of requests */
	int host_error; /* what the host answers for once, beside the errors of the table; 0: nothing */
};

/* Takes fd. */
int raw_init(struct raw *raw, int fd);
void raw_done(struct raw *raw);

/*
 * raw_lookup(raw, request, ret_reply) and so on: 0, the server's negative errno, or -EPROTO and others where the lane
 * broke. Operations without a reply only send.
 */
#define OP(SYMBOL, op, number, lane, from, changes, replay, doc)                                                       \
	int raw_##op(struct raw *raw, const struct proto_##op##_request *request, struct proto_##op##_reply *ret_reply);
#include "protocol/ops.def"

/* The wait for WELCOME, for a lane whose handshake was done elsewhere. */
int raw_welcome(struct raw *raw, struct proto_proof_reply *ret_welcome);

/* The code of the GOODBYE that comes next on an event lane, or a negative errno. */
int raw_wait_goodbye(struct raw *raw);

/* Sends bytes as they are. */
int raw_bytes(struct raw *raw, const void *bytes, size_t size);
/* Sends a header of any content and size bytes behind it. */
int raw_frame(struct raw *raw, const struct proto_header *header, const void *payload, size_t size);
/* Waits for the server to close the lane: true, or false after timeout_ms. */
bool raw_closed(struct raw *raw, int timeout_ms);

/* Fill a name; a bad one too. */
struct proto_name raw_name(const char *text);
