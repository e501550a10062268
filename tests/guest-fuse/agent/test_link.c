/* SPDX-License-Identifier: Apache-2.0 */
/* The connection to the server as guestd's loop sees it: lists, answers and status, however often it breaks. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "guest-fuse/agent/link.h"
#include "protocol/cleanup.h"
#include "protocol/clock.h"
#include "protocol/log.h"
#include "tests/guest-fuse/agent/list-server.h"
#include "tests/support/scratch.h"

enum { LOOP_MS = 10000 };

static uv_loop_t loop;
static struct guest_config config;
static struct link link_;
static struct list_server server;
static int listener = -EBADF;
static char answered[PATH_MAX]; /* "-": nobody could be asked */
static unsigned changes, answers;
static bool running;

static void on_changed(void *context)
{
	changes++;
}

static void on_answered(void *context, const char *path)
{
	answers++;
	(void) snprintf(answered, sizeof(answered), "%s", path != NULL ? path : "-");
}

static int set_up(void **state)
{
	char error[512], text[300];

	(void) scratch_make();
	assert_int_equal(guest_config_default(&config), 0);
	(void) snprintf(text, sizeof(text), "unix:%s", scratch_path("server.sock"));
	free(config.address_text);
	config.address_text = strdup(text);
	assert_int_equal(proto_address_parse(text, &config.address, error, sizeof(error)), 0);
	listener = proto_address_listen(&config.address, 8);
	assert_true(listener >= 0);
	server = (struct list_server){ .shares = { "/a" }, .count = 1, .leads_to = "/a/x" };
	assert_int_equal(uv_loop_init(&loop), 0);
	link_ = (struct link){ .config = &config, .changed = on_changed };
	answered[0] = '\0';
	changes = answers = 0;
	return 0;
}

static void start(void)
{
	assert_int_equal(link_start(&link_, &loop), 0);
	running = true;
}

static void stop(void)
{
	running = false;
	link_stop(&link_);
}

static int tear_down(void **state)
{
	/* A case that failed. */
	if (running)
		stop();
	assert_int_equal(uv_run(&loop, UV_RUN_DEFAULT), 0);
	assert_int_equal(uv_loop_close(&loop), 0);
	listener = close_fd(listener);
	guest_config_done(&config);
	scratch_remove();
	return 0;
}

/* The server takes the next connection. */
static void serve(void)
{
	int fd = -1;
	int64_t until = clock_ms() + LOOP_MS;

	while (fd < 0 && clock_ms() < until) {
		fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
		if (fd < 0)
			(void) usleep(1000);
	}
	assert_true(fd >= 0);
	(void) list_server_start(&server, fd);
}

static enum link_state state_now(char error[LINK_ERROR_SIZE])
{
	struct link_status status;

	link_get_status(&link_, &status);
	strcpy(error, status.error);
	return status.state;
}

#define WAIT_FOR(condition)                                                                                            \
	do {                                                                                                           \
		int64_t until_ = clock_ms() + LOOP_MS;                                                                 \
		bool met_;                                                                                             \
                                                                                                                       \
		while (!(met_ = (condition)) && clock_ms() < until_) {                                                 \
			(void) uv_run(&loop, UV_RUN_NOWAIT);                                                           \
			(void) usleep(500);                                                                            \
		}                                                                                                      \
		assert_true(met_);                                                                                     \
	} while (0)

static void a_list_is_handed_to_the_loop_once(void **state)
{
	struct share_list list;
	char error[LINK_ERROR_SIZE];

	start();
	assert_false(link_take(&link_, &list));
	serve();
	WAIT_FOR(link_take(&link_, &list));
	assert_int_equal(list.count, 1);
	assert_string_equal(list.shares[0].path, "/a");
	share_list_done(&list);
	assert_false(link_take(&link_, &list));
	WAIT_FOR(changes > 0);
	assert_int_equal(state_now(error), LINK_CONNECTED);
	assert_string_equal(error, "");
	stop();
	list_server_end(&server);
}

static void questions_are_answered_in_the_loop(void **state)
{
	server.busy = 2;
	start();
	serve();
	assert_int_equal(link_resolve(&link_, "/link", on_answered, NULL), 0);
	WAIT_FOR(answers == 1);
	assert_string_equal(answered, "/a/x");
	assert_int_equal(server.asked_paths, 3);
	server.leads_to = NULL;
	assert_int_equal(link_resolve(&link_, "/elsewhere", on_answered, NULL), 0);
	WAIT_FOR(answers == 2);
	assert_string_equal(answered, "");
	stop();
	list_server_end(&server);
}

static void a_server_that_stays_busy_is_as_if_nobody_could_be_asked(void **state)
{
	server.busy = 100;
	start();
	serve();
	assert_int_equal(link_resolve(&link_, "/link", on_answered, NULL), 0);
	WAIT_FOR(answers == 1);
	assert_string_equal(answered, "-");
	assert_true(server.asked_paths > 1 && server.asked_paths < 100);
	stop();
	list_server_end(&server);
}

static void without_a_server_every_question_is_answered_and_the_cause_is_told(void **state)
{
	char error[LINK_ERROR_SIZE];

	listener = close_fd(listener);
	start();
	WAIT_FOR(state_now(error) == LINK_CONNECTING && error[0] != '\0');
	assert_non_null(strstr(error, "cannot be reached (Connection refused)"));
	assert_int_equal(link_resolve(&link_, "/link", on_answered, NULL), 0);
	WAIT_FOR(answers == 1);
	assert_string_equal(answered, "-");
	stop();
}

static void a_question_that_is_open_at_the_end_is_answered_before_it(void **state)
{
	start();
	/* Nobody accepts: the thread waits for the handshake. */
	assert_int_equal(link_resolve(&link_, "/link", on_answered, NULL), 0);
	(void) shutdown(listener, SHUT_RDWR);
	stop();
	assert_int_equal(answers, 1);
	assert_string_equal(answered, "-");
}

static void a_connection_that_breaks_is_made_again(void **state)
{
	struct share_list list;
	char error[LINK_ERROR_SIZE];

	server.closes = true;
	start();
	serve();
	list_server_end(&server);
	server.closes = false;
	serve();
	WAIT_FOR(link_take(&link_, &list));
	share_list_done(&list);
	WAIT_FOR(state_now(error) == LINK_CONNECTED);
	stop();
	list_server_end(&server);
}

static void a_server_that_refuses_is_told_by_its_words(void **state)
{
	char error[LINK_ERROR_SIZE];

	server.refuses = true;
	start();
	serve();
	WAIT_FOR(state_now(error) == LINK_REFUSED);
	assert_string_equal(error, "it refuses: the token is wrong");
	list_server_end(&server);
	(void) shutdown(listener, SHUT_RDWR);
	stop();
}

static void a_list_that_is_too_long_is_refused(void **state)
{
	struct share_list list;
	char error[LINK_ERROR_SIZE];

	server.count_told = SHARE_LIST_MAX + 1;
	start();
	serve();
	WAIT_FOR(state_now(error) == LINK_REFUSED);
	assert_non_null(strstr(error, "it tells of 1025 shared directories, and more than 1024 are not believed"));
	assert_false(link_take(&link_, &list));
	list_server_end(&server);
	(void) shutdown(listener, SHUT_RDWR);
	stop();
}

static void refusals_are_told_to_the_server_and_long_paths_are_not(void **state)
{
	char long_path[PROTO_SHARE_SIZE + 8];

	memset(long_path, 'x', sizeof(long_path) - 1);
	long_path[0] = '/';
	long_path[sizeof(long_path) - 1] = '\0';
	start();
	serve();
	link_tell_refused(&link_, long_path, PROTO_BIND_MISSING);
	link_tell_refused(&link_, "/not/shared", PROTO_BIND_NOT_SHARED);
	/* What was queued is sent before the next question but one is answered. */
	for (unsigned i = 1; i <= 2; i++) {
		assert_int_equal(link_resolve(&link_, "/link", on_answered, NULL), 0);
		WAIT_FOR(answers == i);
	}
	stop();
	list_server_end(&server);
	assert_string_equal(server.refused, "/not/shared");
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(a_list_is_handed_to_the_loop_once),
		CASE(questions_are_answered_in_the_loop),
		CASE(a_server_that_stays_busy_is_as_if_nobody_could_be_asked),
		CASE(without_a_server_every_question_is_answered_and_the_cause_is_told),
		CASE(a_question_that_is_open_at_the_end_is_answered_before_it),
		CASE(a_connection_that_breaks_is_made_again),
		CASE(a_server_that_refuses_is_told_by_its_words),
		CASE(a_list_that_is_too_long_is_refused),
		CASE(refusals_are_told_to_the_server_and_long_paths_are_not),
	};

	log_init("test-agent-link", LOG_LEVEL_ERROR);
	return cmocka_run_group_tests_name("link", tests, NULL, NULL);
}
