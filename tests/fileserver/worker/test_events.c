/* SPDX-License-Identifier: Apache-2.0 */
/* The event lane: the heartbeat, what a lane does, and the session's end. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "fileserver/worker/events.h"
#include "tests/fileserver/worker/inside.h"

/* Whatever a request does, nothing stays in use. */
static int tear_down(void **state)
{
	inside_is_idle(*state);
	return inside_tear_down(state);
}

static void a_lane_tells_what_it_did_last(void **state)
{
	struct share *share = *state;
	struct proto_getattr_request request = { .node = share->root };
	struct proto_getattr_reply reply;
	struct proto_lane_state_reply lane;
	unsigned asked = 0;

	assert_int_equal(raw_getattr(&share->raw, &request, &reply), 0);
	/* The reply is on its way a moment before the lane is free. */
	do {
		assert_int_equal(raw_lane_state(&share->event, &(struct proto_lane_state_request){ 1 }, &lane), 0);
		assert_int_equal(lane.last, share->raw.id);
		assert_true(++asked < 100000);
	} while (lane.busy != 0);
	/* One that is not there did nothing. */
	assert_int_equal(raw_lane_state(&share->event, &(struct proto_lane_state_request){ 63 }, &lane), 0);
	assert_int_equal(lane.last, 0);
	assert_int_equal(raw_lane_state(&share->event, &(struct proto_lane_state_request){ UINT32_MAX }, &lane), 0);
	assert_int_equal(lane.last, 0);
	assert_true(share->counters.ops[PROTO_LANE_STATE].count == asked + 2);
}

static void what_does_not_belong_on_the_event_lane_ends_the_session(void **state)
{
	const struct proto_header cases[] = {
		{ .op = PROTO_PING, .flags = PROTO_FRAME_REPLY, .id = 9 },
		{ .op = PROTO_GETATTR, .id = 9 },
		{ .op = PROTO_HELLO, .id = 9 },
		{ .op = PROTO_PING, .id = 9 }, /* without its fields */
		{ .op = PROTO_LANE_STATE, .id = 9 },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct share *share = share_new(0, 100);

		assert_non_null(share);
		assert_int_equal(raw_frame(&share->event, &cases[i], NULL, 0), 0);
		assert_int_equal(raw_wait_goodbye(&share->event), PROTO_GOODBYE_PROTOCOL);
		assert_true(raw_closed(&share->raw, 2000));
		share_free(share);
	}
}

static void a_guest_that_says_goodbye_ends_its_session(void **state)
{
	struct share *share = *state;
	struct proto_goodbye_request goodbye = { .code = PROTO_GOODBYE_DONE };

	assert_int_equal(raw_goodbye(&share->event, &goodbye, &(struct proto_goodbye_reply){}), 0);
	assert_int_equal(raw_wait_goodbye(&share->event), PROTO_GOODBYE_DONE);
	assert_true(raw_closed(&share->raw, 2000));
}

static void a_ping_is_answered_with_its_number(void **state)
{
	struct share *share = *state;
	struct proto_ping_reply reply;

	for (uint64_t i = 0; i < 3; i++) {
		assert_int_equal(raw_ping(&share->event, &(struct proto_ping_request){ .sequence = i << 40 }, &reply),
		                 0);
		assert_true(reply.sequence == i << 40);
	}
	assert_int_equal(proto_counter_get(&share->counters.ops[PROTO_PING].count), 3);
}

/* One that could be read. */
static void a_reply_that_nobody_waits_for_ends_the_session(void **state)
{
	struct share *share = *state;
	const struct proto_header header = { .op = PROTO_PING, .flags = PROTO_FRAME_REPLY, .id = 9, .length = 8 };

	assert_int_equal(raw_frame(&share->event, &header, "12345678", 8), 0);
	assert_int_equal(raw_wait_goodbye(&share->event), PROTO_GOODBYE_PROTOCOL);
	assert_true(atomic_load(&share->service->blamed));
}

/* A session of its own, whose guest has to say something every few milliseconds. */
static struct service *serve(struct share *share, uint32_t heartbeat_ms, struct raw *ret_event)
{
	struct worker_config config = inside_session(share)->config;
	struct proto_proof_reply welcome;
	static struct proto_counters counters;
	struct service *service;
	int fds[2];

	config.heartbeat_ms = heartbeat_ms;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	assert_int_equal(raw_init(ret_event, fds[0]), 0);
	assert_int_equal(service_new(&config, open(share->directory, O_PATH | O_CLOEXEC), fds[1], &counters, &service),
	                 0);
	assert_int_equal(events_start(service), 0);
	assert_int_equal(raw_welcome(ret_event, &welcome), 0);
	assert_int_equal(welcome.heartbeat_ms, heartbeat_ms);
	assert_int_equal(welcome.lane, 0);
	return service;
}

static void a_guest_that_is_silent_for_three_heartbeats_has_left(void **state)
{
	static struct raw event;
	struct service *service = serve(*state, 20, &event);

	assert_int_equal(raw_wait_goodbye(&event), PROTO_GOODBYE_SILENT);
	assert_false(atomic_load(&service->blamed));
	raw_done(&event);
	assert_true(service_stop(service));
	service_free(service);
}

static void a_guest_that_closes_ends_its_session(void **state)
{
	static struct raw event;
	struct service *service = serve(*state, 20000, &event);
	uint64_t ended;

	raw_done(&event);
	assert_int_equal(eventfd_read(service->end_fd, &ended), 0);
	assert_true(atomic_load(&service->ended));
	assert_false(atomic_load(&service->blamed));
	assert_true(service_stop(service));
	service_free(service);
}

static void after_the_servers_goodbye_only_the_close_is_waited_for(void **state)
{
	static struct raw event;
	struct service *service = serve(*state, 20000, &event);
	const struct proto_header header = { .op = PROTO_GETATTR, .id = 9 };

	service_end(service, PROTO_GOODBYE_REVOKED, "taken away");
	/* what does not belong there, though: the session is over, and nobody is blamed */
	assert_int_equal(raw_frame(&event, &header, NULL, 0), 0);
	assert_int_equal(raw_wait_goodbye(&event), PROTO_GOODBYE_REVOKED);
	raw_done(&event);
	assert_true(service_stop(service));
	assert_false(atomic_load(&service->blamed));
	service_free(service);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, inside_set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_lane_tells_what_it_did_last),
		TEST(what_does_not_belong_on_the_event_lane_ends_the_session),
		TEST(a_guest_that_says_goodbye_ends_its_session),
		TEST(a_ping_is_answered_with_its_number),
		TEST(a_reply_that_nobody_waits_for_ends_the_session),
		TEST(a_guest_that_is_silent_for_three_heartbeats_has_left),
		TEST(a_guest_that_closes_ends_its_session),
		TEST(after_the_servers_goodbye_only_the_close_is_waited_for),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
