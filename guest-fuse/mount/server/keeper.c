/* SPDX-License-Identifier: Apache-2.0 */
/* The main thread of a running mount. */
#include "guest-fuse/mount/server/keeper.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "guest-fuse/mount/mount-options.h"
#include "guest-fuse/mount/server/connection.h"
#include "guest-fuse/mount/server/forgets.h"
#include "guest-fuse/mount/server/pending.h"
#include "guest-fuse/mount/server/request.h"
#include "guest-fuse/mount/server/server.h"
#include "protocol/cleanup.h"
#include "protocol/clock.h"
#include "protocol/faults.h"
#include "protocol/log.h"

enum {
	FORGET_MS = 20,         /* delay of FORGET: removed files take room on the host until they are forgotten */
	PING_LATE_MS = 1000,    /* while a PING is unanswered for so long, no FORGET is sent */
	STUCK_MS = 5000,        /* the server is asked about a request that takes so long, and again after as long */
	STRIKES = 2,            /* so many times the server did not know the request: its connection is given up */
	STOP_MS = 5000,         /* after a signal, for programs that still use the mount */
	CLOSE_MS = 1000,        /* wait for the server to close after GOODBYE */
	AWAKE_MS = 2000,        /* poll interval while awake, and how long it stays so after a request stirred it */
	INPUT_SIZE = 64 * 1024, /* at least one message */
	UNMOUNTER_STACK = 128 * 1024,
};

/* What the keeper asked the server about a lane. */
struct inquiry {
	uint64_t question; /* id of LANE_STATE; 0: none is open */
	uint64_t rpc;      /* about this request */
	int64_t asked;     /* clock_ms() */
	unsigned strikes;  /* how often the server did not know it */
};

struct keeper {
	struct server *server;
	struct pending *pending;
	const struct keeper_duties *duties;
	struct proto_channel event; /* the event lane */
	int signals, statistics;
	const char *mountpoint;
	uint8_t input[INPUT_SIZE];
	size_t have;
	uint64_t next_id, ping_id;
	uint64_t acknowledged;        /* told to the server */
	int64_t ping_next, ping_sent; /* clock_ms(); ping_sent 0: none is open */
	int64_t forget_at, stop_at;   /* clock_ms(), 0: not planned */
	int64_t awake_until;          /* clock_ms() */
	struct inquiry inquiries[PENDING_MAX];
};

int keeper_new(struct pending *pending, struct proto_channel *event, int signals, int statistics,
               const char *mountpoint, const struct keeper_duties *duties, struct keeper **ret_keeper)
{
	struct keeper *keeper = FAULT_NULL(MOUNT_KEEPER, calloc(1, sizeof(*keeper)));

	if (keeper == NULL)
		return -ENOMEM;
	keeper->server = pending->server;
	keeper->pending = pending;
	keeper->duties = duties;
	keeper->signals = signals;
	keeper->statistics = statistics;
	keeper->mountpoint = mountpoint;
	/* From here on this thread takes bytes as they come, so that a server that sends half a frame cannot block it.
	 */
	keeper->have = event->end - event->start;
	if (keeper->have > sizeof(keeper->input)) {
		free(keeper);
		return -EPROTO;
	}
	memcpy(keeper->input, event->buffer + event->start, keeper->have);
	keeper->event = *event;
	*ret_keeper = keeper;
	return 0;
}

void keeper_free(struct keeper *keeper)
{
	if (keeper == NULL)
		return;
	proto_channel_done(&keeper->event);
	free(keeper);
}

static void die(struct keeper *keeper, int error, const char *why)
{
	static const struct proto_invalidate_request all = { .what = PROTO_INVALIDATE_ALL };

	if (pending_fail(keeper->pending, error)) {
		log_error("%s: the session is over (%s); operations fail with \"%s\" until it is unmounted",
		          keeper->mountpoint, why, strerror(error));
		/* Nobody tells any more what has changed. */
		keeper->duties->invalidate(keeper->duties->data, &all);
	}
	proto_channel_kill(&keeper->event);
}

static int send_message(struct keeper *keeper, enum proto_op op, const struct proto_writer *writer, uint64_t *ret_id)
{
	struct proto_header header = { .op = (uint16_t) op, .id = ++keeper->next_id };

	*ret_id = header.id;
	proto_counter_add(&keeper->server->counters.ops[op].count, 1);
	return proto_channel_send(&keeper->event, &header, writer);
}

static int send_ping(struct keeper *keeper, int64_t now)
{
	struct proto_ping_request request = { .sequence = keeper->next_id };
	struct proto_writer writer;
	uint8_t bytes[PROTO_MOST_ping_request];

	proto_writer_init(&writer, bytes, sizeof(bytes));
	(void) proto_encode_ping_request(&writer, &request);
	keeper->ping_sent = now;
	return send_message(keeper, PROTO_PING, &writer, &keeper->ping_id);
}

/*
 * As often as the server demands. While requests are under way, also at least twice within timeout=, so that a dead
 * server is found in time; while there are none, it is found at the next request.
 */
static int64_t ping_interval(const struct keeper *keeper)
{
	const struct server *server = keeper->server;
	int64_t theirs = server->welcome.heartbeat_ms, own = server->options->timeout_s * INT64_C(1000) / 2;

	if (atomic_load(&server->dozing))
		return theirs - theirs / 6;
	return theirs / 3 < own ? theirs / 3 : own;
}

static void heartbeat(struct keeper *keeper, int64_t now)
{
	if (keeper->ping_sent != 0 && now - keeper->ping_sent >= keeper->server->options->timeout_s * INT64_C(1000)) {
		die(keeper, ENOTCONN, "the server does not answer any more");
		return;
	}
	if (keeper->ping_sent != 0 || now < keeper->ping_next)
		return;
	keeper->ping_next = now + ping_interval(keeper);
	if (send_ping(keeper, now) < 0)
		die(keeper, ENOTCONN, "the connection to the server broke");
}

/* Tells the server which INVALIDATE messages were acted on. */
static void acknowledge(struct keeper *keeper)
{
	struct proto_invalidated_request request = { .sequence = atomic_load(&keeper->server->acknowledged) };
	uint8_t bytes[PROTO_MOST_invalidated_request];
	struct proto_writer writer;
	uint64_t id;

	if (request.sequence == keeper->acknowledged)
		return;
	keeper->acknowledged = request.sequence;
	proto_writer_init(&writer, bytes, sizeof(bytes));
	(void) proto_encode_invalidated_request(&writer, &request);
	if (send_message(keeper, PROTO_INVALIDATED, &writer, &id) < 0)
		die(keeper, ENOTCONN, "the connection to the server broke");
}

/* Asks about requests that take long, since the message or its answer may have been lost. */
static void ask_about_stuck(struct keeper *keeper, int64_t now)
{
	const struct pending *pending = keeper->pending;

	for (unsigned i = 0; i < atomic_load(&pending->count); i++) {
		struct inquiry *inquiry = &keeper->inquiries[i];
		struct request *waiting = pending->all[i];
		uint64_t rpc = atomic_load(&waiting->rpc);
		struct proto_lane_state_request request = { .lane = connection_number(waiting->connection) };
		struct proto_writer writer;
		uint8_t bytes[PROTO_MOST_lane_state_request];

		if (rpc == 0 || now - atomic_load(&waiting->since) / 1000000 < STUCK_MS ||
		    now - inquiry->asked < STUCK_MS)
			continue;
		if (inquiry->rpc != rpc)
			inquiry->strikes = 0;
		inquiry->rpc = rpc;
		inquiry->asked = now;
		proto_writer_init(&writer, bytes, sizeof(bytes));
		(void) proto_encode_lane_state_request(&writer, &request);
		if (send_message(keeper, PROTO_LANE_STATE, &writer, &inquiry->question) < 0)
			return;
	}
}

/*
 * take_ping(keeper, id, reply) and so on for the replies to what is asked on the event lane; take_goodbye(keeper, id,
 * request) for what the server sends. One that is missing does not link.
 */
#define EVENT_GUEST_SAFE(op)                                                                                           \
	static void take_##op(struct keeper *keeper, uint64_t id, const struct proto_##op##_reply *reply);
#define EVENT_GUEST_NOREPLY(op)
#define EVENT_BOTH_NOREPLY(op)                                                                                         \
	static void take_##op(struct keeper *keeper, uint64_t id, const struct proto_##op##_request *request);
#define EVENT_SERVER_NOREPLY(op) EVENT_BOTH_NOREPLY(op)
#define LANE_HANDSHAKE(from, replay, op)
#define LANE_EVENT(from, replay, op)      EVENT_##from##_##replay(op)
#define LANE_EVENT_LIST(from, replay, op) EVENT_##from##_##replay(op)
#define LANE_LIST(from, replay, op)
#define LANE_DATA(from, replay, op)
#define OP(SYMBOL, op, number, lane, from, changes, replay, doc) LANE_##lane(from, replay, op)
#include "protocol/ops.def"
#undef EVENT_GUEST_SAFE
#undef EVENT_BOTH_NOREPLY

static void take_lane_state(struct keeper *keeper, uint64_t id, const struct proto_lane_state_reply *reply)
{
	const struct pending *pending = keeper->pending;

	for (unsigned i = 0; i < atomic_load(&pending->count); i++) {
		struct inquiry *inquiry = &keeper->inquiries[i];
		struct connection *connection = pending->all[i]->connection;

		if (inquiry->question != id)
			continue;
		inquiry->question = 0;
		if (atomic_load(&pending->all[i]->rpc) != inquiry->rpc)
			return; /* answered meanwhile */
		if (reply->last == inquiry->rpc && reply->busy != 0)
			inquiry->strikes = 0;
		else
			inquiry->strikes++;
		if (inquiry->strikes >= STRIKES) {
			log_peer_warning("lane %u lost a request or its answer: it is given up",
			                 connection_number(connection));
			inquiry->strikes = 0;
			connection_kill(connection);
		}
		return;
	}
}

/* The error that every operation fails with after GOODBYE. */
static int error_of(uint32_t goodbye)
{
	switch (goodbye) {
	case PROTO_GOODBYE_REVOKED:
		return EACCES;
	case PROTO_GOODBYE_MOVED:
		return ESTALE;
	default:
		return ENOTCONN;
	}
}

static void take_goodbye(struct keeper *keeper, uint64_t id, const struct proto_goodbye_request *request)
{
	char why[PROTO_TEXT_MAX + 64];

	(void) snprintf(why, sizeof(why), "the server said goodbye: %s",
	                request->text.length > 0 ? request->text.text : "no reason given");
	die(keeper, error_of(request->code), why);
}

static void take_ping(struct keeper *keeper, uint64_t id, const struct proto_ping_reply *reply)
{
	if (id == keeper->ping_id)
		keeper->ping_sent = 0;
}

static void take_invalidate(struct keeper *keeper, uint64_t id, const struct proto_invalidate_request *request)
{
	keeper->duties->invalidate(keeper->duties->data, request);
}

/* decode_ping() and so on: decode, take. */
#define DECODE(op, which)                                                                                              \
	static int decode_##op(struct keeper *keeper, uint64_t id, struct proto_reader *reader)                        \
	{                                                                                                              \
		struct proto_##op##_##which message;                                                                   \
		int r = proto_decode_##op##_##which(reader, &message);                                                 \
                                                                                                                       \
		if (r == 0)                                                                                            \
			take_##op(keeper, id, &message);                                                               \
		return r;                                                                                              \
	}
#define EVENT_GUEST_SAFE(op)                                     DECODE(op, reply)
#define EVENT_BOTH_NOREPLY(op)                                   DECODE(op, request)
#define OP(SYMBOL, op, number, lane, from, changes, replay, doc) LANE_##lane(from, replay, op)
#include "protocol/ops.def"
#undef EVENT_GUEST_SAFE
#undef EVENT_BOTH_NOREPLY

static int (*const decode[PROTO_OP_LIMIT])(struct keeper *keeper, uint64_t id, struct proto_reader *reader) = {
#define EVENT_GUEST_SAFE(op)                                     [PROTO_NUMBER_##op] = decode_##op,
#define EVENT_BOTH_NOREPLY(op)                                   [PROTO_NUMBER_##op] = decode_##op,
#define OP(SYMBOL, op, number, lane, from, changes, replay, doc) LANE_##lane(from, replay, op)
#include "protocol/ops.def"
};

/* One whole message. 0, or -EBADMSG and others when it makes no sense. */
static int take_message(struct keeper *keeper, const struct proto_header *header, const uint8_t *payload)
{
	bool reply = header->flags == PROTO_FRAME_REPLY && header->status == 0;
	const struct proto_op_info *info =
	        proto_op_expected(header->op, PROTO_LANE_EVENT, reply ? PROTO_FROM_GUEST : PROTO_FROM_SERVER);
	struct proto_reader reader;

	/* A message that has no reply gets none. */
	if (info == NULL || (reply ? info->replay == PROTO_REPLAY_NOREPLY : header->flags != 0))
		return -EBADMSG;
	proto_reader_init(&reader, payload, header->length, header->length);
	return decode[header->op](keeper, header->id, &reader);
}

/* Handles the messages that are there in full. */
static int take_messages(struct keeper *keeper)
{
	size_t at = 0;
	int r = 0;

	while (r == 0 && keeper->have - at >= PROTO_HEADER_SIZE) {
		struct proto_header header;
		size_t size;

		r = proto_header_decode(keeper->input + at, &header);

		if (r == 0 && header.length > PROTO_MOST_EVENT)
			r = -EBADMSG;
		if (r < 0)
			return r;
		size = PROTO_HEADER_SIZE + header.length;
		if (keeper->have - at < size)
			break;
		r = take_message(keeper, &header, keeper->input + at + PROTO_HEADER_SIZE);
		at += size;
	}
	keeper->have -= at;
	memmove(keeper->input, keeper->input + at, keeper->have);
	return r;
}

static void read_messages(struct keeper *keeper)
{
	ssize_t n = recv(keeper->event.fd, keeper->input + keeper->have, sizeof(keeper->input) - keeper->have,
	                 MSG_DONTWAIT);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		die(keeper, ENOTCONN, n == 0 ? "the server is gone" : strerror(errno));
		return;
	}
	keeper->have += (size_t) n;
	if (take_messages(keeper) < 0)
		die(keeper, ENOTCONN, "the server sent what makes no sense");
}

/* Gives forgotten nodes back over a connection that is idle, after FORGET_MS. */
static void send_forgets(struct keeper *keeper, int64_t now)
{
	const struct pending *pending = keeper->pending;
	struct server *server = keeper->server;
	bool due = keeper->forget_at != 0 && now >= keeper->forget_at;

	if (forgets_count(server->forgets) == 0 || atomic_load(&server->dead) != 0) {
		keeper->forget_at = 0;
		return;
	}
	if (keeper->forget_at == 0 || due)
		keeper->forget_at = now + FORGET_MS;
	/* A server that is slow to answer may be slow to read, too. */
	if (!due || (keeper->ping_sent != 0 && now - keeper->ping_sent > PING_LATE_MS))
		return;
	for (unsigned i = 0; i < atomic_load(&pending->count); i++)
		if (connection_try_forget(pending->all[i]->connection)) {
			keeper->forget_at = 0;
			return;
		}
}

/*
 * In a thread of its own: the kernel writes back before it unmounts, and the keeper looks after those requests. It may
 * outlive the keeper.
 */
static void *unmount(void *argument)
{
	const struct keeper_duties *duties = argument;

	duties->unmount(duties->data);
	return NULL;
}

/* True: leave now. */
static bool take_signal(struct keeper *keeper)
{
	struct signalfd_siginfo info;
	pthread_attr_t attributes;
	pthread_t thread;
	bool again = keeper->stop_at != 0;

	if (read(keeper->signals, &info, sizeof(info)) != sizeof(info) || again)
		return again;
	keeper->stop_at = clock_ms() + STOP_MS;
	pthread_attr_init(&attributes);
	pthread_attr_setstacksize(&attributes, UNMOUNTER_STACK);
	pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
	if (pthread_create(&thread, &attributes, unmount, (void *) keeper->duties) != 0)
		log_warning("cannot unmount %s: no thread", keeper->mountpoint);
	pthread_attr_destroy(&attributes);
	return false;
}

static void sooner(int64_t *at, int64_t other)
{
	if (other != 0 && other < *at)
		*at = other;
}

/* Dozes unless a request is under way. One that begins after this has looked finds dozing set, and stirs it. */
static void doze(struct keeper *keeper, int64_t now)
{
	struct server *server = keeper->server;

	if (now < keeper->awake_until || atomic_load(&server->dozing))
		return;
	atomic_store(&server->dozing, true);
	if (pending_are_there(keeper->pending) && atomic_exchange(&server->dozing, false))
		keeper->awake_until = now + AWAKE_MS;
	if (atomic_load(&server->dozing))
		keeper->ping_next = now + ping_interval(keeper);
}

/* A request stirred it: a PING is due soon, to know whether the server is alive. */
static void wake_up(struct keeper *keeper, int64_t now)
{
	keeper->awake_until = now + AWAKE_MS;
	sooner(&keeper->ping_next, now + PING_LATE_MS);
}

/* How long there is nothing to do, in milliseconds; -1: until something happens. */
static int pause_ms(const struct keeper *keeper, int64_t now, int look_again_ms)
{
	int64_t at = INT64_MAX;

	if (atomic_load(&keeper->server->dead) == 0) {
		if (!atomic_load(&keeper->server->dozing))
			at = now + AWAKE_MS;
		if (keeper->ping_sent == 0)
			sooner(&at, keeper->ping_next);
		else
			sooner(&at, keeper->ping_sent + keeper->server->options->timeout_s * INT64_C(1000));
		sooner(&at, keeper->forget_at);
	}
	sooner(&at, keeper->stop_at);
	if (look_again_ms != 0)
		sooner(&at, now + look_again_ms);
	if (at == INT64_MAX)
		return -1;
	return at <= now ? 0 : (int) (at - now);
}

/* What is done after each wake-up. Returns what serve_kernel() did (keeper.h). */
static int do_chores(struct keeper *keeper, int64_t now)
{
	if (atomic_load(&keeper->server->dead) == 0) {
		acknowledge(keeper);
		heartbeat(keeper, now);
		ask_about_stuck(keeper, now);
		send_forgets(keeper, now);
	}
	return keeper->duties->serve_kernel(keeper->duties->data);
}

void keeper_run(struct keeper *keeper)
{
	const struct keeper_duties *duties = keeper->duties;
	struct server *server = keeper->server;
	int look_again_ms = 0;

	keeper->ping_next = clock_ms();
	if (take_messages(keeper) < 0)
		die(keeper, ENOTCONN, "the server sent what makes no sense");
	while (!duties->is_over(duties->data)) {
		struct pollfd fds[] = {
			{ .fd = server->wake, .events = POLLIN },
			{ .fd = keeper->signals, .events = POLLIN },
			{ .fd = keeper->statistics, .events = POLLIN },
			{ .fd = atomic_load(&server->dead) == 0 ? keeper->event.fd : -1, .events = POLLIN },
		};
		int64_t now = clock_ms();
		eventfd_t count;
		bool dozed;

		doze(keeper, now);
		dozed = atomic_load(&server->dozing);
		if (poll(fds, ARRAY_SIZE(fds), pause_ms(keeper, now, look_again_ms)) < 0 && errno != EINTR)
			return;
		if (fds[0].revents != 0)
			(void) eventfd_read(server->wake, &count);
		if (fds[1].revents != 0 && take_signal(keeper))
			return;
		if (fds[2].revents != 0)
			duties->answer_statistics(duties->data);
		if (fds[3].revents != 0)
			read_messages(keeper);
		now = clock_ms();
		if (keeper->stop_at != 0 && now >= keeper->stop_at)
			return;
		if (dozed && !atomic_load(&server->dozing))
			wake_up(keeper, now);
		look_again_ms = do_chores(keeper, now);
	}
}

void keeper_goodbye(struct keeper *keeper)
{
	struct pollfd fd = { .fd = keeper->event.fd, .events = POLLIN };
	struct proto_goodbye_request goodbye = { .code = PROTO_GOODBYE_DONE };
	uint8_t bytes[PROTO_MOST_goodbye_request];
	int64_t until = clock_ms() + CLOSE_MS, now;
	struct proto_writer writer;
	uint64_t id;

	if (atomic_load(&keeper->server->dead) != 0)
		return;
	proto_text_set(&goodbye.text, "unmounted");
	proto_writer_init(&writer, bytes, sizeof(bytes));
	if (proto_encode_goodbye_request(&writer, &goodbye) < 0 ||
	    send_message(keeper, PROTO_GOODBYE, &writer, &id) < 0)
		return;
	/* Some transports lose the last bytes when this side closes before the other. */
	while ((now = clock_ms()) < until && poll(&fd, 1, (int) (until - now)) > 0)
		if (recv(fd.fd, bytes, sizeof(bytes), MSG_DONTWAIT) <= 0)
			return;
}
