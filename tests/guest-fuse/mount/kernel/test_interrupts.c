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
#include <sys/eventfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "guest-fuse/mount/client.h"
#include "guest-fuse/mount/kernel/interrupts.h"

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

/* A lane that works on a request, with a pipe in place of the kernel. */
struct fixture {
	struct client client;
	struct lane lane;
	uint8_t buffer[128];
	int kernel;
};

static int set_up(void **state)
{
	static struct fixture fixture;
	int fds[2];

	memset(&fixture, 0, sizeof(fixture));
	if (pipe2(fds, O_CLOEXEC | O_NONBLOCK) < 0)
		return -1;
	fixture.client.alive = -EBADF;
	fixture.client.wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	lanes_init(&fixture.client.lanes, &fixture.client);
	fixture.lane = (struct lane){ .client = &fixture.client, .buffer = fixture.buffer, .device = fds[1] };
	fixture.kernel = fds[0];
	pthread_mutex_init(&fixture.lane.state, NULL);
	fixture.client.lanes.all[0] = &fixture.lane;
	fixture.client.lanes.count = 1;
	*state = &fixture;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *fixture = *state;

	close(fixture->kernel);
	close(fixture->lane.device);
	close(fixture->client.wake);
	return 0;
}

static void begin(struct fixture *fixture, uint64_t unique, pid_t pid)
{
	struct fuse_in_header in = { .unique = unique, .opcode = FUSE_LOOKUP, .pid = (uint32_t) pid };

	memcpy(fixture->buffer, &in, sizeof(in));
	lane_begin(&fixture->lane);
	interrupts_arrived_early(&fixture->client.lanes, &fixture->lane);
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
	assert_false(interrupts_serve(&fixture->client.lanes));
	interrupts_arrived(&fixture->client.lanes, 42);
	assert_true(interrupts_serve(&fixture->client.lanes));
	assert_int_equal(answer_of(fixture, &unique), -EINTR);
	assert_int_equal(unique, 42);
	/* The server's answer comes too late. */
	assert_false(lane_answer(&fixture->lane, 42));
	assert_false(interrupts_serve(&fixture->client.lanes));
	assert_int_equal(answer_of(fixture, &unique), 1);
}

static void a_living_process_is_not_disturbed(void **state)
{
	struct fixture *fixture = *state;
	uint64_t unique;

	begin(fixture, 42, getpid());
	interrupts_arrived(&fixture->client.lanes, 42);
	assert_true(interrupts_serve(&fixture->client.lanes));
	assert_int_equal(answer_of(fixture, &unique), 1);
	assert_true(lane_answer(&fixture->lane, 42));
	assert_false(interrupts_serve(&fixture->client.lanes));
}

static void an_interrupt_that_overtakes_its_request_is_not_lost(void **state)
{
	struct fixture *fixture = *state;
	uint64_t unique;

	interrupts_arrived(&fixture->client.lanes, 44);
	begin(fixture, 42, 0);
	assert_false(interrupts_serve(&fixture->client.lanes));
	assert_true(lane_answer(&fixture->lane, 42));
	begin(fixture, 44, 0);
	assert_true(interrupts_serve(&fixture->client.lanes));
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
