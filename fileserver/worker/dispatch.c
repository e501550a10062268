/* SPDX-License-Identifier: Apache-2.0 */
/* From a frame to its handler and back, made from the table of operations. */
#include "fileserver/worker/dispatch.h"

#include <errno.h>
#include <string.h>

#include "fileserver/worker/allotment.h"
#include "fileserver/worker/protect.h"
#include "protocol/clock.h"

/* The one place where the share's mode decides: the guest's kernel may have been told otherwise. */
static int permit(const struct session *session, const struct proto_op_info *info, const struct proto_reader *reader)
{
	bool change =
	        info->changes == PROTO_CHANGES_YES || (info->changes == PROTO_CHANGES_BY_FLAGS && reader->wants_change);

	return change && session_is_read_only(session) ? -EROFS : 0;
}

/* serve_lookup() and so on: decode, permit, handle, encode. */
#define HANDLER_DATA(SYMBOL, op)                                                                                       \
	static int serve_##op(struct lane *lane, const struct proto_op_info *info, struct proto_reader *reader,        \
	                      struct proto_writer *writer)                                                             \
	{                                                                                                              \
		struct proto_##op##_request request;                                                                   \
		struct proto_##op##_reply reply;                                                                       \
		int r = proto_decode_##op##_request(reader, &request);                                                 \
                                                                                                                       \
		memset(&reply, 0, sizeof(reply));                                                                      \
		if (r == 0)                                                                                            \
			r = permit(lane->session, info, reader);                                                       \
		if (r == 0)                                                                                            \
			r = protect_permit(lane->session, PROTO_##SYMBOL, &request);                                   \
		if (r == 0)                                                                                            \
			r = worker_##op(lane, &request, &reply);                                                       \
		if (r == 0)                                                                                            \
			r = proto_encode_##op##_reply(writer, &reply);                                                 \
		return r;                                                                                              \
	}
#define HANDLER_EVENT(SYMBOL, op)
#define HANDLER_LIST(SYMBOL, op)
#define HANDLER_HANDSHAKE(SYMBOL, op)
#define OP(SYMBOL, op, number, lane, from, changes, replay, doc) HANDLER_##lane(SYMBOL, op)
#include "protocol/ops.def"
#undef HANDLER_DATA
#undef HANDLER_EVENT
#undef HANDLER_LIST
#undef HANDLER_HANDSHAKE

typedef int serve_function(struct lane *lane, const struct proto_op_info *info, struct proto_reader *reader,
                           struct proto_writer *writer);

static serve_function *const serve[PROTO_OP_LIMIT] = {
#define HANDLER_DATA(number, op) [number] = serve_##op,
#define HANDLER_EVENT(number, op)
#define HANDLER_LIST(number, op)
#define HANDLER_HANDSHAKE(number, op)
#define OP(SYMBOL, op, number, lane, from, changes, replay, doc) HANDLER_##lane(number, op)
#include "protocol/ops.def"
};

/* That a name, an attribute or more data is not there is an answer like others: compilers ask so all day. */
static bool is_error(int result)
{
	return result < 0 && result != -ENOENT && result != -ENODATA && result != -ENXIO;
}

static void count(struct lane *lane, unsigned op, int result, int64_t begin, size_t bytes)
{
	struct proto_counter *counter = &lane->session->counters->ops[op];

	proto_counter_add(&counter->count, 1);
	if (is_error(result))
		proto_counter_add(&counter->errors, 1);
	proto_counter_add(&counter->bytes, bytes);
	proto_counter_add(&counter->nanoseconds, (uint64_t) (clock_ns() - begin));
}

/* What a handler did not take of a request's data must be gone before the next frame. */
static int drain(struct proto_channel *channel)
{
	const void *bytes;
	ssize_t n;

	while ((n = proto_channel_more(channel, &bytes)) > 0)
		;
	return (int) n;
}

static int answer(struct lane *lane, unsigned op, int result, const struct proto_writer *writer)
{
	struct proto_header header = {
		.op = (uint16_t) op,
		.flags = PROTO_FRAME_REPLY,
		.id = lane->id,
		.status = result < 0 ? -result : 0,
	};

	return proto_channel_send(&lane->channel, &header, result < 0 ? NULL : writer);
}

int dispatch_request(struct lane *lane, const struct proto_header *header, struct proto_reader *reader)
{
	const struct proto_op_info *info = proto_op_info(header->op);
	bool replies = info->replay != PROTO_REPLAY_NOREPLY;
	struct proto_channel *channel = &lane->channel;
	int64_t begin = clock_ns();
	struct proto_writer writer;
	int result, r;

	if (info->lane != PROTO_LANE_DATA || (header->flags & PROTO_FRAME_REPLY) != 0)
		return -EBADMSG;
	/* One request in flight: the reply is built where the next would lie. */
	if (replies && channel->start != channel->end)
		return -EBADMSG;
	lane->id = header->id;
	lane->anew = (header->flags & PROTO_FRAME_ANEW) != 0;
	atomic_store(&lane->last, header->id);
	atomic_store(&lane->busy, 1);
	proto_writer_init(&writer, lane->reply, PROTO_SMALL_MAX);
	result = serve[header->op](lane, info, reader, &writer);
	r = drain(channel);
	if (result == -EBADMSG || r < 0)
		return result == -EBADMSG ? result : r;
	count(lane, header->op, result, begin, header->length + writer.tail_length);
	if (replies)
		r = answer(lane, header->op, result, &writer);
	atomic_store(&lane->busy, 0);
	allotment_look(lane->session);
	return r;
}
