/* SPDX-License-Identifier: Apache-2.0 */
/* The data lanes of a session. */
#include "fileserver/worker/lanes.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>

#include "fileserver/worker/session/allotment.h"
#include "fileserver/worker/dispatch.h"
#include "protocol/cleanup.h"
#include "protocol/clock.h"
#include "protocol/faults.h"

enum {
	/* A chunk of data, and one directory entry that no longer fits into it. */
	LANE_BUFFER = PROTO_CHUNK + 4096,
	LANE_SOCKET_BUFFER = 1024 * 1024,
	REFUSE_MS = 2000,
};

/* Whether the lane still serves the request whose id was last. */
static bool is_still_at(struct service *service, size_t number, uint64_t last)
{
	const struct lane *lane;
	bool still;

	lock_take(&service->lock);
	lane = service->lanes[number];
	still = lane != NULL && atomic_load(&lane->busy) != 0 && atomic_load(&lane->last) == last;
	lock_give(&service->lock);
	return still;
}

bool lanes_make_read_only(struct service *service, int timeout_ms)
{
	const struct timespec pause = clock_timespec_us(200);
	uint64_t last[ARRAY_SIZE(service->lanes)];
	bool busy[ARRAY_SIZE(service->lanes)];
	int64_t until = clock_ms() + timeout_ms;

	atomic_store(&service->session.read_only, true);
	lock_take(&service->lock);
	for (size_t i = 0; i < ARRAY_SIZE(service->lanes); i++) {
		const struct lane *lane = service->lanes[i];

		busy[i] = lane != NULL && atomic_load(&lane->busy) != 0;
		last[i] = busy[i] ? atomic_load(&lane->last) : 0;
	}
	lock_give(&service->lock);
	for (size_t i = 0; i < ARRAY_SIZE(service->lanes); i++) {
		while (busy[i] && is_still_at(service, i, last[i])) {
			if (clock_ms() > until)
				return false;
			(void) nanosleep(&pause, NULL);
		}
	}
	return true;
}

void lanes_state(struct service *service, uint32_t number, struct proto_lane_state_reply *ret_state)
{
	*ret_state = (struct proto_lane_state_reply){ 0 };
	lock_take(&service->lock);
	if (number < ARRAY_SIZE(service->lanes) && service->lanes[number] != NULL) {
		ret_state->last = atomic_load(&service->lanes[number]->last);
		ret_state->busy = atomic_load(&service->lanes[number]->busy);
	}
	lock_give(&service->lock);
}

static void lane_free(struct lane *lane)
{
	proto_channel_done(&lane->channel);
	free(lane->fields);
	free(lane);
}

/* Serves one request, from its frame to its reply. */
static int serve_request(struct lane *lane, const struct proto_header *header, struct proto_reader *reader)
{
	struct session *session = &lane->service->session;
	/* The reply's data may overwrite the request's: dispatch checks that nothing follows these. */
	struct call call = { .session = session,
		             .channel = &lane->channel,
		             .fields = lane->fields,
		             .data = lane->channel.buffer,
		             .data_size = lane->channel.capacity };
	int r;

	atomic_store(&lane->last, header->id);
	atomic_store(&lane->busy, 1);
	r = dispatch_request(&call, header, reader);
	if (r != -EBADMSG)
		atomic_store(&lane->busy, 0);
	allotment_look(session);
	return r;
}

static int lane_serve(struct lane *lane)
{
	struct service *service = lane->service;
	struct proto_header header;
	struct proto_reader reader;
	int r = service_welcome(service, &lane->channel, lane->proof_id, lane->number);

	/* No deadline: an idle lane waits for ever. */
	if (r == 0)
		r = proto_channel_be_patient(&lane->channel);
	while (r == 0 && !atomic_load(&service->ended)) {
		(void) proto_channel_await(&lane->channel, true, atomic_load(&service->working), 0, -EBADF);
		r = proto_channel_next(&lane->channel, &header, &reader);
		if (r == 0) {
			atomic_fetch_add(&service->working, 1);
			r = serve_request(lane, &header, &reader);
			atomic_fetch_sub(&service->working, 1);
		}
	}
	return r;
}

static void *lane_run(void *argument)
{
	struct lane *lane = argument;
	struct service *service = lane->service;
	int r = lane_serve(lane);

	if (r == -EBADMSG)
		service_broken(service, "data lane");
	lock_take(&service->lock);
	service->lanes[lane->number] = NULL;
	atomic_fetch_sub(&service->session.counters->lanes, 1);
	lock_give(&service->lock);
	lane_free(lane);
	service_thread_ended(service);
	return NULL;
}

static void refuse_lane(int fd)
{
	uint8_t memory[PROTO_MOST_refuse_request];
	struct proto_refuse_request refuse = { .code = PROTO_REFUSE_LIMIT };
	struct proto_header header = { .op = PROTO_REFUSE, .id = 1 };
	struct proto_channel channel;
	struct proto_writer writer;

	if (proto_channel_init(&channel, fd, 4096, REFUSE_MS) < 0) {
		close_fd(fd);
		return;
	}
	proto_text_set(&refuse.text, "the session has all the lanes that it may have");
	proto_writer_init(&writer, memory, sizeof(memory));
	if (proto_encode_refuse_request(&writer, &refuse) == 0)
		(void) proto_channel_send(&channel, &header, &writer);
	proto_channel_done(&channel);
}

static struct lane *lane_new(struct service *service, int fd, uint64_t proof_id)
{
	struct lane *lane = FAULT_NULL(WORKER_LANE, calloc(1, sizeof(*lane)));
	int size = LANE_SOCKET_BUFFER, stall = (int) service->session.config.stall_ms;

	if (lane == NULL)
		return NULL;
	lane->service = service;
	lane->proof_id = proof_id;
	lane->fields = FAULT_NULL(WORKER_REPLY, malloc(PROTO_SMALL_MAX));
	(void) setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	if (lane->fields == NULL || proto_channel_init(&lane->channel, fd, LANE_BUFFER, stall) < 0) {
		free(lane->fields);
		free(lane);
		return NULL;
	}
	return lane;
}

int lanes_add(struct service *service, int fd, uint64_t proof_id)
{
	struct lane *lane = NULL;
	uint32_t number = 0;
	int r = -ENOSPC;

	lock_take(&service->lock);
	for (uint32_t i = 1; i <= service->session.config.lanes_max && i < ARRAY_SIZE(service->lanes) && number == 0;
	     i++)
		if (service->lanes[i] == NULL)
			number = i;
	if (number != 0 && !atomic_load(&service->ended)) {
		lane = lane_new(service, fd, proof_id);
		r = lane == NULL ? -ENOMEM : 0;
	}
	if (r == 0) {
		lane->number = number;
		service->lanes[number] = lane;
		atomic_fetch_add(&service->session.counters->lanes, 1);
		r = service_run(service, lane_run, lane);
		if (r < 0) {
			service->lanes[number] = NULL;
			atomic_fetch_sub(&service->session.counters->lanes, 1);
			lane->channel.fd = -EBADF;
			lane_free(lane);
		}
	}
	lock_give(&service->lock);
	if (r < 0)
		refuse_lane(fd);
	return r;
}
