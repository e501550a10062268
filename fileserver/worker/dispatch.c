/* SPDX-License-Identifier: Apache-2.0 */
/* From a frame to its handler and back, generated from the table of operations. */
#include "fileserver/worker/dispatch.h"

#include <errno.h>
#include <string.h>

#include "fileserver/worker/gate.h"
#include "fileserver/worker/leases/leases.h"
#include "fileserver/worker/operations/handlers.h"
#include "protocol/clock.h"

/* take_lookup() and so on: makes the handler's request of the decoded one, with the objects that it names pinned. */
#define REQUEST(op)                                                                                                    \
	__attribute__((unused)) static int take_##op(struct call *call, const struct proto_##op##_request *request,    \
	                                             struct worker_##op *ret_request)                                  \
	{                                                                                                              \
		int r = 0;
#define FIELD(kind, name, doc) ret_request->name = request->name;
#define OBJECT(kind, need, name, doc)                                                                                  \
	if (r == 0)                                                                                                    \
		r = gate_##kind(call, GATE_##kind##_##need, TAKEN_##kind(request->name), &ret_request->name);
#define RESULT(kind, name, doc)
#define END(op)                                                                                                        \
	return r;                                                                                                      \
	}
#define TAKEN_node(field)   (field)
#define TAKEN_handle(field) (field)
#define TAKEN_name(field)   (&(field))
#include "protocol/ops.def"

static bool attr_is_unleased(const struct proto_attr *attr)
{
	return attr->mode != 0 && (attr->flags & PROTO_ATTR_LEASED) == 0;
}

static bool entry_is_unleased(const struct proto_entry *entry)
{
	return attr_is_unleased(&entry->attr);
}

static bool is_never_unleased(const void *field)
{
	return false;
}

/* unleased_lookup() and so on: whether some attributes in the reply are under no lease. */
#define REPLY(op)                                                                                                      \
	__attribute__((unused)) static bool unleased_##op(const struct proto_##op##_reply *reply)                      \
	{                                                                                                              \
		bool unleased = false;
#define RESULT(kind, name, doc)                                                                                        \
	unleased |= _Generic(&reply->name, const struct proto_attr *                                                   \
	                     : attr_is_unleased, const struct proto_entry *                                            \
	                     : entry_is_unleased, default                                                              \
	                     : is_never_unleased)(&reply->name);
#define END(op)                                                                                                        \
	return unleased;                                                                                               \
	}
#include "protocol/ops.def"

/* serve_lookup() and so on: decode, pass the gate, handle, encode. */
#define HANDLER_DATA(op)                                                                                               \
	static int serve_##op(struct call *call, struct proto_reader *reader, struct proto_writer *writer)             \
	{                                                                                                              \
		struct proto_##op##_request message;                                                                   \
		struct worker_##op request;                                                                            \
		struct proto_##op##_reply reply;                                                                       \
		int r = proto_decode_##op##_request(reader, &message);                                                 \
                                                                                                                       \
		memset(&reply, 0, sizeof(reply));                                                                      \
		if (r == 0)                                                                                            \
			r = gate_enter(call, reader);                                                                  \
		if (r == 0)                                                                                            \
			r = take_##op(call, &message, &request);                                                       \
		if (r == 0)                                                                                            \
			r = gate_pass(call, reader);                                                                   \
		if (r == 0)                                                                                            \
			r = worker_##op(call, &request, &reply);                                                       \
		if (r == 0)                                                                                            \
			gate_done(call);                                                                               \
		call->unleased = r == 0 && (call->unleased || unleased_##op(&reply));                                  \
		gate_leave(call);                                                                                      \
		return r < 0 ? r : proto_encode_##op##_reply(writer, &reply);                                          \
	}
#define HANDLER_EVENT(op)
#define HANDLER_EVENT_LIST(op)
#define HANDLER_LIST(op)
#define HANDLER_HANDSHAKE(op)
#define OP(SYMBOL, op, number, lane, from, changes, replay, doc) HANDLER_##lane(op)
#include "protocol/ops.def"
#undef HANDLER_DATA

typedef int serve_function(struct call *call, struct proto_reader *reader, struct proto_writer *writer);

static serve_function *const serve[PROTO_OP_LIMIT] = {
#define HANDLER_DATA(op)                                         [PROTO_NUMBER_##op] = serve_##op,
#define OP(SYMBOL, op, number, lane, from, changes, replay, doc) HANDLER_##lane(op)
#include "protocol/ops.def"
};

/* A name, an attribute or data that does not exist is an ordinary answer: compilers ask for such names all day. */
static bool is_error(int result)
{
	return result < 0 && result != -ENOENT && result != -ENODATA && result != -ENXIO;
}

static void count(struct session *session, unsigned op, int result, int64_t begin, size_t bytes)
{
	struct proto_counter *counter = &session->counters->ops[op];

	proto_counter_add(&counter->count, 1);
	if (is_error(result))
		proto_counter_add(&counter->errors, 1);
	proto_counter_add(&counter->bytes, bytes);
	proto_counter_add(&counter->nanoseconds, (uint64_t) (clock_ns() - begin));
}

/* Reads and discards the request's data that the handler did not take: the next frame follows them. */
static int drain(struct proto_channel *channel)
{
	const void *bytes;
	ssize_t n;

	while ((n = proto_channel_more(channel, &bytes)) > 0)
		;
	return (int) n;
}

/* For how long, in ms, the guest may keep something of a reply that is under no lease; 0: it keeps nothing of it. */
static uint32_t kept_for(const struct call *call, int result)
{
	bool has_names = call->names_count > 0 || call->op == PROTO_OPENDIR || call->op == PROTO_READDIR ||
	                 call->op == PROTO_SCAN;
	bool unleased = call->unleased || (has_names && !call->leased);

	/* That a name is missing is kept, too. */
	if (!unleased || (result < 0 && result != -ENOENT))
		return 0;
	switch (call->op) {
	case PROTO_OPEN:
	case PROTO_SETATTR:
	case PROTO_WRITE:
	case PROTO_FALLOCATE:
	case PROTO_COPY_RANGE:
		return PROTO_KEEP_BRIEFLY_MS;
	default:
		return PROTO_KEEP_MS;
	}
}

static int answer(const struct call *call, int result, const struct proto_writer *writer)
{
	struct proto_header header = {
		.op = (uint16_t) call->op,
		.flags = (uint16_t) (PROTO_FRAME_REPLY | (call->leased ? PROTO_FRAME_LEASED : 0)),
		.id = call->id,
		.status = result < 0 ? -result : 0,
	};

	return proto_channel_send(call->channel, &header, result < 0 ? NULL : writer);
}

int dispatch_request(struct call *call, const struct proto_header *header, struct proto_reader *reader)
{
	const struct proto_op_info *info = proto_op_expected(header->op, PROTO_LANE_DATA, PROTO_FROM_GUEST);
	struct proto_channel *channel = call->channel;
	int64_t begin = clock_ns();
	struct proto_writer writer;
	uint32_t kept;
	bool replies;
	int result, r;

	if (info == NULL || (header->flags & PROTO_FRAME_REPLY) != 0)
		return -EBADMSG;
	replies = info->replay != PROTO_REPLAY_NOREPLY;
	/* The guest has sent another request before the reply, which is built in the same buffer. */
	if (replies && channel->start != channel->end)
		return -EBADMSG;
	call->op = header->op;
	call->id = header->id;
	call->leased = call->unleased = false;
	call->anew = (header->flags & PROTO_FRAME_ANEW) != 0;
	proto_writer_init(&writer, call->fields, PROTO_SMALL_MAX);
	result = serve[header->op](call, reader, &writer);
	r = drain(channel);
	if (result == -EBADMSG || r < 0)
		return result == -EBADMSG ? result : r;
	kept = call->session->leases == NULL ? 0 : kept_for(call, result);
	if (kept > 0)
		leases_kept(call->session->leases, kept);
	count(call->session, header->op, result, begin, header->length + writer.tail_length);
	return replies ? answer(call, result, &writer) : 0;
}
