/* SPDX-License-Identifier: Apache-2.0 */
/* The event lane of a session. */
#include "fileserver/worker/events.h"

#include <errno.h>

#include "fileserver/worker/lanes.h"
#include "fileserver/worker/leases/leases.h"

enum { SILENT_HEARTBEATS = 3 };

/*
 * events_ping(service, request, ret_reply) and so on, one for each operation that a guest sends on the event lane.
 * Returns 0 or a negative errno for the reply; -ENOTCONN: the session is over. A missing one does not link.
 */
#define EVENT_GUEST(op)                                                                                                \
	static int events_##op(struct service *service, const struct proto_##op##_request *request,                    \
	                       struct proto_##op##_reply *ret_reply);
#define EVENT_BOTH(op) EVENT_GUEST(op)
#define EVENT_SERVER(op)
#define LANE_EVENT(from, op)      EVENT_##from(op)
#define LANE_EVENT_LIST(from, op) EVENT_##from(op)
#define LANE_HANDSHAKE(from, op)
#define LANE_LIST(from, op)
#define LANE_DATA(from, op)
#define OP(SYMBOL, op, number, lane, from, changes, replay, doc) LANE_##lane(from, op)
#include "protocol/ops.def"
#undef EVENT_GUEST

static int events_ping(struct service *service, const struct proto_ping_request *request,
                       struct proto_ping_reply *ret_reply)
{
	ret_reply->sequence = request->sequence;
	return 0;
}

static int events_lane_state(struct service *service, const struct proto_lane_state_request *request,
                             struct proto_lane_state_reply *ret_reply)
{
	lanes_state(service, request->lane, ret_reply);
	return 0;
}

static int events_invalidated(struct service *service, const struct proto_invalidated_request *request,
                              struct proto_invalidated_reply *ret_reply)
{
	leases_acknowledged(service->session.leases, request->sequence);
	return 0;
}

static int events_goodbye(struct service *service, const struct proto_goodbye_request *request,
                          struct proto_goodbye_reply *ret_reply)
{
	return -ENOTCONN;
}

/* serve_ping() and so on: decode, handle, encode. */
#define EVENT_GUEST(op)                                                                                                \
	static int serve_##op(struct service *service, struct proto_reader *reader, struct proto_writer *writer)       \
	{                                                                                                              \
		struct proto_##op##_request request;                                                                   \
		struct proto_##op##_reply reply;                                                                       \
		int r = proto_decode_##op##_request(reader, &request);                                                 \
                                                                                                                       \
		if (r == 0)                                                                                            \
			r = events_##op(service, &request, &reply);                                                    \
		return r < 0 ? r : proto_encode_##op##_reply(writer, &reply);                                          \
	}
#define OP(SYMBOL, op, number, lane, from, changes, replay, doc) LANE_##lane(from, op)
#include "protocol/ops.def"
#undef EVENT_GUEST

typedef int serve_function(struct service *service, struct proto_reader *reader, struct proto_writer *writer);

static serve_function *const serve[PROTO_OP_LIMIT] = {
#define EVENT_GUEST(op)                                          [PROTO_NUMBER_##op] = serve_##op,
#define OP(SYMBOL, op, number, lane, from, changes, replay, doc) LANE_##lane(from, op)
#include "protocol/ops.def"
};

static int answer(struct service *service, const struct proto_header *request, const struct proto_writer *writer,
                  int result)
{
	struct proto_header header = {
		.op = request->op, .flags = PROTO_FRAME_REPLY, .id = request->id, .status = -result
	};

	return service_send_event(service, &header, result < 0 ? NULL : writer);
}

/* Returns 0; -ENOTCONN: the guest sent GOODBYE; -EBADMSG or another negative errno: the session is over. */
static int serve_event(struct service *service, const struct proto_header *header, struct proto_reader *reader)
{
	const struct proto_op_info *info = proto_op_expected(header->op, PROTO_LANE_EVENT, PROTO_FROM_GUEST);
	uint8_t memory[PROTO_MOST_EVENT];
	struct proto_writer writer;
	int r;

	if (info == NULL || (header->flags & PROTO_FRAME_REPLY) != 0)
		return -EBADMSG;
	proto_writer_init(&writer, memory, sizeof(memory));
	r = serve[header->op](service, reader, &writer);
	if (r == -EBADMSG || r == -ENOTCONN)
		return r;
	proto_counter_add(&service->session.counters->ops[header->op].count, 1);
	return info->replay == PROTO_REPLAY_NOREPLY ? 0 : answer(service, header, &writer, r);
}

/* The event lane's thread. Returns when the session is over. */
static void *serve_events(void *argument)
{
	struct service *service = argument;
	struct proto_header header;
	struct proto_reader reader;
	int silent = 0, r = 0;

	while (silent < SILENT_HEARTBEATS) {
		/* After our GOODBYE only the peer's close matters, whatever it sends before. */
		bool over = atomic_load(&service->ended);

		r = over ? proto_channel_discard(&service->event)
		         : proto_channel_next(&service->event, &header, &reader);
		if (r == -EAGAIN) {
			silent++;
			continue;
		}
		silent = 0;
		if (r == 0 && !over && !atomic_load(&service->ended))
			r = serve_event(service, &header, &reader);
		if (r < 0)
			break;
	}
	if (r == -EBADMSG)
		service_broken(service, "event lane");
	else if (silent >= SILENT_HEARTBEATS)
		service_end(service, PROTO_GOODBYE_SILENT, "no heartbeat from the guest");
	else
		service_end(service, PROTO_GOODBYE_DONE, "");
	service_thread_ended(service);
	return NULL;
}

/* Tells the guest what changes. */
static void *serve_leases(void *argument)
{
	struct service *service = argument;

	leases_run(service->session.leases, service->end_fd);
	/* Whatever ended it: nobody tells the guest of changes any more. */
	service_end(service, PROTO_GOODBYE_DONE, "The file server cannot go on with this mount.");
	service_thread_ended(service);
	return NULL;
}

/* Looks for changes that the host's kernel does not tell of. */
static void *serve_leases_again(void *argument)
{
	struct service *service = argument;

	leases_look_again(service->session.leases, service->end_fd);
	service_thread_ended(service);
	return NULL;
}

int events_start(struct service *service)
{
	int r = service_welcome(service, &service->event, service->session.config.proof_id, 0);

	if (r < 0)
		return r;
	lock_take(&service->lock);
	r = service->session.leases == NULL ? 0 : service_run(service, serve_leases, service);
	if (r == 0 && service->session.leases != NULL)
		r = service_run(service, serve_leases_again, service);
	if (r == 0)
		r = service_run(service, serve_events, service);
	lock_give(&service->lock);
	return r;
}
