/* SPDX-License-Identifier: Apache-2.0 */
/* A connection whose server lies, is cut off, or is gone. */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "guest-fuse/mount/mount-options.h"
#include "guest-fuse/mount/server/connection.h"
#include "guest-fuse/mount/server/forgets.h"
#include "guest-fuse/mount/server/pending.h"
#include "guest-fuse/mount/server/request.h"
#include "guest-fuse/mount/server/rpc.h"
#include "guest-fuse/mount/server/server.h"

enum { STALL_MS = 200 };

/* The other end answers one request with bytes of the test's. */
struct fixture {
	struct mount_options options;
	struct proto_token token;
	struct server *server;
	struct pending *pending;
	struct connection connection;
	struct request request;
	int peer;
	pthread_t thread;
	uint8_t answer[PROTO_CHUNK + 8192];
	size_t size;
};

/* One thread, which has a request: nobody reads the kernel's next one, and there can be no other thread. */
static bool are_reading(const void *data)
{
	return false;
}

static unsigned others(const void *data)
{
	return 0;
}

static void grow(void *data)
{
}

static int set_up(void **state)
{
	static struct fixture fixture;
	int fds[2];

	memset(&fixture, 0, sizeof(fixture));
	/* Nobody listens there, so that a connection that is lost stays so. */
	fixture.options.address = (struct proto_address){ .kind = PROTO_ADDRESS_UNIX, .path = "/nonexistent/s" };
	fixture.server = server_new(&fixture.options, &fixture.token);
	fixture.server->threads = (struct server_threads){ .are_reading = are_reading, .others = others, .grow = grow };
	fixture.pending = pending_new(fixture.server);
	connection_init(&fixture.connection, fixture.server);
	if (request_init(&fixture.request, -EBADF, &fixture.connection) < 0)
		return -1;
	pending_add(fixture.pending, &fixture.request);
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0 ||
	    proto_channel_init(&fixture.connection.channel, fds[0], PROTO_SMALL_MAX + PROTO_HEADER_SIZE, STALL_MS) < 0)
		return -1;
	fixture.connection.connected = true;
	fixture.peer = fds[1];
	*state = &fixture;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *fixture = *state;

	close(fixture->peer);
	connection_done(&fixture->connection);
	request_done(&fixture->request);
	pending_free(fixture->pending);
	server_free(fixture->server);
	return 0;
}

static void *answer(void *argument)
{
	struct fixture *fixture = argument;
	uint8_t request[512];
	ssize_t n;

	assert_true(read(fixture->peer, request, sizeof(request)) > 0);
	if (fixture->size == 0) {
		(void) shutdown(fixture->peer, SHUT_RDWR);
		return NULL;
	}
	/* The client may end the connection when it has seen the first part. */
	n = send(fixture->peer, fixture->answer, fixture->size, MSG_NOSIGNAL);
	assert_true(n > 0 || (n < 0 && (errno == EPIPE || errno == ECONNRESET)));
	return NULL;
}

static void add_frame(struct fixture *fixture, const struct proto_header *header, const struct proto_writer *writer)
{
	size_t length = writer == NULL ? 0 : (size_t) (writer->next - writer->start);
	struct proto_header whole = *header;

	whole.length = (uint32_t) length;
	proto_header_encode(fixture->answer + fixture->size, &whole);
	if (length > 0)
		memcpy(fixture->answer + fixture->size + PROTO_HEADER_SIZE, writer->start, length);
	fixture->size += PROTO_HEADER_SIZE + length;
}

/* A reply to LOOKUP, which makes sense. */
static void add_reply(struct fixture *fixture, uint64_t id, uint32_t mode)
{
	struct proto_header header = { .op = PROTO_LOOKUP, .flags = PROTO_FRAME_REPLY, .id = id };
	struct proto_lookup_reply reply = { .entry = { .node = PROTO_ID(1, 2), .attr = { .mode = mode } } };
	struct proto_writer writer;
	uint8_t bytes[256];

	proto_writer_init(&writer, bytes, sizeof(bytes));
	assert_int_equal(proto_encode_lookup_reply(&writer, &reply), 0);
	add_frame(fixture, &header, &writer);
}

static void add_error(struct fixture *fixture, int32_t status)
{
	struct proto_header header = { .op = PROTO_LOOKUP, .flags = PROTO_FRAME_REPLY, .id = 1, .status = status };

	add_frame(fixture, &header, NULL);
}

static int look_up(struct fixture *fixture, struct proto_lookup_reply *ret_reply)
{
	struct proto_lookup_request request = { .parent = PROTO_ID(1, 1) };
	int r;

	assert_int_equal(proto_name_set(&request.name, "name"), 0);
	assert_int_equal(pthread_create(&fixture->thread, NULL, answer, fixture), 0);
	r = rpc_lookup(&fixture->request, &request, ret_reply);
	assert_int_equal(pthread_join(fixture->thread, NULL), 0);
	return r;
}

static void an_answer_is_taken(void **state)
{
	struct fixture *fixture = *state;
	struct proto_lookup_reply reply;

	add_reply(fixture, 1, S_IFREG | 0644);
	assert_int_equal(look_up(fixture, &reply), 0);
	assert_int_equal(reply.entry.node, PROTO_ID(1, 2));
	assert_true(fixture->connection.connected);
	assert_int_equal(fixture->request.rpc, 0);
	assert_int_equal(fixture->server->counters.ops[PROTO_LOOKUP].count, 1);
}

static void errors_are_passed_on_but_not_those_that_switch_the_kernel_off(void **state)
{
	static const struct {
		int32_t status;
		int result;
	} errors[] = { { ENOENT, -ENOENT }, { ESTALE, -ESTALE }, { ENOSYS, -EOPNOTSUPP },
		       { EINTR, -EIO },     { 512, -EIO },       { 4095, -EIO } };
	struct fixture *fixture = *state;
	struct proto_lookup_reply reply;

	for (size_t i = 0; i < sizeof(errors) / sizeof(errors[0]); i++) {
		fixture->size = 0;
		fixture->connection.next_id = 0;
		add_error(fixture, errors[i].status);
		assert_int_equal(look_up(fixture, &reply), errors[i].result);
		assert_true(fixture->connection.connected);
	}
}

/* The connection is given up, the next request tries another and does not get one. */
static void assert_lost(struct fixture *fixture)
{
	struct proto_lookup_request request = { .parent = PROTO_ID(1, 1) };
	struct proto_lookup_reply reply;

	assert_int_equal(look_up(fixture, &reply), -EIO);
	assert_false(fixture->connection.connected);
	assert_int_equal(proto_name_set(&request.name, "name"), 0);
	assert_int_equal(rpc_lookup(&fixture->request, &request, &reply), -EIO);
	assert_int_equal(fixture->request.rpc, 0);
}

static void a_reply_to_another_request_ends_the_connection(void **state)
{
	add_reply(*state, 2, S_IFREG);
	assert_lost(*state);
}

static void a_second_reply_ends_the_connection(void **state)
{
	add_reply(*state, 1, S_IFREG);
	add_reply(*state, 2, S_IFREG);
	assert_lost(*state);
}

static void a_reply_to_another_operation_ends_the_connection(void **state)
{
	struct proto_header header = { .op = PROTO_SYNCFS, .flags = PROTO_FRAME_REPLY, .id = 1 };

	add_frame(*state, &header, NULL);
	assert_lost(*state);
}

static void a_short_reply_ends_the_connection(void **state)
{
	struct proto_header header = { .op = PROTO_LOOKUP, .flags = PROTO_FRAME_REPLY, .id = 1 };

	add_frame(*state, &header, NULL);
	assert_lost(*state);
}

static void half_a_reply_ends_the_connection(void **state)
{
	struct fixture *fixture = *state;

	add_reply(fixture, 1, S_IFREG);
	fixture->size -= 10;
	assert_lost(fixture);
}

static void a_closed_connection_is_an_error(void **state)
{
	assert_lost(*state);
}

static void a_value_that_is_refused_costs_the_operation_only(void **state)
{
	struct fixture *fixture = *state;
	struct proto_lookup_reply reply;

	add_reply(fixture, 1, S_IFREG);
	memset(fixture->answer + PROTO_HEADER_SIZE, 0, 8); /* node 0 */
	assert_int_equal(look_up(fixture, &reply), -EIO);
	assert_true(fixture->connection.connected);
}

/* The server answers a READ of size bytes with one byte more. */
static void read_too_much(struct fixture *fixture, uint32_t size)
{
	struct proto_header header = { .op = PROTO_READ, .flags = PROTO_FRAME_REPLY, .id = 1 };
	struct proto_read_request request = { .handle = PROTO_ID(1, 1), .size = size };
	uint8_t *bytes = calloc(1, 4 + (size_t) size + 1);
	struct proto_writer writer;
	struct proto_read_reply reply;

	assert_non_null(bytes);
	proto_writer_init(&writer, bytes, 4 + (size_t) size + 1);
	proto_put_u32(&writer, &(uint32_t){ size + 1 });
	writer.next = writer.end;
	add_frame(fixture, &header, &writer);
	free(bytes);
	assert_int_equal(pthread_create(&fixture->thread, NULL, answer, fixture), 0);
	assert_int_equal(rpc_read_any(&fixture->request, &request, &reply), -EIO);
	assert_int_equal(pthread_join(fixture->thread, NULL), 0);
	assert_false(fixture->connection.connected);
}

static void more_data_than_asked_for_ends_the_connection(void **state)
{
	read_too_much(*state, 100);
}

static void more_data_than_a_large_read_asked_for_ends_the_connection(void **state)
{
	read_too_much(*state, 128 * 1024);
}

static void more_data_than_open_asked_for_ends_the_connection(void **state)
{
	struct proto_header header = { .op = PROTO_OPEN, .flags = PROTO_FRAME_REPLY, .id = 1 };
	struct proto_open_request request = { .node = PROTO_ID(1, 1), .flags = PROTO_OPEN_READ, .size = 10 };
	struct proto_open_reply sent = { .handle = PROTO_ID(1, 1), .attr = { .mode = S_IFREG } }, reply;
	struct fixture *fixture = *state;
	uint8_t bytes[256];
	struct proto_writer writer;

	proto_writer_init(&writer, bytes, sizeof(bytes));
	assert_int_equal(proto_encode_open_reply(&writer, &sent), 0);
	writer.next[-4] = 11;
	writer.next += 11;
	add_frame(fixture, &header, &writer);
	assert_int_equal(pthread_create(&fixture->thread, NULL, answer, fixture), 0);
	assert_int_equal(rpc_open_data(&fixture->request, &request, &reply), -EIO);
	assert_int_equal(pthread_join(fixture->thread, NULL), 0);
	assert_false(fixture->connection.connected);
}

static void *end_session(void *argument)
{
	struct fixture *fixture = argument;

	(void) usleep(50000);
	assert_true(pending_fail(fixture->pending, EACCES));
	assert_false(pending_fail(fixture->pending, ENOTCONN));
	return NULL;
}

static void the_end_of_the_session_frees_who_waits(void **state)
{
	struct proto_getattr_request request = { .node = PROTO_ID(1, 1) };
	struct fixture *fixture = *state;
	struct proto_getattr_reply reply;

	assert_int_equal(pthread_create(&fixture->thread, NULL, end_session, fixture), 0);
	assert_int_equal(rpc_getattr(&fixture->request, &request, &reply), -EACCES);
	assert_int_equal(pthread_join(fixture->thread, NULL), 0);
	assert_int_equal(rpc_getattr(&fixture->request, &request, &reply), -EACCES);
}

static void what_is_forgotten_goes_in_few_messages(void **state)
{
	struct fixture *fixture = *state;
	struct forgets *forgets = fixture->server->forgets;

	for (uint64_t i = 0; i < FORGETS_MANY - 1; i++)
		(void) forgets_add(forgets, PROTO_ID(1, i + 10), 1);
	connection_forget_many(&fixture->connection);
	assert_int_equal(fixture->server->counters.ops[PROTO_FORGET].count, 0);
	(void) forgets_add(forgets, PROTO_ID(1, 5), 1);
	connection_forget_many(&fixture->connection);
	assert_int_equal(fixture->server->counters.ops[PROTO_FORGET].count, 1);
	assert_int_equal(forgets_count(forgets), 0);
	(void) forgets_add(forgets, PROTO_ID(1, 6), 1);
	(void) forgets_add_handle(forgets, PROTO_ID(1, 7));
	assert_true(connection_try_forget(&fixture->connection));
	assert_int_equal(forgets_count(forgets), 0);
	assert_int_equal(proto_counter_get(&fixture->server->counters.ops[PROTO_RELEASE].count), 1);
	lock_take(&fixture->connection.use);
	assert_false(connection_try_forget(&fixture->connection));
	lock_give(&fixture->connection.use);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(an_answer_is_taken),
		TEST(errors_are_passed_on_but_not_those_that_switch_the_kernel_off),
		TEST(a_reply_to_another_request_ends_the_connection),
		TEST(a_second_reply_ends_the_connection),
		TEST(a_reply_to_another_operation_ends_the_connection),
		TEST(a_short_reply_ends_the_connection),
		TEST(half_a_reply_ends_the_connection),
		TEST(a_closed_connection_is_an_error),
		TEST(a_value_that_is_refused_costs_the_operation_only),
		TEST(more_data_than_asked_for_ends_the_connection),
		TEST(more_data_than_a_large_read_asked_for_ends_the_connection),
		TEST(more_data_than_open_asked_for_ends_the_connection),
		TEST(the_end_of_the_session_frees_who_waits),
		TEST(what_is_forgotten_goes_in_few_messages),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
