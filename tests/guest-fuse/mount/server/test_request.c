/* SPDX-License-Identifier: Apache-2.0 */
/* A request of the kernel's: who answers it, whom a signal is for, and what stays of it when its connection breaks. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "guest-fuse/mount/mount-options.h"
#include "guest-fuse/mount/server/connection.h"
#include "guest-fuse/mount/server/request.h"
#include "guest-fuse/mount/server/rpc.h"
#include "guest-fuse/mount/server/server.h"
#include "protocol/clock.h"

enum { STALL_MS = 200 };

struct fixture {
	struct mount_options options;
	struct proto_token token;
	struct server *server;
	struct connection connection;
	struct request request;
};

static bool are_reading(const void *data)
{
	return true;
}

static void grow(void *data)
{
}

static int set_up(void **state)
{
	static struct fixture fixture;

	memset(&fixture, 0, sizeof(fixture));
	/* Nobody listens there. */
	fixture.options.address = (struct proto_address){ .kind = PROTO_ADDRESS_UNIX, .path = "/nonexistent/s" };
	fixture.server = server_new(&fixture.options, &fixture.token);
	fixture.server->threads = (struct server_threads){ .are_reading = are_reading, .grow = grow };
	connection_init(&fixture.connection, fixture.server);
	*state = &fixture;
	return request_init(&fixture.request, -EBADF, &fixture.connection);
}

static int tear_down(void **state)
{
	struct fixture *fixture = *state;

	request_done(&fixture->request);
	connection_done(&fixture->connection);
	server_free(fixture->server);
	return 0;
}

static void begin(struct request *request, uint64_t unique)
{
	struct fuse_in_header in = { .unique = unique, .opcode = FUSE_LOOKUP, .nodeid = 7, .pid = 42 };

	memcpy(request->buffer, &in, sizeof(in));
	request->size = sizeof(in);
	request_begin(request);
}

static void it_is_answered_once(void **state)
{
	struct request *request = &((struct fixture *) *state)->request;

	begin(request, 10);
	assert_false(request_answer(request, 12));
	assert_true(request_answer(request, 10));
	assert_false(request_answer(request, 10));
	request_end(request);
	begin(request, 14);
	assert_false(request_answer(request, 10));
	assert_true(request_answer(request, 14));
	request_end(request);
	assert_false(request_answer(request, 14));
}

static void a_signal_is_for_the_request_that_is_being_served(void **state)
{
	struct request *request = &((struct fixture *) *state)->request;

	begin(request, 10);
	assert_false(request_interrupt(request, 12));
	assert_false(request->interrupted);
	assert_true(request_interrupt(request, 10));
	assert_true(request->interrupted);
	request_end(request);
	assert_false(request_interrupt(request, 10));
	begin(request, 14);
	assert_false(request->interrupted);
}

/* The server takes the message and closes. */
static void it_outlives_its_connection(void **state)
{
	struct proto_lookup_request fields = { .parent = PROTO_ID(1, 1) };
	struct fixture *fixture = *state;
	struct request *request = &fixture->request;
	uint8_t sent[PROTO_HEADER_SIZE + 64];
	struct proto_lookup_reply reply;
	int fds[2];
	ssize_t n;

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	assert_int_equal(
	        proto_channel_init(&fixture->connection.channel, fds[0], PROTO_SMALL_MAX + PROTO_HEADER_SIZE, STALL_MS),
	        0);
	fixture->connection.connected = true;
	assert_int_equal(proto_name_set(&fields.name, "name"), 0);
	begin(request, 10);
	assert_int_equal(shutdown(fds[1], SHUT_WR), 0);
	assert_int_equal(rpc_lookup(request, &fields, &reply), -EIO);
	assert_false(connection_is_up(&fixture->connection));
	/* What could be sent again, and where the answer goes. */
	n = read(fds[1], sent, sizeof(sent));
	assert_true(n > PROTO_HEADER_SIZE);
	assert_memory_equal(request->message, sent + PROTO_HEADER_SIZE, (size_t) n - PROTO_HEADER_SIZE);
	assert_int_equal(request_header(request)->nodeid, 7);
	assert_int_equal(request->rpc, 0);
	assert_true(request_answer(request, 10));
	close(fds[1]);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(it_is_answered_once),
		TEST(a_signal_is_for_the_request_that_is_being_served),
		TEST(it_outlives_its_connection),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
