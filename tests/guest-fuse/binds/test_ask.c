/* SPDX-License-Identifier: Apache-2.0 */
/* Questions to bindshare-guestd: one that is stuck, gone or talks nonsense holds up nobody, and is named. */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "guest-fuse/binds/ask.h"
#include "protocol/cleanup.h"
#include "protocol/document.h"
#include "tests/support/scratch.h"

enum { SHORT_MS = 50, LONG_MS = 60000 };

static int listener = -EBADF;
static struct sockaddr_un name;
static char error[1024];
static json_t *answer;

static int set_up(void **state)
{
	(void) scratch_make();
	listener = scratch_listen("sock", 0, &name);
	answer = NULL;
	error[0] = '\0';
	return 0;
}

static int tear_down(void **state)
{
	listener = close_fd(listener);
	json_decref(answer);
	scratch_remove();
	return 0;
}

static int ask(size_t size, int timeout_ms)
{
	char *text = malloc(size + 1);
	json_t *request;

	assert_non_null(text);
	memset(text, 'x', size);
	text[size] = '\0';
	request = json_pack("{s:s}", "request", text);
	free(text);
	return binds_ask(name.sun_path, request, timeout_ms, &answer, error, sizeof(error));
}

/* Reads a line and sends these bytes. */
static void *serve(void *bytes)
{
	_cleanup_close_ int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	char byte = 0;

	while (fd >= 0 && byte != '\n' && read(fd, &byte, 1) == 1)
		;
	for (size_t sent = 0, length = strlen(bytes); sent < length;) {
		ssize_t n = send(fd, (const char *) bytes + sent, length - sent, MSG_NOSIGNAL);

		if (n < 0)
			break;
		sent += (size_t) n;
	}
	return NULL;
}

static int ask_and_hear(const char *bytes)
{
	pthread_t thread;
	int r;

	json_decref(answer);
	answer = NULL;
	assert_int_equal(pthread_create(&thread, NULL, serve, (void *) bytes), 0);
	r = ask(10, LONG_MS);
	assert_int_equal(pthread_join(thread, NULL), 0);
	return r;
}

static void an_answer_is_taken(void **state)
{
	assert_int_equal(ask_and_hear("{\"ok\":true}\n"), 0);
	assert_true(json_is_true(json_object_get(answer, "ok")));
}

static void nonsense_is_named(void **state)
{
	static const char *const lines[] = { "", "{\"ok\":true}", "\n", "x\n", "[]\n", "{\"a\":1,\"a\":2}\n", "{}x\n" };
	char *large = malloc(BINDS_LINE_MAX + 2);

	for (size_t i = 0; i < ARRAY_SIZE(lines); i++) {
		assert_int_equal(ask_and_hear(lines[i]), -EPROTO);
		assert_non_null(strstr(error, "its answer makes no sense"));
		assert_null(answer);
	}
	assert_non_null(large);
	memset(large, ' ', BINDS_LINE_MAX + 1);
	large[BINDS_LINE_MAX + 1] = '\0';
	assert_int_equal(ask_and_hear(large), -EPROTO);
	free(large);
}

static void one_that_is_silent_is_not_waited_for(void **state)
{
	assert_int_equal(ask(10, SHORT_MS), -ETIMEDOUT);
	assert_non_null(strstr(error, "bindshare-guestd does not answer"));
}

static void one_that_reads_nothing_is_not_waited_for(void **state)
{
	assert_int_equal(ask(8 * 1024 * 1024, SHORT_MS), -ETIMEDOUT);
	assert_non_null(strstr(error, "bindshare-guestd does not answer"));
}

static void one_that_accepts_nobody_is_not_waited_for(void **state)
{
	int waiting[8];
	int r = 0;

	for (size_t i = 0; i < ARRAY_SIZE(waiting); i++) {
		waiting[i] = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
		r = connect(waiting[i], (struct sockaddr *) &name, sizeof(name)) < 0 ? -errno : 0;
	}
	assert_int_equal(r, -EAGAIN); /* the queue is full */
	assert_int_equal(ask(10, SHORT_MS), -ETIMEDOUT);
	for (size_t i = 0; i < ARRAY_SIZE(waiting); i++)
		close_fd(waiting[i]);
}

static void one_that_is_not_there_is_said_to_be(void **state)
{
	listener = close_fd(listener);
	assert_int_equal(ask(10, LONG_MS), -ECONNREFUSED);
	assert_non_null(strstr(error, "bindshare-guestd is not running"));
	assert_int_equal(unlink(name.sun_path), 0);
	assert_int_equal(ask(10, LONG_MS), -ECONNREFUSED);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(an_answer_is_taken, set_up, tear_down),
		cmocka_unit_test_setup_teardown(nonsense_is_named, set_up, tear_down),
		cmocka_unit_test_setup_teardown(one_that_is_silent_is_not_waited_for, set_up, tear_down),
		cmocka_unit_test_setup_teardown(one_that_reads_nothing_is_not_waited_for, set_up, tear_down),
		cmocka_unit_test_setup_teardown(one_that_accepts_nobody_is_not_waited_for, set_up, tear_down),
		cmocka_unit_test_setup_teardown(one_that_is_not_there_is_said_to_be, set_up, tear_down),
	};

	return cmocka_run_group_tests_name("ask", tests, NULL, NULL);
}
