/* SPDX-License-Identifier: Apache-2.0 */
/* The control socket: its answers, and clients that are slow, too many or talk nonsense. */
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "fileserver/broker/control.h"
#include "protocol/cleanup.h"
#include "protocol/clock.h"
#include "tests/support/scratch.h"

static uv_loop_t loop;
static struct control control;
static struct supervisor supervisor;
static struct shares shares;
static struct watch watch;
static struct events events;
static unsigned changes, rotations;
static struct worker worker;
static struct proto_counters counters;
static const char *const listen_text = "unix:/run/s";

static int channel[2]; /* of the worker */

static void on_uptake_changed(void *context)
{
	control_uptake_changed(&control);
}

static void on_changed(void *context)
{
	changes++;
}

static int on_rotate(void *context, bool from_file, char *error, size_t error_size)
{
	rotations++;
	(void) snprintf(error, error_size, "the file is bad");
	return from_file ? -EPERM : 0;
}

static int set_up(void **state)
{
	struct control_facts facts = { .supervisor = &supervisor,
		                       .shares = &shares,
		                       .watch = &watch,
		                       .events = &events,
		                       .listen = &listen_text,
		                       .listen_count = 1,
		                       .token_file = "/run/token",
		                       .since = 1000,
		                       .changed = on_changed,
		                       .rotate_token = on_rotate };
	char error[SHARES_ERROR_SIZE];

	(void) scratch_make();
	(void) scratch_directory("share");
	memset(&counters, 0, sizeof(counters));
	counters.ops[PROTO_LOOKUP].count = 5;
	counters.ops[PROTO_LOOKUP].errors = 2;
	counters.nodes = 17;
	counters.leases = 5;
	counters.leases_most = 70;
	counters.lease_events = 1234;
	counters.lease_overflows = 1;
	counters.leases_state = LEASES_GIVEN;
	worker = (struct worker){ .path = "/srv/\xff",
		                  .peer = "vsock 3:1024",
		                  .requested = "/srv/x",
		                  .read_only = true,
		                  .since = 2000,
		                  .state = WORKER_STATE_SERVING,
		                  .process.counters = &counters };
	worker.process.handle.pid = 99;
	supervisor = (struct supervisor){
		.allowlist = &shares.allowlist, .workers_max = 64, .workers = &worker, .count = 1
	};
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, channel), 0);
	worker.supervisor = &supervisor;
	worker.process.channel = channel[0];
	supervisor.uptake_changed = on_uptake_changed;
	supervisor.past.ops[PROTO_LOOKUP].count = 100;
	shares = (struct shares){ .events = &events };
	events = (struct events){ 0 };
	changes = rotations = 0;
	assert_int_equal(shares_give(&shares, scratch_path("share"), false, SHARE_COMMAND_LINE), 0);
	assert_int_equal(shares_give(&shares, "/nonexistent/share", true, SHARE_COMMAND_LINE), 0);
	assert_int_equal(shares_load(&shares, error, sizeof(error)), 0);
	control = (struct control){ 0 };
	assert_int_equal(uv_loop_init(&loop), 0);
	return control_open(&control, &loop, scratch_path("control.sock"), &facts, error, sizeof(error));
}

static int tear_down(void **state)
{
	control_close(&control);
	(void) uv_run(&loop, UV_RUN_DEFAULT);
	assert_null(supervisor.uptakes);
	close_fd(channel[0]);
	close_fd(channel[1]);
	shares_done(&shares);
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
	assert_string_equal(json_string_value(json_object_get(first, "state")), "served");
	assert_string_equal(json_string_value(json_object_get(second, "state")), "missing");
	assert_string_equal(json_string_value(json_object_get(first, "source")), "command-line");
	assert_true(json_is_null(json_object_get(first, "owner")));
	json_decref(json);
}

static void status_tells_of_leases_and_why_there_are_none(void **state)
{
	static const char *const states[] = { "starting", "given",       "not-asked", "no-watch",
		                              "no-marks", "file-system", "behind",    "unknown" };

	for (unsigned i = 0; i < ARRAY_SIZE(states); i++) {
		json_t *json, *leases;

		counters.leases_state = i;
		json = ask("{\"version\":1,\"request\":\"status\"}\n");
		leases = json_object_get(json_array_get(json_object_get(json, "mounts"), 0), "leases");
		assert_string_equal(json_string_value(json_object_get(leases, "state")), states[i]);
		assert_int_equal(json_integer_value(json_object_get(leases, "directories")), 5);
		assert_int_equal(json_integer_value(json_object_get(leases, "directories_max")), 70);
		assert_int_equal(json_integer_value(json_object_get(leases, "events")), 1234);
		assert_int_equal(json_integer_value(json_object_get(leases, "overflows")), 1);
		json_decref(json);
	}
	/* A worker is not trusted. */
	counters.leases_state = UINT64_MAX;
	json_decref(ask("{\"version\":1,\"request\":\"status\"}\n"));
}

static void answers_error(const char *text, const char *code, const char *words)
{
	json_t *json = ask(text);
	const char *error = json_string_value(json_object_get(json, "error"));

	assert_non_null(error);
	assert_string_equal(json_string_value(json_object_get(json, "code")), code);
	if (strstr(error, words) == NULL)
		fail_msg("said \"%s\" without \"%s\"", error, words);
	json_decref(json);
}

static void nonsense_is_answered_with_words(void **state)
{
	static char longest[CONTROL_REQUEST_MAX + 1];

	answers_error("\n", "malformed", "not a line of JSON");
	answers_error("hello\n", "malformed", "not a line of JSON");
	answers_error("[]\n", "malformed", "not a line of JSON");
	answers_error("{\"version\":1}\n", "malformed", "not a line of JSON");
	answers_error("{\"version\":2,\"request\":\"status\"}\n", "version", "version 1");
	answers_error("{\"request\":\"status\"}\n", "version", "version 1");
	answers_error("{\"version\":1,\"request\":\"stop\"}\n", "no-such-request", "share-remove");
	memset(longest, 'x', sizeof(longest) - 1);
	answers_error(longest, "too-long", "32768 bytes");
}

#define REQUEST(name, more) "{\"version\":1,\"request\":\"" name "\"" more "}\n"

static void changes_that_make_no_sense_change_nothing(void **state)
{
	answers_error(REQUEST("share-add", ""), "malformed", "\"path\":");
	answers_error(REQUEST("share-add", ",\"path\":7"), "malformed", "\"path\":");
	answers_error(REQUEST("share-add", ",\"path\":\"/\",\"read_only\":\"yes\""), "malformed", "read_only");
	answers_error(REQUEST("share-add", ",\"path\":\"/tmp/../etc\""), "bad-path", "absolute path");
	answers_error(REQUEST("share-add", ",\"path\":\"tmp\""), "bad-path", "absolute path");
	answers_error(REQUEST("share-add", ",\"path\":\"/nonexistent/x\""), "not-found", "make the directory");
	answers_error(REQUEST("share-add", ",\"path\":\"/dev/null\""), "not-directory", "not a directory");
	answers_error(REQUEST("share-remove", ",\"path\":\"/etc\""), "not-shared", "not on the list");
	answers_error(REQUEST("share-remove", ",\"path\":null"), "malformed", "share-remove is");
	answers_error(REQUEST("token-rotate", ",\"from_file\":1"), "malformed", "true or false");
	answers_error(REQUEST("token-rotate", ",\"from_file\":true"), "token-file", "the file is bad");
	assert_int_equal(changes, 0);
	assert_int_equal(shares.list.count, 2);
	control.facts.token_file = NULL;
	answers_error(REQUEST("token-rotate", ""), "no-token", "--token-file");
}

static void a_request_that_ends_too_early_is_answered(void **state)
{
	int fd = connect_client();
	char answer[256];
	ssize_t n;

	assert_int_equal(write(fd, "{\"version\":1,", 13), 13);
	turn();
	assert_int_equal(shutdown(fd, SHUT_WR), 0);
	turn();
	n = read(fd, answer, sizeof(answer) - 1);
	assert_true(n > 0);
	answer[n] = '\0';
	assert_non_null(strstr(answer, "\"truncated\""));
	assert_int_equal(read(fd, answer, 1), 0);
	close_fd(fd);
}

static void shares_are_added_changed_and_removed(void **state)
{
	char text[1024];
	json_t *json;

	(void) snprintf(text, sizeof(text), REQUEST("share-add", ",\"path\":\"%s/\",\"read_only\":true"),
	                scratch_directory("more"));
	json = ask(text);
	assert_non_null(json_object_get(json, "added"));
	assert_true(json_is_false(json_object_get(json, "persistent")));
	json_decref(json);
	assert_int_equal(changes, 1);
	assert_int_equal(shares.list.count, 3);
	assert_true(shares.list.shares[2].read_only);
	(void) snprintf(text, sizeof(text), REQUEST("share-add", ",\"path\":\"%s\""), scratch_path("more"));
	json_decref(ask(text));
	assert_int_equal(shares.list.count, 3);
	assert_false(shares.list.shares[2].read_only);
	(void) snprintf(text, sizeof(text), REQUEST("share-remove", ",\"path\":\"%s\""), scratch_path("more"));
	json_decref(ask(text));
	assert_int_equal(changes, 3);
	assert_int_equal(shares.list.count, 2);
}

static void the_answer_to_a_change_waits_until_workers_have_settled(void **state)
{
	int fd = connect_client();
	char answer[256];
	const char *text = REQUEST("share-remove", ",\"path\":\"/nonexistent/share\"");

	supervisor.unsettled = 1;
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	turn();
	assert_int_equal(changes, 1);
	assert_int_equal(read(fd, answer, sizeof(answer)), -1);
	supervisor.unsettled = 0;
	control_settled(&control);
	turn();
	assert_true(read(fd, answer, sizeof(answer)) > 0);
	close_fd(fd);
	/* A worker that never does is told of. */
	supervisor.unsettled = 1;
	fd = connect_client();
	text = REQUEST("token-rotate", "");
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	for (ssize_t n = -1; n < 0;) {
		(void) uv_run(&loop, UV_RUN_ONCE);
		n = read(fd, answer, sizeof(answer) - 1);
		answer[n > 0 ? n : 0] = '\0';
	}
	assert_non_null(strstr(answer, "\"unsettled\""));
	close_fd(fd);
	assert_int_equal(rotations, 1);
}

static int send_request(const char *request)
{
	int fd = connect_client();

	assert_int_equal(write(fd, request, strlen(request)), strlen(request));
	turn();
	return fd;
}

static void assert_answered(int fd, const char *words)
{
	char answer[1024];
	ssize_t n;

	turn();
	n = read(fd, answer, sizeof(answer) - 1);
	if (words == NULL) {
		assert_int_equal(n, -1);
		return;
	}
	assert_true(n > 0);
	answer[n] = '\0';
	if (strstr(answer, words) == NULL)
		fail_msg("%s has no %s", answer, words);
	close_fd(fd);
}

static void worker_answers(uint64_t ticket, uint32_t kept_ms)
{
	const struct worker_message message = { .type = WORKER_SYNCED, .sync = { ticket, kept_ms } };

	assert_true(uptake_answered(&worker, &message));
}

static void sync_is_answered_when_the_workers_have_answered(void **state)
{
	int first = send_request(REQUEST("sync", "")), second;

	assert_answered(first, NULL);
	/* One who sends no more still gets the answer. */
	second = send_request(REQUEST("sync", ",\"timeout\":20"));
	assert_int_equal(shutdown(second, SHUT_WR), 0);
	assert_answered(second, NULL);
	worker_answers(1, 0);
	assert_answered(second, NULL);
	assert_answered(first, "\"mounts\":1");
	worker_answers(2, 0);
	assert_answered(second, "\"mounts\":1");
	/* What does not concern the mount is not waited for. */
	(void) mkdir(scratch_path("share/below"), 0755);
	second = connect_client();
	(void) dprintf(second, REQUEST("sync", ",\"path\":\"%s/./below/\""), scratch_path("share"));
	turn();
	assert_answered(second, "\"mounts\":0");
}

static void sync_waits_for_what_is_kept_and_for_a_mount_that_ends(void **state)
{
	int fd = send_request(REQUEST("sync", ""));
	int64_t begin = clock_ms();

	worker_answers(1, 50);
	assert_answered(fd, NULL);
	while (supervisor.uptakes != NULL)
		(void) uv_run(&loop, UV_RUN_ONCE);
	assert_true(clock_ms() >= begin + 50);
	assert_answered(fd, "\"mounts\":1");
	fd = send_request(REQUEST("sync", ""));
	supervisor.workers = NULL;
	uptake_look(&supervisor);
	assert_answered(fd, "\"mounts\":1");
	assert_answered(send_request(REQUEST("sync", "")), "\"mounts\":0");
}

static void sync_names_who_has_not_answered_in_time(void **state)
{
	int fd = send_request(REQUEST("sync", ",\"timeout\":1"));
	char answer[1024];
	ssize_t n = -1;

	while (n < 0) {
		(void) uv_run(&loop, UV_RUN_ONCE);
		n = read(fd, answer, sizeof(answer) - 1);
	}
	answer[n] = '\0';
	assert_non_null(strstr(answer, "no answer in time from: /srv/? (vsock 3:1024)\""));
	assert_non_null(strstr(answer, "\"code\":\"unanswered\""));
	assert_non_null(strstr(answer, "\"unanswered\":[{\"share\":\"/srv/?\",\"pid\":99,\"peer\":\"vsock 3:1024\"}]"));
	close_fd(fd);
	assert_null(supervisor.uptakes);
	/* Too late for that one, and for nobody else. */
	worker_answers(1, 0);
}

static void a_client_that_leaves_is_not_waited_for(void **state)
{
	int fd = send_request(REQUEST("sync", ",\"timeout\":600"));

	assert_int_equal(control.count, 1);
	assert_non_null(supervisor.uptakes);
	close_fd(fd);
	turn();
	assert_int_equal(control.count, 0);
	assert_null(supervisor.uptakes);
}

static void a_sync_that_makes_no_sense_is_told_so(void **state)
{
	answers_error(REQUEST("sync", ",\"path\":7"), "malformed", "\"timeout\":10");
	answers_error(REQUEST("sync", ",\"timeout\":0"), "malformed", "1 to 86400");
	answers_error(REQUEST("sync", ",\"timeout\":86401"), "malformed", "1 to 86400");
	answers_error(REQUEST("sync", ",\"timeout\":\"9\""), "malformed", "1 to 86400");
	answers_error(REQUEST("sync", ",\"path\":\"etc\""), "bad-path", "etc: not an absolute path");
	answers_error(REQUEST("sync", ",\"path\":\"/etc\""), "not-shared", "/etc is not shared");
	assert_null(supervisor.uptakes);
}

static void subscribers_get_a_line_for_each_event(void **state)
{
	static char long_text[1000];
	int fds[2] = { connect_client(), connect_client() };
	const char *text = REQUEST("subscribe", "");
	char answer[1024];
	ssize_t n;

	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(write(fds[i], text, strlen(text)), strlen(text));
	turn();
	for (unsigned i = 0; i < 2; i++)
		assert_true(read(fds[i], answer, sizeof(answer)) > 0);
	shares_give(&shares, "/nonexistent/other", false, SHARE_CONTROL);
	shares_reload(&shares);
	turn();
	for (unsigned i = 0; i < 2; i++) {
		n = read(fds[i], answer, sizeof(answer) - 1);
		assert_true(n > 0);
		answer[n] = '\0';
		assert_non_null(strstr(answer, "\"share-added\""));
		assert_non_null(strstr(answer, "/nonexistent/other"));
		assert_ptr_equal(strchr(answer, '\n'), answer + n - 1);
	}
	/* One who reads nothing is cut off, and takes no memory without end. */
	memset(long_text, 'x', sizeof(long_text) - 1);
	for (unsigned i = 0; i < 2000; i++) {
		events_tell(&events, "test", json_pack("{ss}", "text", long_text));
		(void) uv_run(&loop, UV_RUN_NOWAIT);
	}
	assert_int_equal(control.count, 0);
	close_fd(fds[0]);
	close_fd(fds[1]);
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
	assert_int_equal(chmod(directory, 0755), 0);
	assert_int_equal(control_open(&second, &loop, scratch_path("open/sock"), &control.facts, error, sizeof(error)),
	                 -EPERM);
	assert_non_null(strstr(error, "chmod 700"));
	assert_int_equal(
	        control_open(&second, &loop, scratch_path("control.sock"), &control.facts, error, sizeof(error)),
	        -EADDRINUSE);
	assert_int_equal(control_open(&second, &loop, scratch_path("none/sock"), &control.facts, error, sizeof(error)),
	                 -ENOENT);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(status_tells_what_is_mounted),
		CASE(stats_sum_over_mounts_that_are_gone_too),
		CASE(shares_tell_what_is_on_the_list),
		CASE(nonsense_is_answered_with_words),
		CASE(changes_that_make_no_sense_change_nothing),
		CASE(a_request_that_ends_too_early_is_answered),
		CASE(shares_are_added_changed_and_removed),
		CASE(the_answer_to_a_change_waits_until_workers_have_settled),
		CASE(status_tells_of_leases_and_why_there_are_none),
		CASE(sync_is_answered_when_the_workers_have_answered),
		CASE(sync_waits_for_what_is_kept_and_for_a_mount_that_ends),
		CASE(sync_names_who_has_not_answered_in_time),
		CASE(a_client_that_leaves_is_not_waited_for),
		CASE(a_sync_that_makes_no_sense_is_told_so),
		CASE(subscribers_get_a_line_for_each_event),
		CASE(more_clients_than_allowed_are_closed),
		CASE(a_silent_client_is_closed),
		CASE(a_socket_where_others_may_write_is_refused),
	};

	return cmocka_run_group_tests_name("control", tests, NULL, NULL);
}
