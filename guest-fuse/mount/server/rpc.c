/* SPDX-License-Identifier: Apache-2.0 */
/* The server's operations as functions, made from the table. */
#include "guest-fuse/mount/server/rpc.h"

#include <errno.h>
#include <string.h>

#include "guest-fuse/mount/server/exchange.h"
#include "guest-fuse/mount/server/request.h"
#include "protocol/frame.h"

/*
 * A reply of the wrong length ends the connection; one with a refused value fails the operation only. The error is
 * always -EIO, so that it is not taken for the server's answer.
 */
static int checked(struct request *from, enum proto_op op, int decoded)
{
	if (decoded == -EBADMSG)
		return exchange_broken(from, op, "wrong length");
	return decoded < 0 ? -EIO : 0;
}

#define CALL_SAFE(SYMBOL, op)                                                                                          \
	int rpc_##op(struct request *from, const struct proto_##op##_request *request,                                 \
	             struct proto_##op##_reply *ret_reply)                                                             \
	{                                                                                                              \
		struct proto_reader reader;                                                                            \
		struct proto_writer writer;                                                                            \
		int r;                                                                                                 \
                                                                                                                       \
		proto_writer_init(&writer, from->message, PROTO_SMALL_MAX);                                            \
		r = proto_encode_##op##_request(&writer, request);                                                     \
		if (r == 0)                                                                                            \
			r = exchange_fields(from, PROTO_##SYMBOL, &writer, &reader);                                   \
		if (r == 0)                                                                                            \
			r = checked(from, PROTO_##SYMBOL, proto_decode_##op##_reply(&reader, ret_reply));              \
		return r;                                                                                              \
	}
#define CALL_ONCE(SYMBOL, op)  CALL_SAFE(SYMBOL, op)
#define CALL_NEVER(SYMBOL, op) CALL_SAFE(SYMBOL, op)
#define CALL_NOREPLY(SYMBOL, op)                                                                                       \
	int rpc_##op(struct request *from, const struct proto_##op##_request *request,                                 \
	             struct proto_##op##_reply *ret_reply)                                                             \
	{                                                                                                              \
		struct proto_writer writer;                                                                            \
		int r;                                                                                                 \
                                                                                                                       \
		proto_writer_init(&writer, from->message, PROTO_SMALL_MAX);                                            \
		r = proto_encode_##op##_request(&writer, request);                                                     \
		return r < 0 ? r : exchange_send(from, PROTO_##SYMBOL, &writer);                                       \
	}
#define CALLS_DATA(SYMBOL, op, replay)       CALL_##replay(SYMBOL, op)
#define CALLS_EVENT_LIST(SYMBOL, op, replay) /* the keeper's and the guest agent's */
#define CALLS_EVENT(SYMBOL, op, replay)      /* the keeper's */
#define CALLS_LIST(SYMBOL, op, replay)       /* the guest agent's */
#define CALLS_HANDSHAKE(SYMBOL, op, replay)  /* proto_hello() and proto_attach() */

#define OP(SYMBOL, op, number, lane_, from_, changes, replay, doc) CALLS_##lane_(SYMBOL, op, replay)
#include "protocol/ops.def"

int rpc_open_data(struct request *from, const struct proto_open_request *request, struct proto_open_reply *ret_reply)
{
	int r = rpc_open(from, request, ret_reply);

	return r == 0 && ret_reply->data.length > request->size
	               ? exchange_broken(from, PROTO_OPEN, "more than asked for")
	               : r;
}

/*
 * rpc_opendir_data() and so on: the reply ends in data, which comes in any number of frames and lies at
 * request_data(from).
 */
#define CALL_DATA(SYMBOL, op, field)                                                                                   \
	int rpc_##op##_data(struct request *from, const struct proto_##op##_request *request,                          \
	                    struct proto_##op##_reply *ret_reply)                                                      \
	{                                                                                                              \
		uint8_t fixed[PROTO_MOST_##op##_reply];                                                                \
		struct proto_writer writer;                                                                            \
		struct proto_reader reader;                                                                            \
		size_t length;                                                                                         \
		int r;                                                                                                 \
                                                                                                                       \
		proto_writer_init(&writer, from->message, PROTO_SMALL_MAX);                                            \
		r = proto_encode_##op##_request(&writer, request);                                                     \
		if (r == 0)                                                                                            \
			r = exchange_data(from, PROTO_##SYMBOL, &writer, fixed, sizeof(fixed), request->size,          \
			                  &length);                                                                    \
		if (r < 0)                                                                                             \
			return r;                                                                                      \
		/* Each frame says how much of the data is its own. */                                                 \
		memset(fixed + sizeof(fixed) - PROTO_MOST_data, 0, PROTO_MOST_data);                                   \
		proto_reader_init(&reader, fixed, sizeof(fixed), sizeof(fixed));                                       \
		r = checked(from, PROTO_##SYMBOL, proto_decode_##op##_reply(&reader, ret_reply));                      \
		ret_reply->field =                                                                                     \
		        (struct proto_data){ .length = length, .available = length, .bytes = request_data(from) };     \
		return r;                                                                                              \
	}
CALL_DATA(OPENDIR, opendir, entries)
CALL_DATA(READDIR, readdir, entries)
CALL_DATA(SCAN, scan, entries)

CALL_DATA(READ, read, data)

int rpc_read_any(struct request *from, const struct proto_read_request *request, struct proto_read_reply *ret_reply)
{
	int r;

	if (request->size > PROTO_BLOB_MAX)
		return rpc_read_data(from, request, ret_reply);
	/* A reply that fits into the connection's receive buffer is taken from there. */
	r = rpc_read(from, request, ret_reply);
	return r == 0 && ret_reply->data.length > request->size
	               ? exchange_broken(from, PROTO_READ, "more than asked for")
	               : r;
}
