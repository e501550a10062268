/* SPDX-License-Identifier: Apache-2.0 */
/* Which threads are to die, and interrupts that overtake their requests. */
#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "guest-fuse/mount/kernel/interrupts.h"
#include "guest-fuse/mount/mount-options.h"
#include "guest-fuse/mount/server/connection.h"
#include "guest-fuse/mount/server/pending.h"
#include "guest-fuse/mount/server/request.h"
#include "guest-fuse/mount/server/server.h"

static void the_living_are_told_from_the_dead(void **state)
{
	pid_t child = fork();

	if (child == 0) {
		(void) pause();
		_exit(0);
	}
	assert_false(interrupts_thread_dies(child));
	assert_false(interrupts_thread_dies(getpid()));
	(void) kill(child, SIGKILL);
	/* Gone or a zombie. */
	for (int i = 0; i < 200 && !interrupts_thread_dies(child); i++)
		(void) usleep(10000);
	assert_true(interrupts_thread_dies(child));
	(void) waitpid(child, NULL, 0);
	assert_true(interrupts_thread_dies(child));
	assert_true(interrupts_thread_dies(0));
}

/* A request that is being served, with a pipe in place of the kernel. */
struct fixture {
	struct mount_options options;
	struct proto_token token;
	struct server *server;
	struct pending *pending;
	struct interrupts *interrupts;
	struct connection connection;
	struct request request;
	int kernel;
};

static int set_up(void **state)
{
	static struct fixture fixture;
	int fds[2];

	memset(&fixture, 0, sizeof(fixture));
	if (pipe2(fds, O_CLOEXEC | O_NONBLOCK) < 0)
		return -1;
	fixture.kernel = fds[0];
	fixture.server = server_new(&fixture.options, &fixture.token);
	fixture.pending = pending_new(fixture.server);
	fixture.interrupts = interrupts_new(fixture.pending);
	connection_init(&fixture.connection, fixture.server);
	if (request_init(&fixture.request, fds[1], &fixture.connection) < 0)
		return -1;
	pending_add(fixture.pending, &fixture.request);
	*state = &fixture;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *fixture = *state;

	close(fixture->kernel);
	close(fixture->request.device);
	request_done(&fixture->request);
	connection_done(&fixture->connection);
	interrupts_free(fixture->interrupts);
	pending_free(fixture->pending);
	server_free(fixture->server);
	return 0;
}

static void begin(struct fixture *fixture, uint64_t unique, pid_t pid)
{
	struct fuse_in_header in = { .unique = unique, .opcode = FUSE_LOOKUP, .pid = (uint32_t) pid };

	memcpy(fixture->request.buffer, &in, sizeof(in));
	request_begin(&fixture->request);
	interrupts_arrived_early(fixture->interrupts, &fixture->request);
}

static int answer_of(struct fixture *fixture, uint64_t *ret_unique)
{
	struct fuse_out_header out;

	if (read(fixture->kernel, &out, sizeof(out)) != sizeof(out))
		return 1;
	*ret_unique = out.unique;
	return out.error;
}

static void a_dying_process_gets_its_answer_once(void **state)
{
	struct fixture *fixture = *state;
	uint64_t unique = 0;

	begin(fixture, 42, 0); /* no process has this number: it is gone */
	assert_false(interrupts_serve(fixture->interrupts, false));
	interrupts_arrived(fixture->interrupts, 42);
	assert_true(interrupts_serve(fixture->interrupts, false));
	assert_int_equal(answer_of(fixture, &unique), -EINTR);
	assert_int_equal(unique, 42);
	/* The server's answer comes too late. */
	assert_false(request_answer(&fixture->request, 42));
	assert_false(interrupts_serve(fixture->interrupts, false));
	assert_int_equal(answer_of(fixture, &unique), 1);
}

static void a_living_process_is_not_disturbed(void **state)
{
	struct fixture *fixture = *state;
	uint64_t unique;

	begin(fixture, 42, getpid());
	interrupts_arrived(fixture->interrupts, 42);
	assert_true(interrupts_serve(fixture->interrupts, false));
	assert_int_equal(answer_of(fixture, &unique), 1);
	assert_true(request_answer(&fixture->request, 42));
	assert_false(interrupts_serve(fixture->interrupts, false));
}

static void an_interrupt_that_overtakes_its_request_is_not_lost(void **state)
{
	struct fixture *fixture = *state;
	uint64_t unique;

	interrupts_arrived(fixture->interrupts, 44);
	begin(fixture, 42, 0);
	assert_false(interrupts_serve(fixture->interrupts, false));
	assert_true(request_answer(&fixture->request, 42));
	begin(fixture, 44, 0);
	assert_true(interrupts_serve(fixture->interrupts, false));
	assert_int_equal(answer_of(fixture, &unique), -EINTR);
	assert_int_equal(unique, 44);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_living_are_told_from_the_dead),
		cmocka_unit_test_setup_teardown(a_dying_process_gets_its_answer_once, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_living_process_is_not_disturbed, set_up, tear_down),
		cmocka_unit_test_setup_teardown(an_interrupt_that_overtakes_its_request_is_not_lost, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
