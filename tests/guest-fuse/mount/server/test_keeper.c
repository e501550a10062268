/* SPDX-License-Identifier: Apache-2.0 */
/* The event lane: a server that falls silent, says goodbye, talks nonsense, or lost a request. */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "guest-fuse/mount/mount-options.h"
#include "guest-fuse/mount/server/connection.h"
#include "guest-fuse/mount/server/keeper.h"
#include "guest-fuse/mount/server/pending.h"
#include "guest-fuse/mount/server/request.h"
#include "guest-fuse/mount/server/server.h"
#include "protocol/cleanup.h"
#include "protocol/clock.h"

struct fixture {
	struct mount_options options;
	struct proto_token token;
	struct server *kept;
	struct pending *pending;
	struct keeper *keeper;
	struct keeper_duties duties;
	struct proto_channel server; /* the other end of the event lane */
	struct connection connection;
	struct request request;
	_Atomic bool over;
	int signals;
	pthread_t thread;
	bool started;
	uint32_t invalidated; /* sum of what they said */
};

static bool is_over(void *data)
{
	return atomic_load(&((struct fixture *) data)->over);
}

static int serve_kernel(void *data)
{
	return 0;
}

/* As the one who acts on it at once. */
static void invalidate(void *data, const struct proto_invalidate_request *request)
{
	struct fixture *fixture = data;

	fixture->invalidated += request->what;
	atomic_store(&fixture->kept->acknowledged, request->sequence);
	server_wake(fixture->kept);
}

static void nothing(void *data)
{
}

static void end(struct fixture *fixture)
{
	atomic_store(&fixture->over, true);
	server_wake(fixture->kept);
}

static void *run(void *argument)
{
	keeper_run(((struct fixture *) argument)->keeper);
	return NULL;
}

static int set_up(void **state)
{
	static struct fixture fixture;
	struct proto_channel event;
	sigset_t none;
	int fds[2];

	memset(&fixture, 0, sizeof(fixture));
	sigemptyset(&none);
	fixture.options.timeout_s = 1;
	fixture.kept = server_new(&fixture.options, &fixture.token);
	fixture.kept->welcome.heartbeat_ms = 300;
	fixture.pending = pending_new(fixture.kept);
	fixture.duties = (struct keeper_duties){
		.is_over = is_over,
		.serve_kernel = serve_kernel,
		.answer_statistics = nothing,
		.invalidate = invalidate,
		.unmount = nothing,
		.data = &fixture,
	};
	fixture.signals = signalfd(-1, &none, SFD_CLOEXEC | SFD_NONBLOCK);
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0 ||
	    proto_channel_init(&event, fds[0], PROTO_SMALL_MAX + PROTO_HEADER_SIZE, 1000) < 0 ||
	    proto_channel_init(&fixture.server, fds[1], PROTO_SMALL_MAX + PROTO_HEADER_SIZE, 1000) < 0 ||
	    keeper_new(fixture.pending, &event, fixture.signals, -1, "/mnt", &fixture.duties, &fixture.keeper) < 0)
		return -1;
	*state = &fixture;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *fixture = *state;

	end(fixture);
	if (fixture->started)
		(void) pthread_join(fixture->thread, NULL);
	keeper_free(fixture->keeper);
	proto_channel_done(&fixture->server);
	pending_free(fixture->pending);
	server_free(fixture->kept);
	close(fixture->signals);
	return 0;
}

static void start(struct fixture *fixture)
{
	assert_int_equal(pthread_create(&fixture->thread, NULL, run, fixture), 0);
	fixture->started = true;
}

/* What every operation fails with, within milliseconds; 0: it lives. */
static int death_within(struct fixture *fixture, int milliseconds)
{
	int64_t until = clock_ms() + milliseconds;

	while (atomic_load(&fixture->kept->dead) == 0 && clock_ms() < until)
		(void) usleep(5000);
	return atomic_load(&fixture->kept->dead);
}

static void send_message(struct fixture *fixture, struct proto_header header, const struct proto_writer *writer)
{
	assert_int_equal(proto_channel_send(&fixture->server, &header, writer), 0);
}

/* Answers one request as a server that does not know the lane's request any more. */
static void answer_one(struct fixture *fixture)
{
	const struct proto_lane_state_reply lost = { .last = 0, .busy = 0 };
	struct proto_ping_request ping;
	struct proto_ping_reply pong;
	struct proto_header header;
	struct proto_reader reader;
	struct proto_writer writer;
	uint8_t bytes[64];

	if (proto_channel_next(&fixture->server, &header, &reader) < 0)
		return;
	proto_writer_init(&writer, bytes, sizeof(bytes));
	if (header.op == PROTO_PING) {
		assert_int_equal(proto_decode_ping_request(&reader, &ping), 0);
		pong.sequence = ping.sequence;
		assert_int_equal(proto_encode_ping_reply(&writer, &pong), 0);
	} else {
		assert_int_equal(header.op, PROTO_LANE_STATE);
		assert_int_equal(proto_encode_lane_state_reply(&writer, &lost), 0);
	}
	header.flags = PROTO_FRAME_REPLY;
	send_message(fixture, header, &writer);
}

static void a_server_that_answers_is_alive(void **state)
{
	struct fixture *fixture = *state;

	start(fixture);
	for (int i = 0; i < 20; i++)
		answer_one(fixture);
	assert_int_equal(death_within(fixture, 0), 0);
}

static void a_silent_server_is_given_up(void **state)
{
	struct fixture *fixture = *state;
	int64_t begin = clock_ms();

	start(fixture);
	assert_int_equal(death_within(fixture, 5000), ENOTCONN);
	assert_true(clock_ms() - begin >= 900);
}

static void half_a_message_does_not_hold_the_keeper(void **state)
{
	struct fixture *fixture = *state;

	assert_int_equal(write(fixture->server.fd, "\x08\x00\x00", 3), 3);
	start(fixture);
	assert_int_equal(death_within(fixture, 5000), ENOTCONN);
}

static void goodbye(struct fixture *fixture, enum proto_goodbye code)
{
	struct proto_goodbye_request request = { .code = code };
	struct proto_writer writer;
	uint8_t bytes[64];

	proto_text_set(&request.text, "why");
	proto_writer_init(&writer, bytes, sizeof(bytes));
	assert_int_equal(proto_encode_goodbye_request(&writer, &request), 0);
	send_message(fixture, (struct proto_header){ .op = PROTO_GOODBYE, .id = 1 }, &writer);
}

static void a_share_that_was_taken_away_denies_access(void **state)
{
	goodbye(*state, PROTO_GOODBYE_REVOKED);
	start(*state);
	assert_int_equal(death_within(*state, 2000), EACCES);
}

static void a_server_that_stops_is_not_connected_any_more(void **state)
{
	goodbye(*state, PROTO_GOODBYE_DONE);
	start(*state);
	assert_int_equal(death_within(*state, 2000), ENOTCONN);
}

static void a_closed_event_lane_is_the_end(void **state)
{
	struct fixture *fixture = *state;

	start(fixture);
	(void) shutdown(fixture->server.fd, SHUT_RDWR);
	assert_int_equal(death_within(fixture, 800), ENOTCONN);
}

static void nonsense_is_the_end(void **state)
{
	struct fixture *fixture = *state;
	uint8_t nonsense[PROTO_HEADER_SIZE];

	memset(nonsense, 0xff, sizeof(nonsense));
	start(fixture);
	assert_int_equal(write(fixture->server.fd, nonsense, sizeof(nonsense)), sizeof(nonsense));
	assert_int_equal(death_within(fixture, 800), ENOTCONN);
}

static void an_answer_that_nobody_asked_for_is_the_end(void **state)
{
	start(*state);
	send_message(*state, (struct proto_header){ .op = PROTO_SYNCFS, .flags = PROTO_FRAME_REPLY, .id = 1 }, NULL);
	assert_int_equal(death_within(*state, 800), ENOTCONN);
}

/* One message each; every keeper dies of it. */
static void every_message_that_makes_no_sense_is_the_end(void **state)
{
	static const struct {
		struct proto_header header;
		uint32_t length; /* as the header says; so many zeros follow */
	} cases[] = {
		{ { .op = PROTO_GOODBYE, .id = 1 }, 0 },
		{ { .op = PROTO_PING, .id = 1 }, 8 },
		{ { .op = PROTO_PING, .flags = PROTO_FRAME_REPLY, .id = 1 }, 0 },
		{ { .op = PROTO_PING, .flags = PROTO_FRAME_REPLY, .id = 1, .status = EIO }, 0 },
		{ { .op = PROTO_LANE_STATE, .flags = PROTO_FRAME_REPLY, .id = 1 }, 3 },
		{ { .op = PROTO_GETATTR, .flags = PROTO_FRAME_REPLY, .id = 1 }, 8 },
		{ { .op = PROTO_PING, .flags = PROTO_FRAME_REPLY, .id = 1 }, 4000 },
	};

	assert_int_equal(tear_down(state), 0);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct proto_header header = cases[i].header;
		uint8_t bytes[PROTO_HEADER_SIZE + 4000] = { 0 };
		ssize_t size = PROTO_HEADER_SIZE + cases[i].length;
		struct fixture *fixture;

		assert_int_equal(set_up(state), 0);
		fixture = *state;
		header.length = cases[i].length;
		proto_header_encode(bytes, &header);
		assert_int_equal(write(fixture->server.fd, bytes, (size_t) size), size);
		start(fixture);
		assert_int_equal(death_within(fixture, 800), ENOTCONN);
		assert_int_equal(tear_down(state), 0);
	}
	assert_int_equal(set_up(state), 0);
}

static void a_message_in_pieces_is_one(void **state)
{
	const struct proto_header header = { .op = PROTO_GOODBYE, .id = 1, .length = 9 };
	uint8_t bytes[PROTO_HEADER_SIZE + 9] = { [PROTO_HEADER_SIZE] = PROTO_GOODBYE_REVOKED,
		                                 [PROTO_HEADER_SIZE + 4] = 3,
		                                 [PROTO_HEADER_SIZE + 6] = 'w',
		                                 'h',
		                                 'y' };
	const size_t ends[] = { 7, PROTO_HEADER_SIZE, PROTO_HEADER_SIZE + 5, sizeof(bytes) };
	struct fixture *fixture = *state;
	size_t at = 0;

	proto_header_encode(bytes, &header);
	start(fixture);
	/* Within the header, behind it, within the fields. */
	for (size_t i = 0; i < ARRAY_SIZE(ends); at = ends[i++]) {
		assert_int_equal(write(fixture->server.fd, bytes + at, ends[i] - at), ends[i] - at);
		(void) usleep(2000);
	}
	assert_int_equal(death_within(fixture, 800), EACCES);
}

/* A keeper whose event lane had these bytes behind WELCOME. */
static int keeper_with(struct fixture *fixture, const void *bytes, size_t size, struct keeper **ret_keeper)
{
	struct proto_channel event;
	int fds[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	assert_int_equal(proto_channel_init(&event, fds[0], PROTO_SMALL_MAX + PROTO_HEADER_SIZE, 1000), 0);
	close(fds[1]);
	memcpy(event.buffer, bytes, size);
	event.end = size;
	if (keeper_new(fixture->pending, &event, fixture->signals, -1, "/mnt", &fixture->duties, ret_keeper) == 0)
		return 0;
	proto_channel_done(&event);
	return -EPROTO;
}

static void what_came_with_the_welcome_is_looked_at_too(void **state)
{
	struct fixture *fixture = *state;
	static uint8_t nonsense[66 * 1024];
	struct keeper *keeper;

	memset(nonsense, 0xff, sizeof(nonsense));
	assert_int_equal(keeper_with(fixture, nonsense, sizeof(nonsense), &keeper), -EPROTO);
	assert_int_equal(keeper_with(fixture, nonsense, PROTO_HEADER_SIZE, &keeper), 0);
	end(fixture);
	keeper_run(keeper);
	assert_int_equal(fixture->kept->dead, ENOTCONN);
	keeper_free(keeper);
}

static void a_lane_that_lost_its_request_is_given_up(void **state)
{
	struct fixture *fixture = *state;
	struct connection *connection = &fixture->connection;
	struct pollfd end = { .events = POLLIN };
	int64_t begin = clock_ms();
	int fds[2];

	connection_init(connection, fixture->kept);
	connection->connected = true;
	connection->number = 1;
	fixture->request = (struct request){ .connection = connection, .rpc = 17, .since = clock_ns() };
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	connection->channel.fd = fds[0];
	pending_add(fixture->pending, &fixture->request);
	end.fd = fds[1];
	start(fixture);
	while (poll(&end, 1, 0) == 0 && clock_ms() - begin < 20000)
		answer_one(fixture);
	/* Asked twice, five seconds apart. */
	assert_true(clock_ms() - begin >= 9000 && clock_ms() - begin < 15000);
	assert_int_equal(death_within(fixture, 0), 0);
	atomic_store(&fixture->pending->count, 0);
	close(fds[0]);
	close(fds[1]);
}

static void what_does_not_hold_is_passed_on_and_acknowledged(void **state)
{
	struct fixture *fixture = *state;
	struct proto_invalidated_request acknowledged = { .sequence = 0 };
	struct proto_header header;
	struct proto_reader reader;

	start(fixture);
	for (unsigned i = 1; i <= 300; i++) {
		struct proto_invalidate_request request = { .sequence = i, .what = 1, .directory = PROTO_ID(1, 1) };
		uint8_t bytes[PROTO_MOST_invalidate_request];
		struct proto_writer writer;

		proto_name_set(&request.name, "a name that takes some room in the buffer of the keeper");
		proto_writer_init(&writer, bytes, sizeof(bytes));
		assert_int_equal(proto_encode_invalidate_request(&writer, &request), 0);
		send_message(fixture, (struct proto_header){ .op = PROTO_INVALIDATE, .id = i }, &writer);
	}
	while (acknowledged.sequence < 300) {
		assert_int_equal(proto_channel_next(&fixture->server, &header, &reader), 0);
		if (header.op != PROTO_INVALIDATED)
			continue;
		assert_int_equal(proto_decode_invalidated_request(&reader, &acknowledged), 0);
	}
	assert_int_equal(acknowledged.sequence, 300);
	end(fixture);
	(void) pthread_join(fixture->thread, NULL);
	fixture->started = false;
	assert_int_equal(fixture->invalidated, 300);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(what_does_not_hold_is_passed_on_and_acknowledged, set_up, tear_down),
		TEST(a_server_that_answers_is_alive),
		TEST(a_silent_server_is_given_up),
		TEST(half_a_message_does_not_hold_the_keeper),
		TEST(a_share_that_was_taken_away_denies_access),
		TEST(a_server_that_stops_is_not_connected_any_more),
		TEST(a_closed_event_lane_is_the_end),
		TEST(nonsense_is_the_end),
		TEST(an_answer_that_nobody_asked_for_is_the_end),
		TEST(every_message_that_makes_no_sense_is_the_end),
		TEST(a_message_in_pieces_is_one),
		TEST(what_came_with_the_welcome_is_looked_at_too),
		TEST(a_lane_that_lost_its_request_is_given_up),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
