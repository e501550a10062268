/* SPDX-License-Identifier: Apache-2.0 */
/* The control socket: its answers, and clients that are slow, too many or talk nonsense. */
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "fileserver/broker/control-path.h"
#include "fileserver/broker/control.h"
#include "protocol/cleanup.h"
#include "tests/support/scratch.h"

static uv_loop_t loop;
static struct control control;
static struct supervisor supervisor;
static struct allowlist allowlist;
static struct worker worker;
static struct proto_counters counters;
static const char *const listen_text = "unix:/run/s";

static int set_up(void **state)
{
	struct control_facts facts = {
		.supervisor = &supervisor, .listen = &listen_text, .listen_count = 1, .has_token = true, .since = 1000
	};
	char error[512];

	(void) scratch_make();
	(void) scratch_directory("share");
	memset(&counters, 0, sizeof(counters));
	counters.ops[PROTO_LOOKUP].count = 5;
	counters.ops[PROTO_LOOKUP].errors = 2;
	counters.nodes = 17;
	worker = (struct worker){ .path = "/srv/\xff",
		                  .requested = "/srv/x",
		                  .read_only = true,
		                  .since = 2000,
		                  .state = WORKER_STATE_SERVING,
		                  .process.counters = &counters };
	worker.process.handle.pid = 99;
	supervisor = (struct supervisor){ .allowlist = &allowlist, .workers_max = 64, .workers = &worker, .count = 1 };
	supervisor.past.ops[PROTO_LOOKUP].count = 100;
	assert_int_equal(allowlist_add(&allowlist, scratch_path("share"), false), 0);
	assert_int_equal(allowlist_add(&allowlist, "/nonexistent/share", true), 0);
	control = (struct control){ 0 };
	assert_int_equal(uv_loop_init(&loop), 0);
	return control_open(&control, &loop, scratch_path("control.sock"), &facts, error, sizeof(error));
}

static int tear_down(void **state)
{
	control_close(&control);
	(void) uv_run(&loop, UV_RUN_DEFAULT);
	allowlist_done(&allowlist);
	assert_int_equal(access(scratch_path("control.sock"), F_OK), -1);
	scratch_remove();
	return uv_loop_close(&loop);
}

static void turn(void)
{
	for (unsigned i = 0; i < 8; i++)
		(void) uv_run(&loop, UV_RUN_NOWAIT);
}

static int connect_client(void)
{
	struct proto_address address = { .kind = PROTO_ADDRESS_UNIX };
	int fd;

	strcpy(address.path, scratch_path("control.sock"));
	fd = proto_address_connect(&address, 1000);
	assert_true(fd >= 0);
	assert_int_equal(fcntl(fd, F_SETFL, O_RDWR | O_NONBLOCK), 0);
	turn();
	return fd;
}

/* Sends a text and reads the answer to the end. The caller frees it. */
static json_t *ask(const char *text)
{
	static char answer[65536];
	int fd = connect_client();
	size_t length = 0;
	ssize_t n;
	json_t *json;

	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	turn();
	while ((n = read(fd, answer + length, sizeof(answer) - length)) > 0)
		length += (size_t) n;
	assert_int_equal(n, 0);
	close_fd(fd);
	assert_int_equal(answer[length - 1], '\n');
	assert_null(memchr(answer, '\n', length - 1));
	json = json_loadb(answer, length, 0, NULL);
	assert_non_null(json);
	assert_int_equal(json_integer_value(json_object_get(json, "version")), 1);
	return json;
}

static void status_tells_what_is_mounted(void **state)
{
	json_t *json = ask("{\"version\":1,\"request\":\"status\"}\n");
	json_t *mount = json_array_get(json_object_get(json, "mounts"), 0);

	assert_int_equal(json_array_size(json_object_get(json, "mounts")), 1);
	assert_string_equal(json_string_value(json_array_get(json_object_get(json, "listen"), 0)), "unix:/run/s");
	assert_true(json_is_true(json_object_get(json, "token")));
	assert_true(json_is_null(json_object_get(json, "settings")));
	/* A path that is no UTF-8 is still shown. */
	assert_string_equal(json_string_value(json_object_get(mount, "share")), "/srv/?");
	assert_string_equal(json_string_value(json_object_get(mount, "state")), "serving");
	assert_int_equal(json_integer_value(json_object_get(mount, "nodes")), 17);
	assert_int_equal(json_integer_value(json_object_get(mount, "pid")), 99);
	assert_int_equal(json_integer_value(json_object_get(mount, "since")), 2000);
	assert_true(json_is_true(json_object_get(mount, "read_only")));
	/* What names a session is not shown. */
	assert_null(json_object_get(mount, "session"));
	json_decref(json);
}

static void stats_sum_over_mounts_that_are_gone_too(void **state)
{
	json_t *json = ask("{\"version\":1,\"request\":\"stats\"}\n");
	json_t *sum = json_object_get(json_object_get(json, "operations"), "lookup");
	json_t *mount = json_array_get(json_object_get(json, "mounts"), 0);

	assert_int_equal(json_integer_value(json_object_get(sum, "count")), 105);
	assert_int_equal(json_integer_value(json_object_get(sum, "errors")), 2);
	sum = json_object_get(json_object_get(mount, "operations"), "lookup");
	assert_int_equal(json_integer_value(json_object_get(sum, "count")), 5);
	json_decref(json);
}

static void shares_tell_what_is_on_the_list(void **state)
{
	json_t *json = ask("{\"version\":1,\"request\":\"shares\"}\n");
	json_t *first = json_array_get(json_object_get(json, "shares"), 0);
	json_t *second = json_array_get(json_object_get(json, "shares"), 1);

	assert_string_equal(json_string_value(json_object_get(first, "path")), scratch_path("share"));
	assert_true(json_is_true(json_object_get(first, "present")));
	assert_true(json_is_false(json_object_get(first, "read_only")));
	assert_true(json_is_false(json_object_get(second, "present")));
	assert_true(json_is_null(json_object_get(second, "canonical")));
	assert_true(json_is_true(json_object_get(second, "read_only")));
	json_decref(json);
}

static void answers_error(const char *text, const char *words)
{
	json_t *json = ask(text);
	const char *error = json_string_value(json_object_get(json, "error"));

	assert_non_null(error);
	if (strstr(error, words) == NULL)
		fail_msg("said \"%s\" without \"%s\"", error, words);
	json_decref(json);
}

static void nonsense_is_answered_with_words(void **state)
{
	static char longest[CONTROL_REQUEST_MAX + 1];

	answers_error("\n", "not a line of JSON");
	answers_error("hello\n", "not a line of JSON");
	answers_error("[]\n", "not a line of JSON");
	answers_error("{\"version\":1}\n", "not a line of JSON");
	answers_error("{\"version\":2,\"request\":\"status\"}\n", "version 1");
	answers_error("{\"request\":\"status\"}\n", "version 1");
	answers_error("{\"version\":1,\"request\":\"stop\"}\n", "no such request");
	memset(longest, 'x', sizeof(longest) - 1);
	answers_error(longest, "not a line of JSON");
}

static void more_clients_than_allowed_are_closed(void **state)
{
	int fds[CONTROL_CLIENTS_MAX], last;
	char byte;

	for (unsigned i = 0; i < CONTROL_CLIENTS_MAX; i++)
		fds[i] = connect_client();
	assert_int_equal(control.count, CONTROL_CLIENTS_MAX);
	last = connect_client();
	assert_int_equal(read(last, &byte, 1), 0);
	close_fd(last);
	for (unsigned i = 0; i < CONTROL_CLIENTS_MAX; i++)
		close_fd(fds[i]);
	turn();
	assert_int_equal(control.count, 0);
}

static void a_silent_client_is_closed(void **state)
{
	int fd = connect_client();
	char byte;

	assert_int_equal(control.count, 1);
	while (control.count > 0)
		(void) uv_run(&loop, UV_RUN_ONCE);
	assert_int_equal(read(fd, &byte, 1), 0);
	close_fd(fd);
}

static void a_socket_where_others_may_write_is_refused(void **state)
{
	struct control second = { 0 };
	char error[512];
	const char *directory = scratch_directory("open");

	assert_int_equal(chmod(directory, 0777), 0);
	assert_int_equal(control_open(&second, &loop, scratch_path("open/sock"), &control.facts, error, sizeof(error)),
	                 -EPERM);
	assert_non_null(strstr(error, "others may replace"));
	assert_int_equal(
	        control_open(&second, &loop, scratch_path("control.sock"), &control.facts, error, sizeof(error)),
	        -EADDRINUSE);
	assert_int_equal(control_open(&second, &loop, scratch_path("none/sock"), &control.facts, error, sizeof(error)),
	                 -ENOENT);
}

static void the_default_path_is_in_the_users_runtime_directory(void **state)
{
	char path[256];
	struct stat st;

	assert_int_equal(setenv("XDG_RUNTIME_DIR", scratch_path("."), 1), 0);
	assert_int_equal(control_default_path(path, sizeof(path), true), 0);
	assert_int_equal(stat(scratch_path("bindshare"), &st), 0);
	assert_int_equal(st.st_mode & 07777, 0700);
	assert_int_equal(control_default_path(path, sizeof(path), true), 0);
	assert_int_equal(unsetenv("XDG_RUNTIME_DIR"), 0);
	assert_int_equal(control_default_path(path, sizeof(path), true), -ENOENT);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(status_tells_what_is_mounted),
		CASE(stats_sum_over_mounts_that_are_gone_too),
		CASE(shares_tell_what_is_on_the_list),
		CASE(nonsense_is_answered_with_words),
		CASE(more_clients_than_allowed_are_closed),
		CASE(a_silent_client_is_closed),
		CASE(a_socket_where_others_may_write_is_refused),
		CASE(the_default_path_is_in_the_users_runtime_directory),
	};

	return cmocka_run_group_tests_name("control", tests, NULL, NULL);
}
