/* SPDX-License-Identifier: Apache-2.0 */
/* Questions to the server: exit codes and words for what goes wrong. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <pthread.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sysexits.h>
#include <unistd.h>

#include <cmocka.h>

#include "ctl/client.h"
#include "protocol/cleanup.h"
#include "protocol/document.h"
#include "tests/ctl/printed.h"
#include "tests/support/scratch.h"

static int listener = -EBADF;
static struct sockaddr_un name;
static char request[256]; /* as it came */

static int set_up(void **state)
{
	(void) scratch_make();
	listener = scratch_listen("sock", 1, &name);
	return 0;
}

static int tear_down(void **state)
{
	listener = close_fd(listener);
	scratch_remove();
	return 0;
}

/* Takes one request and answers so. */
static void *serve(void *answer)
{
	_cleanup_close_ int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : recv(fd, request, sizeof(request) - 1, 0);

	request[n < 0 ? 0 : n] = '\0';
	if (fd >= 0)
		(void) send(fd, answer, strlen(answer), MSG_NOSIGNAL);
	return NULL;
}

static json_t *ask(const char *answer, int *ret_code, const char **ret_said)
{
	pthread_t thread;
	json_t *got;

	assert_int_equal(pthread_create(&thread, NULL, serve, (void *) answer), 0);
	printed_begin();
	got = client_ask(name.sun_path, client_request("status"), ret_code);
	*ret_said = printed_end();
	assert_int_equal(pthread_join(thread, NULL), 0);
	return got;
}

static void an_answer_is_taken(void **state)
{
	const char *said;
	int code = -1;
	_cleanup_json_ json_t *answer = ask("{\"a\":1}\n", &code, &said);

	assert_int_equal(code, EX_OK);
	assert_int_equal(json_integer_value(json_object_get(answer, "a")), 1);
	assert_string_equal(said, "");
	assert_string_equal(request, "{\"version\":1,\"request\":\"status\"}\n");
}

static void one_that_gives_no_answer_is_told(void **state)
{
	static const char *const answers[] = { "", "x\n", "[]\n", "{\"a\":1}" };

	for (size_t i = 0; i < ARRAY_SIZE(answers); i++) {
		const char *said;
		int code = -1;

		assert_null(ask(answers[i], &code, &said));
		assert_int_equal(code, EX_PROTOCOL);
		assert_non_null(strstr(said, "gave no answer"));
		assert_non_null(strstr(said, name.sun_path));
	}
}

static void nobody_there_is_told_with_what_to_do(void **state)
{
	const char *said;
	int code = -1;

	printed_begin();
	assert_null(client_ask(scratch_path("none"), client_request("status"), &code));
	said = printed_end();
	assert_int_equal(code, EX_UNAVAILABLE);
	assert_non_null(strstr(said, "no file server at "));
	assert_non_null(strstr(said, "No such file or directory\nStart bindshare-fileserver"));
}

static void each_error_has_its_exit_code(void **state)
{
	static const struct {
		const char *code;
		int exit_code;
	} cases[] = {
		{ "bad-path", EX_DATAERR },    { "not-found", EX_NOINPUT },  { "policy", EX_NOPERM },
		{ "settings", EX_CONFIG },     { "system", EX_OSERR },       { "unsettled", EX_TEMPFAIL },
		{ "unanswered", EX_TEMPFAIL }, { "a new one", EX_PROTOCOL },
	};
	_cleanup_json_ json_t *bare = json_pack("{ss}", "error", "words"), *fine = json_pack("{ss}", "code", "policy");
	_cleanup_json_ json_t *guests = json_pack("{ss}", "error", "/a\x1b[2J");

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_json_ json_t *answer = json_pack("{ss ss}", "error", "words", "code", cases[i].code);

		printed_begin();
		assert_int_equal(client_check(answer), cases[i].exit_code);
		assert_string_equal(printed_end(), "bindsharectl: words\n");
	}
	printed_begin();
	assert_int_equal(client_check(guests), EX_PROTOCOL);
	/* It may name what a guest has made. */
	assert_string_equal(printed_end(), "bindsharectl: /a\\x1b[2J\n");
	printed_begin();
	assert_int_equal(client_check(bare), EX_PROTOCOL);
	assert_int_equal(client_check(fine), EX_OK);
	(void) printed_end();
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(an_answer_is_taken),
		CASE(one_that_gives_no_answer_is_told),
		CASE(nobody_there_is_told_with_what_to_do),
		CASE(each_error_has_its_exit_code),
	};

	return cmocka_run_group_tests_name("client", tests, NULL, NULL);
}
