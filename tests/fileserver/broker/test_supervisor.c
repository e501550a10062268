/* SPDX-License-Identifier: Apache-2.0 */
/* The table of workers, with a worker of the test's: start, lanes, limits, crashes, revocation, end. */
#include <errno.h>
#include <linux/close_range.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "fileserver/broker/supervisor.h"
#include "protocol/cleanup.h"
#include "protocol/log.h"
#include "tests/fileserver/broker/fake-worker.h"
#include "tests/support/scratch.h"

enum { PATIENCE_MS = 5000 };

static uv_loop_t loop;
static struct supervisor supervisor;
static struct allowlist allowlist;
static struct {
	unsigned refusals;
	char text[1024];
	bool all_gone;
	unsigned settled;
	char events[4096];
} seen;
static struct events events;

static void on_refuse(void *context, int fd, enum proto_refuse code, const char *text)
{
	seen.refusals++;
	(void) snprintf(seen.text, sizeof(seen.text), "%s", text);
	close_fd(fd);
}

static void on_all_gone(void *context)
{
	seen.all_gone = true;
}

static void on_settled(void *context)
{
	seen.settled++;
}

static void on_event(void *context, const char *line, size_t length)
{
	size_t have = strlen(seen.events);

	assert_true(have + length < sizeof(seen.events));
	memcpy(seen.events + have, line, length);
}

static int set_up(void **state)
{
	memset(&seen, 0, sizeof(seen));
	(void) scratch_make();
	(void) scratch_directory("share");
	(void) scratch_directory("share/sub");
	(void) scratch_directory("other");
	(void) scratch_file("share/file", "", 0644);
	events = (struct events){ .line = on_event };
	supervisor = (struct supervisor){
		.loop = &loop,
		.executable = getenv("BINDSHARE_FAKE_WORKER"),
		.workers_max = 4,
		.allowlist = &allowlist,
		.refuse = on_refuse,
		.all_gone = on_all_gone,
		.settled = on_settled,
		.events = &events,
	};
	assert_int_equal(allowlist_add(&allowlist, scratch_path("share"), false), 0);
	return sodium_init() < 0 ? -1 : uv_loop_init(&loop);
}

static void on_tick(uv_timer_t *timer)
{
}

/* Runs the loop until condition, which must come true in time. */
#define wait_until(condition)                                                                                          \
	do {                                                                                                           \
		uv_timer_t tick_;                                                                                      \
		uint64_t end_;                                                                                         \
		assert_int_equal(uv_timer_init(&loop, &tick_), 0);                                                     \
		assert_int_equal(uv_timer_start(&tick_, on_tick, 1, 10), 0);                                           \
		end_ = uv_now(&loop) + PATIENCE_MS;                                                                    \
		while (!(condition) && uv_now(&loop) < end_)                                                           \
			(void) uv_run(&loop, UV_RUN_ONCE);                                                             \
		uv_close((uv_handle_t *) &tick_, NULL);                                                                \
		(void) uv_run(&loop, UV_RUN_NOWAIT);                                                                   \
		assert_true(condition);                                                                                \
	} while (0)

static int tear_down(void **state)
{
	if (!supervisor.stopping)
		supervisor_stop_all(&supervisor);
	wait_until(seen.all_gone);
	(void) uv_run(&loop, UV_RUN_DEFAULT);
	allowlist_done(&allowlist);
	scratch_remove();
	return uv_loop_close(&loop);
}

/* Mounts; the client's end of the connection, or the refusal's negative code. */
static int open_share(const char *name, enum fake_worker fake, uint32_t flags)
{
	struct proto_hello_request hello = { .view_uid = fake, .flags = flags };
	struct proto_refusal refusal = { 0 };
	int fds[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	strcpy(hello.share.path, scratch_path(name));
	if (supervisor_open(&supervisor, fds[1], &hello, 9, &refusal) == 0)
		return fds[0];
	(void) snprintf(seen.text, sizeof(seen.text), "%s", refusal.text);
	close_fd(fds[0]);
	close_fd(fds[1]);
	assert_true(refusal.code > 0);
	return -(int) refusal.code;
}

/* The bytes that a worker said, in the time it takes. */
static void says(int fd, const char *expected)
{
	char bytes[16] = "";

	for (size_t i = 0; i < strlen(expected); i++) {
		struct pollfd poller = { .fd = fd, .events = POLLIN };

		wait_until(poll(&poller, 1, 0) == 1);
		assert_int_equal(recv(fd, bytes + i, 1, 0), 1);
	}
	assert_string_equal(bytes, expected);
}

static int serve_share(const char *name, uint32_t flags, const char *expected)
{
	int fd = open_share(name, FAKE_SERVE, flags);

	assert_true(fd >= 0);
	says(fd, expected);
	wait_until(supervisor.workers->prev->state == WORKER_STATE_SERVING);
	return fd;
}

static void a_worker_gets_exactly_its_descriptors_and_flags(void **state)
{
	int fd = serve_share("share", 0, "Dw");

	assert_int_equal(supervisor.count, 1);
	assert_string_equal(supervisor.workers->path, scratch_path("share"));
	assert_true(supervisor.workers->session != 0);
	assert_int_equal(supervisor.workers->connection, -EBADF);
	close_fd(fd);
	close_fd(serve_share("share/sub", PROTO_HELLO_READ_ONLY, "Dr"));
}

static void a_read_only_entry_is_read_only_whatever_hello_asks(void **state)
{
	allowlist_done(&allowlist);
	assert_int_equal(allowlist_add(&allowlist, scratch_path("share"), true), 0);
	close_fd(serve_share("share/sub", 0, "Dr"));
}

static void what_cannot_be_mounted_has_a_code_and_words_each(void **state)
{
	assert_int_equal(open_share("other", FAKE_SERVE, 0), -PROTO_REFUSE_NOT_SHARED);
	assert_ptr_equal(strstr(seen.text, "Mounts denied: The path "), seen.text);
	assert_non_null(strstr(seen.text, "other is not shared from the host and is not known to bindshare."));
	assert_int_equal(open_share("missing", FAKE_SERVE, 0), -PROTO_REFUSE_NOT_SHARED);
	assert_int_equal(open_share("share/missing", FAKE_SERVE, 0), -PROTO_REFUSE_NOT_FOUND);
	assert_int_equal(open_share("share/file", FAKE_SERVE, 0), -PROTO_REFUSE_NOT_DIRECTORY);
	assert_int_equal(supervisor.count, 0);
}

static void a_lane_reaches_the_worker_of_its_session_only(void **state)
{
	struct proto_refusal refusal;
	int fd = serve_share("share", 0, "Dw"), fds[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	assert_int_equal(supervisor_attach(&supervisor, fds[1], supervisor.workers->session ^ 1, 3, &refusal), -EACCES);
	assert_int_equal(refusal.code, PROTO_REFUSE_SESSION);
	assert_int_equal(supervisor_attach(&supervisor, fds[1], supervisor.workers->session, 3, &refusal), 0);
	says(fds[0], "L");
	close_fd(fds[0]);
	close_fd(fd);
}

static void no_more_workers_than_allowed(void **state)
{
	int fds[4];

	for (unsigned i = 0; i < 4; i++)
		fds[i] = serve_share("share", 0, "Dw");
	assert_int_equal(open_share("share", FAKE_SERVE, 0), -PROTO_REFUSE_LIMIT);
	for (unsigned i = 0; i < 4; i++)
		close_fd(fds[i]);
}

static void a_worker_that_fails_to_start_refuses_its_client(void **state)
{
	int fd = open_share("share", FAKE_FAIL, 0);

	wait_until(supervisor.count == 0);
	assert_int_equal(seen.refusals, 1);
	assert_non_null(strstr(seen.text, "the sandbox is broken"));
	close_fd(fd);
	fd = open_share("share", FAKE_CRASH, 0);
	wait_until(supervisor.count == 0);
	assert_int_equal(seen.refusals, 2);
	close_fd(fd);
	fd = open_share("share", FAKE_NONSENSE, 0);
	wait_until(supervisor.count == 0);
	assert_int_equal(seen.refusals, 3);
	close_fd(fd);
}

static void a_worker_that_dies_takes_nobody_with_it(void **state)
{
	int first = serve_share("share", 0, "Dw"), second = serve_share("share/sub", 0, "Dw");
	char byte;

	assert_int_equal(kill(supervisor.workers->process.handle.pid, SIGKILL), 0);
	wait_until(supervisor.count == 1);
	assert_int_equal(recv(first, &byte, 1, 0), 0);
	assert_int_equal(recv(second, &byte, 1, MSG_DONTWAIT), -1);
	assert_string_equal(supervisor.workers->path, scratch_path("share/sub"));
	close_fd(first);
	close_fd(second);
}

static void a_share_that_crashes_again_and_again_rests(void **state)
{
	for (unsigned i = 0; i < 5; i++) {
		int fd = open_share("share", FAKE_CRASH_LATER, 0);

		assert_true(fd >= 0);
		wait_until(supervisor.count == 0);
		close_fd(fd);
	}
	assert_int_equal(open_share("share", FAKE_SERVE, 0), -PROTO_REFUSE_LIMIT);
	assert_non_null(strstr(seen.text, "5 times"));
	close_fd(serve_share("share/sub", 0, "Dw"));
}

static void a_share_taken_off_the_list_is_stopped_and_others_go_on(void **state)
{
	char revoked[] = { '0' + PROTO_GOODBYE_REVOKED, 0 };
	int first, second;

	assert_int_equal(allowlist_add(&allowlist, scratch_path("other"), false), 0);
	first = serve_share("share/sub", 0, "Dw");
	second = serve_share("other", 0, "Dw");
	assert_int_equal(supervisor_reconsider(&supervisor), 0);
	assert_int_equal(supervisor.workers->state, WORKER_STATE_SERVING);
	allowlist_done(&allowlist);
	assert_int_equal(allowlist_add(&allowlist, scratch_path("other"), false), 0);
	assert_int_equal(supervisor_reconsider(&supervisor), 1);
	says(first, revoked);
	wait_until(supervisor.count == 1);
	assert_int_equal(seen.settled, 1);
	assert_string_equal(supervisor.workers->path, scratch_path("other"));
	assert_non_null(strstr(seen.events, "\"unmounted\""));
	close_fd(first);
	close_fd(second);
}

static void a_share_that_becomes_read_only_goes_on_for_reading(void **state)
{
	int fd = serve_share("share", 0, "Dw");

	allowlist_done(&allowlist);
	assert_int_equal(allowlist_add(&allowlist, scratch_path("share"), true), 0);
	assert_int_equal(supervisor_reconsider(&supervisor), 1);
	says(fd, "R");
	wait_until(seen.settled == 1);
	assert_int_equal(supervisor.count, 1);
	assert_true(supervisor.workers->read_only);
	assert_non_null(strstr(seen.events, "\"mount-read-only\""));
	/* It never gains a right back. */
	allowlist_done(&allowlist);
	assert_int_equal(allowlist_add(&allowlist, scratch_path("share"), false), 0);
	assert_int_equal(supervisor_reconsider(&supervisor), 0);
	assert_true(supervisor.workers->read_only);
	close_fd(fd);
}

static void a_worker_that_does_not_become_read_only_in_time_is_killed(void **state)
{
	int fd = open_share("share", FAKE_DEAF, 0);

	says(fd, "Dw");
	wait_until(supervisor.workers->state == WORKER_STATE_SERVING);
	allowlist_done(&allowlist);
	assert_int_equal(allowlist_add(&allowlist, scratch_path("share"), true), 0);
	assert_int_equal(supervisor_reconsider(&supervisor), 1);
	wait_until(supervisor.count == 0);
	assert_int_equal(seen.settled, 1);
	close_fd(fd);
}

static void a_directory_that_is_replaced_is_served_no_more(void **state)
{
	char moved[] = { '0' + PROTO_GOODBYE_MOVED, 0 };
	int fd = serve_share("share/sub", 0, "Dw");

	assert_int_equal(rename(scratch_path("share/sub"), scratch_path("share/was")), 0);
	(void) scratch_directory("share/sub");
	assert_int_equal(supervisor_reconsider(&supervisor), 1);
	says(fd, moved);
	wait_until(supervisor.count == 0);
	close_fd(fd);
	/* What replaced an entry of the list is not served until the user says so. */
	allowlist.entries[0].replaced = true;
	assert_int_equal(open_share("share/sub", FAKE_SERVE, 0), -PROTO_REFUSE_NOT_SHARED);
	assert_non_null(strstr(seen.text, "bindsharectl share add"));
}

static void each_session_keeps_the_token_of_its_hello(void **state)
{
	struct proto_token token = { { 1 } };
	int first, second;

	supervisor.token = &token;
	first = serve_share("share", 0, "Dw");
	token.key[0] = 2;
	second = serve_share("share/sub", 0, "Dw");
	assert_int_equal(supervisor_token(&supervisor, supervisor.workers->session)->key[0], 1);
	assert_int_equal(supervisor_token(&supervisor, supervisor.workers->next->session)->key[0], 2);
	assert_ptr_equal(supervisor_token(&supervisor, 1), &token);
	assert_int_equal(supervisor_end_mounts(&supervisor, "over"), 2);
	wait_until(supervisor.count == 0);
	close_fd(first);
	close_fd(second);
}

static void a_worker_that_does_not_stop_is_killed(void **state)
{
	int fd = open_share("share", FAKE_DEAF, 0);

	assert_true(fd >= 0);
	says(fd, "Dw");
	supervisor_stop_all(&supervisor);
	wait_until(seen.all_gone);
	close_fd(fd);
}

static void while_stopping_nothing_is_mounted(void **state)
{
	supervisor_stop_all(&supervisor);
	assert_true(seen.all_gone);
	assert_int_equal(open_share("share", FAKE_SERVE, 0), -PROTO_REFUSE_LIMIT);
}

static void without_a_program_the_client_is_refused(void **state)
{
	supervisor.executable = "/nonexistent/worker";
	assert_int_equal(open_share("share", FAKE_SERVE, 0), -PROTO_REFUSE_INTERNAL);
	assert_int_equal(supervisor.count, 0);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(a_worker_gets_exactly_its_descriptors_and_flags),
		CASE(a_read_only_entry_is_read_only_whatever_hello_asks),
		CASE(what_cannot_be_mounted_has_a_code_and_words_each),
		CASE(a_lane_reaches_the_worker_of_its_session_only),
		CASE(no_more_workers_than_allowed),
		CASE(a_worker_that_fails_to_start_refuses_its_client),
		CASE(a_worker_that_dies_takes_nobody_with_it),
		CASE(a_share_that_crashes_again_and_again_rests),
		CASE(a_share_taken_off_the_list_is_stopped_and_others_go_on),
		CASE(a_share_that_becomes_read_only_goes_on_for_reading),
		CASE(a_worker_that_does_not_become_read_only_in_time_is_killed),
		CASE(a_directory_that_is_replaced_is_served_no_more),
		CASE(each_session_keeps_the_token_of_its_hello),
		CASE(a_worker_that_does_not_stop_is_killed),
		CASE(while_stopping_nothing_is_mounted),
		CASE(without_a_program_the_client_is_refused),
	};

	/* What the workers inherit is part of the test. */
	(void) close_range(3, ~0U, CLOSE_RANGE_CLOEXEC);
	log_init("test", LOG_LEVEL_ERROR);
	(void) setvbuf(stdout, NULL, _IOLBF, 0);
	return cmocka_run_group_tests_name("supervisor", tests, NULL, NULL);
}
