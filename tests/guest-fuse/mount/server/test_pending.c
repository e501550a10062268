/* SPDX-License-Identifier: Apache-2.0 */
/* All requests that may wait for the server: who waits, and the session's end for all of them. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "guest-fuse/mount/mount-options.h"
#include "guest-fuse/mount/server/connection.h"
#include "guest-fuse/mount/server/pending.h"
#include "guest-fuse/mount/server/request.h"
#include "guest-fuse/mount/server/server.h"

enum { REQUESTS = 3 };

struct fixture {
	struct mount_options options;
	struct proto_token token;
	struct server *server;
	struct pending *pending;
	struct connection connections[REQUESTS];
	struct request requests[REQUESTS];
	int peers[REQUESTS];
	int owner; /* where the mount's owner sees the session's end */
};

/* The last one is not connected. */
static int set_up(void **state)
{
	static struct fixture fixture;
	int fds[2];

	memset(&fixture, 0, sizeof(fixture));
	fixture.server = server_new(&fixture.options, &fixture.token);
	fixture.pending = pending_new(fixture.server);
	if (pipe2(fds, O_CLOEXEC) < 0)
		return -1;
	fixture.owner = fds[0];
	fixture.server->alive = fds[1];
	for (unsigned i = 0; i < REQUESTS; i++) {
		connection_init(&fixture.connections[i], fixture.server);
		if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0 ||
		    request_init(&fixture.requests[i], -EBADF, &fixture.connections[i]) < 0)
			return -1;
		fixture.peers[i] = fds[1];
		if (i + 1 == REQUESTS)
			close(fds[0]);
		else if (proto_channel_init(&fixture.connections[i].channel, fds[0],
		                            PROTO_SMALL_MAX + PROTO_HEADER_SIZE, CONNECTION_STALL_MS) == 0)
			fixture.connections[i].connected = true;
		pending_add(fixture.pending, &fixture.requests[i]);
	}
	*state = &fixture;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *fixture = *state;

	for (unsigned i = 0; i < REQUESTS; i++) {
		close(fixture->peers[i]);
		connection_done(&fixture->connections[i]);
		request_done(&fixture->requests[i]);
	}
	pending_free(fixture->pending);
	server_free(fixture->server);
	close(fixture->owner);
	return 0;
}

static void those_that_wait_are_found(void **state)
{
	struct fixture *fixture = *state;

	assert_int_equal(pending_connected(fixture->pending), REQUESTS - 1);
	assert_false(pending_are_there(fixture->pending));
	fixture->requests[1].rpc = 5;
	assert_true(pending_are_there(fixture->pending));
	fixture->requests[1].rpc = 0;
	assert_false(pending_are_there(fixture->pending));
}

static bool has_ended(int fd)
{
	struct pollfd poll_fd = { .fd = fd, .events = POLLIN };
	char byte;

	return poll(&poll_fd, 1, 0) == 1 && read(fd, &byte, 1) == 0;
}

static void the_end_breaks_every_connection_and_is_told_once(void **state)
{
	struct fixture *fixture = *state;
	eventfd_t count;

	assert_false(has_ended(fixture->owner));
	assert_false(has_ended(fixture->peers[0]));
	assert_true(pending_fail(fixture->pending, EACCES));
	for (unsigned i = 0; i < REQUESTS; i++)
		assert_true(has_ended(fixture->peers[i]));
	assert_true(has_ended(fixture->owner));
	assert_int_equal(eventfd_read(fixture->server->wake, &count), 0);
	assert_int_equal(fixture->server->dead, EACCES);
	/* The first error stays. */
	assert_false(pending_fail(fixture->pending, ENOTCONN));
	assert_int_equal(fixture->server->dead, EACCES);
	assert_int_equal(eventfd_read(fixture->server->wake, &count), -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(those_that_wait_are_found, set_up, tear_down),
		cmocka_unit_test_setup_teardown(the_end_breaks_every_connection_and_is_told_once, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
