/* SPDX-License-Identifier: Apache-2.0 */
/* One mounted share in a worker: its lanes and its end. */
#include "fileserver/worker/session.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "fileserver/common/resolve.h"
#include "fileserver/worker/attributes.h"
#include "fileserver/worker/dispatch.h"
#include "fileserver/worker/lift.h"
#include "protocol/cleanup.h"
#include "protocol/faults.h"

enum {
	LANE_STACK = 256 * 1024,
	/* A chunk of data and one directory entry that does not fit into it any more. */
	LANE_BUFFER = PROTO_CHUNK + 4096,
	LANE_SOCKET_BUFFER = 1024 * 1024,
	SILENT_HEARTBEATS = 3,
	DRAIN_MS = 2000,
};

bool session_is_read_only(const struct session *session)
{
	return atomic_load(&session->read_only);
}

/* True: the lane is still at the request that it was at, when its last was this. */
static bool is_still_at(struct session *session, size_t number, uint64_t last)
{
	const struct lane *lane;
	bool still;

	pthread_mutex_lock(&session->lock);
	lane = session->lanes[number];
	still = lane != NULL && atomic_load(&lane->busy) != 0 && atomic_load(&lane->last) == last;
	pthread_mutex_unlock(&session->lock);
	return still;
}

bool session_make_read_only(struct session *session, int timeout_ms)
{
	const struct timespec pause = { .tv_nsec = 200000 };
	uint64_t last[ARRAY_SIZE(session->lanes)];
	bool busy[ARRAY_SIZE(session->lanes)];
	struct timespec now, until;

	atomic_store(&session->read_only, true);
	pthread_mutex_lock(&session->lock);
	for (size_t i = 0; i < ARRAY_SIZE(session->lanes); i++) {
		const struct lane *lane = session->lanes[i];

		busy[i] = lane != NULL && atomic_load(&lane->busy) != 0;
		last[i] = busy[i] ? atomic_load(&lane->last) : 0;
	}
	pthread_mutex_unlock(&session->lock);
	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += timeout_ms / 1000;
	until.tv_nsec += (long) (timeout_ms % 1000) * 1000000;
	for (size_t i = 0; i < ARRAY_SIZE(session->lanes); i++) {
		while (busy[i] && is_still_at(session, i, last[i])) {
			clock_gettime(CLOCK_MONOTONIC, &now);
			if ((now.tv_sec - until.tv_sec) * 1000000000 + now.tv_nsec - until.tv_nsec > 0)
				return false;
			(void) nanosleep(&pause, NULL);
		}
	}
	return true;
}

static int pin_with_lift(void *context, int directory, const char *name)
{
	struct lift lift = LIFT_INIT(context);
	int fd;

	do
		fd = resolve_pin(directory, name);
	while (lift_again(&lift, fd < 0 ? fd : 0));
	return fd;
}

int session_new(const struct worker_config *config, int root, int event, struct proto_counters *counters,
                struct session **ret_session)
{
	struct session *session = FAULT_NULL(WORKER_SESSION, calloc(1, sizeof(*session)));
	pthread_condattr_t clock;
	int r;

	if (session == NULL)
		return -ENOMEM;
	session->config = *config;
	session->read_only = (config->flags & PROTO_HELLO_READ_ONLY) != 0;
	session->uid = geteuid();
	session->may_lift = lift_possible(session->uid);
	session->sync_at_close = attributes_late_errors(root);
	session->counters = counters;
	protect_init(&session->protect);
	sync_init(&session->sync);
	session->nodes_limit = config->nodes_max;
	session->descriptors_limit = config->descriptors_max;
	pthread_mutex_init(&session->lock, NULL);
	pthread_mutex_init(&session->event_lock, NULL);
	pthread_mutex_init(&session->links_lock, NULL);
	space_init(&session->space);
	pthread_condattr_init(&clock);
	pthread_condattr_setclock(&clock, CLOCK_MONOTONIC);
	pthread_cond_init(&session->thread_ended, &clock);
	pthread_condattr_destroy(&clock);
	session->end_fd = FAULT(WORKER_END, eventfd(0, EFD_CLOEXEC));
	if (session->end_fd < 0) {
		r = -errno;
		free(session);
		return r;
	}
	r = nodes_new(root, config->nodes_max, config->descriptors_max, counters, &session->nodes);
	if (r < 0) {
		close_fd(session->end_fd);
		free(session);
		return r;
	}
	nodes_set_pin(session->nodes, pin_with_lift, session);
	r = proto_channel_init(&session->event, event, PROTO_SMALL_MAX + PROTO_HEADER_SIZE, (int) config->heartbeat_ms);
	if (r < 0) {
		close_fd(session->end_fd);
		nodes_free(session->nodes);
		free(session);
		return r;
	}
	*ret_session = session;
	return 0;
}

static int send_event(struct session *session, struct proto_header *header, const struct proto_writer *writer)
{
	int r;

	pthread_mutex_lock(&session->event_lock);
	r = proto_channel_send(&session->event, header, writer);
	pthread_mutex_unlock(&session->event_lock);
	return r;
}

static void say_goodbye(struct session *session, enum proto_goodbye code, const char *text)
{
	uint8_t memory[PROTO_TEXT_MAX + 16];
	struct proto_header header = { .op = PROTO_GOODBYE, .id = 1 };
	struct proto_goodbye_request goodbye = { .code = code };
	struct proto_writer writer;

	proto_text_set(&goodbye.text, text);
	proto_writer_init(&writer, memory, sizeof(memory));
	if (proto_encode_goodbye_request(&writer, &goodbye) == 0)
		(void) send_event(session, &header, &writer);
}

void session_end(struct session *session, enum proto_goodbye code, const char *text)
{
	if (atomic_exchange(&session->ended, true))
		return;
	say_goodbye(session, code, text);
	pthread_mutex_lock(&session->lock);
	for (size_t i = 0; i < ARRAY_SIZE(session->lanes); i++)
		if (session->lanes[i] != NULL)
			proto_channel_kill(&session->lanes[i]->channel);
	pthread_mutex_unlock(&session->lock);
	(void) eventfd_write(session->end_fd, 1);
}

static void session_broken(struct session *session, const char *what)
{
	log_peer_warning("session %016llx: the guest broke the protocol (%s); the session ends",
	                 (unsigned long long) session->config.session, what);
	atomic_store(&session->blamed, true);
	session_end(session, PROTO_GOODBYE_PROTOCOL, what);
}

static int send_welcome(struct session *session, struct proto_channel *channel, uint64_t proof_id, uint32_t lane)
{
	uint8_t memory[512];
	struct proto_header header = { .op = PROTO_PROOF, .flags = PROTO_FRAME_REPLY, .id = proof_id };
	struct proto_proof_reply welcome = {
		.session = session->config.session,
		.lane = lane,
		.lanes_max = session->config.lanes_max,
		.heartbeat_ms = session->config.heartbeat_ms,
		.block_size = 4096,
		.nodes_max = session->config.nodes_max,
		.flags = (session_is_read_only(session) ? PROTO_WELCOME_READ_ONLY : 0U) |
		         (session->sync_at_close ? PROTO_WELCOME_SYNC_AT_CLOSE : 0U),
		.root = { .node = nodes_root(session->nodes) },
	};
	struct proto_writer writer;
	struct node *node;
	struct node_fd fd;
	int r = nodes_get(session->nodes, welcome.root.node, &node);

	if (r < 0)
		return r;
	r = nodes_fd(session->nodes, node, &fd);
	if (r == 0) {
		r = attributes_of(session, node, fd.fd, &welcome.root.attr, NULL);
		nodes_fd_done(session->nodes, &fd);
	}
	nodes_put(session->nodes, node);
	proto_writer_init(&writer, memory, sizeof(memory));
	if (r == 0)
		r = proto_encode_proof_reply(&writer, &welcome);
	return r < 0 ? r : proto_channel_send(channel, &header, &writer);
}

static int answer_event(struct session *session, const struct proto_header *request, const struct proto_writer *writer,
                        int status)
{
	struct proto_header header = {
		.op = request->op, .flags = PROTO_FRAME_REPLY, .id = request->id, .status = status
	};

	return send_event(session, &header, status == 0 ? writer : NULL);
}

static void lane_state(struct session *session, uint32_t number, struct proto_lane_state_reply *ret_reply)
{
	*ret_reply = (struct proto_lane_state_reply){ 0 };
	pthread_mutex_lock(&session->lock);
	if (number < ARRAY_SIZE(session->lanes) && session->lanes[number] != NULL) {
		ret_reply->last = atomic_load(&session->lanes[number]->last);
		ret_reply->busy = atomic_load(&session->lanes[number]->busy);
	}
	pthread_mutex_unlock(&session->lock);
}

/* 0; -ENOTCONN: the guest said goodbye; -EBADMSG and others: the session is over. */
static int serve_event(struct session *session, const struct proto_header *header, struct proto_reader *reader)
{
	uint8_t memory[64];
	struct proto_goodbye_request goodbye;
	struct proto_ping_request ping;
	struct proto_ping_reply pong;
	struct proto_lane_state_request state;
	struct proto_lane_state_reply state_reply;
	struct proto_writer writer;
	int r;

	if ((header->flags & PROTO_FRAME_REPLY) != 0)
		return -EBADMSG;
	proto_writer_init(&writer, memory, sizeof(memory));
	switch (header->op) {
	case PROTO_PING:
		r = proto_decode_ping_request(reader, &ping);
		pong.sequence = ping.sequence;
		if (r == 0)
			r = proto_encode_ping_reply(&writer, &pong);
		break;
	case PROTO_LANE_STATE:
		r = proto_decode_lane_state_request(reader, &state);
		if (r == 0) {
			lane_state(session, state.lane, &state_reply);
			r = proto_encode_lane_state_reply(&writer, &state_reply);
		}
		break;
	case PROTO_GOODBYE:
		r = proto_decode_goodbye_request(reader, &goodbye);
		return r == 0 ? -ENOTCONN : r;
	default:
		return -EBADMSG;
	}
	proto_counter_add(&session->counters->ops[header->op].count, 1);
	return r == -EBADMSG ? r : answer_event(session, header, &writer, -r);
}

static void thread_ended(struct session *session)
{
	pthread_mutex_lock(&session->lock);
	session->threads--;
	pthread_cond_broadcast(&session->thread_ended);
	pthread_mutex_unlock(&session->lock);
}

/* The event lane. Returns when the session is over. */
static void *event_run(void *argument)
{
	struct session *session = argument;
	struct proto_header header;
	struct proto_reader reader;
	int silent = 0, r = 0;

	while (silent < SILENT_HEARTBEATS) {
		/* After our GOODBYE only the other side's close is waited for, whatever it sends before. */
		bool over = atomic_load(&session->ended);

		r = over ? proto_channel_discard(&session->event)
		         : proto_channel_next(&session->event, &header, &reader);
		if (r == -EAGAIN) {
			silent++;
			continue;
		}
		silent = 0;
		if (r == 0 && !over && !atomic_load(&session->ended))
			r = serve_event(session, &header, &reader);
		if (r < 0)
			break;
	}
	if (r == -EBADMSG)
		session_broken(session, "event lane");
	else if (silent >= SILENT_HEARTBEATS)
		session_end(session, PROTO_GOODBYE_SILENT, "no heartbeat from the guest");
	else
		session_end(session, PROTO_GOODBYE_DONE, "");
	thread_ended(session);
	return NULL;
}

int lane_send_part(struct lane *lane, enum proto_op op, const struct proto_writer *writer)
{
	struct proto_header header = { .op = (uint16_t) op,
		                       .flags = PROTO_FRAME_REPLY | PROTO_FRAME_MORE,
		                       .id = lane->id };

	return proto_channel_send(&lane->channel, &header, writer);
}

static void lane_free(struct lane *lane)
{
	proto_channel_done(&lane->channel);
	free(lane->reply);
	free(lane);
}

static int lane_serve(struct lane *lane)
{
	struct session *session = lane->session;
	struct proto_header header;
	struct proto_reader reader;
	int r = send_welcome(session, &lane->channel, lane->proof_id, lane->number);

	while (r == 0 && !atomic_load(&session->ended)) {
		/* An idle lane has no deadline that would wake it. */
		(void) proto_channel_await(&lane->channel, true, atomic_load(&session->working), -1);
		r = proto_channel_next(&lane->channel, &header, &reader);
		if (r == 0) {
			atomic_fetch_add(&session->working, 1);
			r = dispatch_request(lane, &header, &reader);
			atomic_fetch_sub(&session->working, 1);
		} else if (r == -EAGAIN)
			r = 0; /* idle */
	}
	return r;
}

static void *lane_run(void *argument)
{
	struct lane *lane = argument;
	struct session *session = lane->session;
	int r = lane_serve(lane);

	if (r == -EBADMSG)
		session_broken(session, "data lane");
	pthread_mutex_lock(&session->lock);
	session->lanes[lane->number] = NULL;
	atomic_fetch_sub(&session->counters->lanes, 1);
	pthread_mutex_unlock(&session->lock);
	lane_free(lane);
	thread_ended(session);
	return NULL;
}

static int thread_start(void *(*run)(void *), void *argument)
{
	pthread_attr_t attributes;
	pthread_t thread;
	int r;

	pthread_attr_init(&attributes);
	pthread_attr_setstacksize(&attributes, LANE_STACK);
	pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
	r = FAULT_NUMBER(WORKER_THREAD, pthread_create(&thread, &attributes, run, argument));
	pthread_attr_destroy(&attributes);
	return -r;
}

int session_start(struct session *session)
{
	int r = send_welcome(session, &session->event, session->config.proof_id, 0);

	if (r < 0)
		return r;
	session->threads = 1;
	r = thread_start(event_run, session);
	if (r < 0)
		session->threads = 0;
	return r;
}

static void refuse_lane(int fd)
{
	uint8_t memory[256];
	struct proto_refuse_request refuse = { .code = PROTO_REFUSE_LIMIT };
	struct proto_header header = { .op = PROTO_REFUSE, .id = 1 };
	struct proto_channel channel;
	struct proto_writer writer;

	if (proto_channel_init(&channel, fd, 4096, DRAIN_MS) < 0) {
		close_fd(fd);
		return;
	}
	proto_text_set(&refuse.text, "the session has all the lanes that it may have");
	proto_writer_init(&writer, memory, sizeof(memory));
	if (proto_encode_refuse_request(&writer, &refuse) == 0)
		(void) proto_channel_send(&channel, &header, &writer);
	proto_channel_done(&channel);
}

static struct lane *lane_new(struct session *session, int fd, uint64_t proof_id)
{
	struct lane *lane = FAULT_NULL(WORKER_LANE, calloc(1, sizeof(*lane)));
	int size = LANE_SOCKET_BUFFER;

	if (lane == NULL)
		return NULL;
	lane->session = session;
	lane->proof_id = proof_id;
	lane->reply = FAULT_NULL(WORKER_REPLY, malloc(PROTO_SMALL_MAX));
	(void) setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	if (lane->reply == NULL ||
	    proto_channel_init(&lane->channel, fd, LANE_BUFFER, (int) session->config.stall_ms) < 0) {
		free(lane->reply);
		free(lane);
		return NULL;
	}
	return lane;
}

int session_add_lane(struct session *session, int fd, uint64_t proof_id)
{
	struct lane *lane = NULL;
	uint32_t number = 0;
	int r = -ENOSPC;

	pthread_mutex_lock(&session->lock);
	for (uint32_t i = 1; i <= session->config.lanes_max && i < ARRAY_SIZE(session->lanes) && number == 0; i++)
		if (session->lanes[i] == NULL)
			number = i;
	if (number != 0 && !atomic_load(&session->ended)) {
		lane = lane_new(session, fd, proof_id);
		r = lane == NULL ? -ENOMEM : 0;
	}
	if (r == 0) {
		lane->number = number;
		session->lanes[number] = lane;
		atomic_fetch_add(&session->counters->lanes, 1);
		session->threads++;
		r = thread_start(lane_run, lane);
		if (r < 0) {
			session->threads--;
			session->lanes[number] = NULL;
			atomic_fetch_sub(&session->counters->lanes, 1);
			lane->channel.fd = -EBADF;
			lane_free(lane);
		}
	}
	pthread_mutex_unlock(&session->lock);
	if (r < 0)
		refuse_lane(fd);
	return r;
}

static bool wait_for_threads(struct session *session, int timeout_ms)
{
	struct timespec until;
	bool all;
	int r = 0;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += timeout_ms / 1000;
	until.tv_nsec += (long) (timeout_ms % 1000) * 1000000;
	until.tv_sec += until.tv_nsec / 1000000000;
	until.tv_nsec %= 1000000000;
	pthread_mutex_lock(&session->lock);
	while (session->threads > 0 && r == 0)
		r = pthread_cond_timedwait(&session->thread_ended, &session->lock, &until);
	all = session->threads == 0;
	pthread_mutex_unlock(&session->lock);
	return all;
}

bool session_stop(struct session *session)
{
	session_end(session, PROTO_GOODBYE_DONE, "");
	if (wait_for_threads(session, DRAIN_MS))
		return true;
	proto_channel_kill(&session->event);
	return wait_for_threads(session, DRAIN_MS);
}

void session_free(struct session *session)
{
	close_fd(session->end_fd);
	pthread_cond_destroy(&session->thread_ended);
	proto_channel_done(&session->event);
	nodes_free(session->nodes);
	protect_done(&session->protect);
	sync_done(&session->sync);
	pthread_mutex_destroy(&session->lock);
	pthread_mutex_destroy(&session->event_lock);
	pthread_mutex_destroy(&session->links_lock);
	space_done(&session->space);
	free(session);
}
