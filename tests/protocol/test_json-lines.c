/* SPDX-License-Identifier: Apache-2.0 */
/* JSON objects on lines: what comes in pieces, too long, broken or not at all. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "protocol/cleanup.h"
#include "protocol/clock.h"
#include "protocol/json-lines.h"
#include "tests/support/scratch.h"

enum { LONG_MS = 60000, SHORT_MS = 50, LINE_MAX_BYTES = 256 * 1024 };

static int listener = -EBADF, other = -EBADF; /* the server's end */
static struct json_lines lines;
static json_t *object;
static struct sockaddr_un name;

static int set_up(void **state)
{
	(void) scratch_make();
	listener = scratch_listen("sock", 0, &name);
	lines = (struct json_lines){ .line_max = LINE_MAX_BYTES };
	assert_int_equal(json_lines_open(&lines, name.sun_path, LONG_MS), 0);
	other = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	assert_true(other >= 0);
	object = NULL;
	return 0;
}

static int tear_down(void **state)
{
	json_lines_close(&lines);
	json_decref(object);
	other = close_fd(other);
	listener = close_fd(listener);
	scratch_remove();
	return 0;
}

static void say(const char *text)
{
	assert_int_equal(send(other, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

static int next(int timeout_ms)
{
	json_decref(object);
	object = NULL;
	return json_lines_next(&lines, clock_ms() + timeout_ms, &object);
}

static json_int_t number(void)
{
	return json_integer_value(json_object_get(object, "n"));
}

static void lines_come_one_by_one_however_they_are_cut(void **state)
{
	say("{\"n\":1}\n{\"n\":2}\n{\"n\"");
	assert_int_equal(next(LONG_MS), 0);
	assert_int_equal(number(), 1);
	assert_int_equal(next(LONG_MS), 0);
	assert_int_equal(number(), 2);
	assert_int_equal(next(SHORT_MS), -ETIMEDOUT);
	assert_null(object);
	say(":3}\n");
	assert_int_equal(next(LONG_MS), 0);
	assert_int_equal(number(), 3);
	other = close_fd(other);
	assert_int_equal(next(LONG_MS), -ENODATA);
}

static void what_was_sent_is_there_when_the_other_end_has_closed(void **state)
{
	say("{\"n\":1}\n{\"n\":2}\n");
	other = close_fd(other);
	assert_int_equal(next(LONG_MS), 0);
	assert_int_equal(next(LONG_MS), 0);
	assert_int_equal(number(), 2);
	assert_int_equal(next(LONG_MS), -ENODATA);
}

static void a_line_that_is_no_object_is_told_and_the_next_one_is_read(void **state)
{
	static const char *const broken[] = { "\n", "x\n", "[]\n", "1\n", "{}x\n", "{\"a\":1,\"a\":2}\n", "{\n" };

	for (size_t i = 0; i < ARRAY_SIZE(broken); i++) {
		say(broken[i]);
		say("{\"n\":5}\n");
		assert_int_equal(next(LONG_MS), -EPROTO);
		assert_null(object);
		assert_int_equal(next(LONG_MS), 0);
		assert_int_equal(number(), 5);
	}
}

static void a_line_without_an_end_counts_only_where_that_is_said(void **state)
{
	say("{\"n\":1}");
	other = close_fd(other);
	assert_int_equal(next(LONG_MS), -ENODATA);
	lines.unfinished_is_ok = true;
	assert_int_equal(next(LONG_MS), 0);
	assert_int_equal(number(), 1);
	assert_int_equal(next(LONG_MS), -ENODATA);
}

/* Sends a line of so many bytes with its end, in a thread: no socket's buffer takes it. */
static void *send_long(void *argument)
{
	size_t size = *(const size_t *) argument, sent = 0;
	char *text = malloc(size);

	memset(text, ' ', size);
	memcpy(text, "{\"n\":7}", 7);
	text[size - 1] = '\n';
	while (sent < size) {
		ssize_t n = send(other, text + sent, size - sent, MSG_NOSIGNAL);

		if (n < 0)
			break;
		sent += (size_t) n;
	}
	free(text);
	return NULL;
}

static int next_of_size(size_t size)
{
	pthread_t thread;
	int r;

	assert_int_equal(pthread_create(&thread, NULL, send_long, &size), 0);
	r = next(LONG_MS);
	if (r < 0)
		(void) shutdown(lines.fd, SHUT_RDWR);
	assert_int_equal(pthread_join(thread, NULL), 0);
	return r;
}

static void a_line_has_so_many_bytes_at_most(void **state)
{
	assert_int_equal(next_of_size(LINE_MAX_BYTES), 0);
	assert_int_equal(number(), 7);
	assert_int_equal(next_of_size(LINE_MAX_BYTES + 1), -EMSGSIZE);
}

static void an_object_is_sent_as_a_line(void **state)
{
	char text[64];
	ssize_t n;

	assert_int_equal(json_lines_send(&lines, json_pack("{si ss}", "n", 1, "t", "a\nb"), clock_ms() + LONG_MS), 0);
	n = recv(other, text, sizeof(text) - 1, 0);
	assert_true(n > 0);
	text[n] = '\0';
	assert_string_equal(text, "{\"n\":1,\"t\":\"a\\nb\"}\n");
}

static void what_is_no_object_is_not_sent(void **state)
{
	assert_int_equal(json_lines_send(&lines, NULL, JSON_LINES_EVER), -EINVAL);
	say("{\"n\":1}\n"); /* the connection is as good as before */
	assert_int_equal(next(LONG_MS), 0);
}

static void one_that_reads_nothing_is_not_waited_for(void **state)
{
	char *text = malloc(4 * 1024 * 1024 + 1);
	json_t *large;

	memset(text, 'x', 4 * 1024 * 1024);
	text[4 * 1024 * 1024] = '\0';
	large = json_pack("{s:s}", "text", text);
	free(text);
	assert_int_equal(json_lines_send(&lines, large, clock_ms() + SHORT_MS), -ETIMEDOUT);
}

static void one_that_has_gone_is_told(void **state)
{
	other = close_fd(other);
	assert_int_equal(json_lines_send(&lines, json_pack("{si}", "n", 1), JSON_LINES_EVER), -EPIPE);
}

static void nobody_there_is_told_by_its_cause(void **state)
{
	struct json_lines none = { .line_max = LINE_MAX_BYTES };
	char long_path[200];

	listener = close_fd(listener);
	assert_int_equal(json_lines_open(&none, name.sun_path, LONG_MS), -ECONNREFUSED);
	json_lines_close(&none);
	assert_int_equal(json_lines_open(&none, scratch_path("none"), LONG_MS), -ENOENT);
	json_lines_close(&none);
	memset(long_path, 'x', sizeof(long_path) - 1);
	long_path[sizeof(long_path) - 1] = '\0';
	assert_int_equal(json_lines_open(&none, long_path, LONG_MS), -ENAMETOOLONG);
	json_lines_close(&none);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(lines_come_one_by_one_however_they_are_cut),
		CASE(what_was_sent_is_there_when_the_other_end_has_closed),
		CASE(a_line_that_is_no_object_is_told_and_the_next_one_is_read),
		CASE(a_line_without_an_end_counts_only_where_that_is_said),
		CASE(a_line_has_so_many_bytes_at_most),
		CASE(an_object_is_sent_as_a_line),
		CASE(what_is_no_object_is_not_sent),
		CASE(one_that_reads_nothing_is_not_waited_for),
		CASE(one_that_has_gone_is_told),
		CASE(nobody_there_is_told_by_its_cause),
	};

	return cmocka_run_group_tests_name("json-lines", tests, NULL, NULL);
}
