/* SPDX-License-Identifier: Apache-2.0 */
/*
 * guestd's request socket: which answers come when. The link to the server and the mounts are played here: a case says
 * what the server answers, and when a share becomes mounted.
 */
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "guest-fuse/agent/requests.h"
#include "protocol/cleanup.h"
#include "protocol/clock.h"
#include "protocol/document.h"
#include "protocol/log.h"
#include "tests/support/scratch.h"

enum { LOOP_MS = 10000 };

static uv_loop_t loop;
static struct guest_config config;
static struct requests requests;
static struct link link_;
static struct mounts mounts;
static int client = -EBADF;
static char answer[8192];
static json_t *said;

/* Played. */
static enum link_state link_state;
static bool mounted, answers_late;
static const char *leads_to; /* what the server answers; NULL: it cannot be asked */
static void (*waiting)(void *context, const char *path);
static void *waiting_context;
static unsigned asked;
static char told[256];

void link_get_status(struct link *link, struct link_status *ret_status)
{
	*ret_status = (struct link_status){ .state = link_state };
}

int link_resolve(struct link *link, const char *path, void (*answered)(void *context, const char *path), void *context)
{
	asked++;
	waiting = answered;
	waiting_context = context;
	return 0;
}

void link_tell_refused(struct link *link, const char *path, uint32_t reason)
{
	(void) snprintf(told, sizeof(told), "%s %u", path, reason);
}

int mounts_table(const struct mounts *unused, struct binds_table *ret_table)
{
	*ret_table = (struct binds_table){ .known = true, .shares = calloc(1, sizeof(struct binds_share)), .count = 1 };
	ret_table->shares[0] = (struct binds_share){
		.path = strdup("/home/me"),
		.canonical = strdup("/home/me"),
		.mount = strdup(scratch_path("mount")),
		.state = mounted ? BINDS_MOUNTED : BINDS_PENDING,
	};
	return 0;
}

json_t *mounts_json(const struct mounts *unused)
{
	return json_pack("[{ss}]", "path", "/home/me");
}

static int set_up(void **state)
{
	char error[512];

	(void) scratch_make();
	(void) scratch_directory("run");
	(void) scratch_directory("mount");
	(void) scratch_directory("mount/dir");
	assert_int_equal(guest_config_default(&config), 0);
	free(config.run_directory);
	free(config.address_text);
	config.run_directory = strdup(scratch_path("run"));
	config.address_text = strdup("unix:/s");
	link_state = LINK_CONNECTED;
	mounted = true;
	answers_late = false;
	leads_to = "";
	waiting = NULL;
	asked = 0;
	told[0] = '\0';
	assert_int_equal(uv_loop_init(&loop), 0);
	requests = (struct requests){ .loop = &loop, .config = &config, .link = &link_, .mounts = &mounts };
	assert_int_equal(requests_open(&requests, error, sizeof(error)), 0);
	return 0;
}

static int tear_down(void **state)
{
	requests_close(&requests);
	if (waiting != NULL)
		waiting(waiting_context, NULL);
	(void) uv_run(&loop, UV_RUN_DEFAULT);
	assert_int_equal(uv_loop_close(&loop), 0);
	client = close_fd(client);
	json_decref(said);
	said = NULL;
	guest_config_done(&config);
	scratch_remove();
	return 0;
}

static void connect_client(void)
{
	struct sockaddr_un name = { .sun_family = AF_UNIX };

	close_fd(client);
	(void) snprintf(name.sun_path, sizeof(name.sun_path), "%s", scratch_path("run/guestd.sock"));
	client = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	assert_int_equal(connect(client, (struct sockaddr *) &name, sizeof(name)), 0);
}

static void send_line(const char *line)
{
	connect_client();
	assert_int_equal(send(client, line, strlen(line), MSG_NOSIGNAL), strlen(line));
}

static void turn(void)
{
	(void) uv_run(&loop, UV_RUN_NOWAIT);
	if (waiting != NULL && !answers_late) {
		void (*answered)(void *context, const char *path) = waiting;

		waiting = NULL;
		answered(waiting_context, leads_to);
	}
	(void) usleep(200);
}

/* The loop runs until the answer is there. */
static void hear(void)
{
	int64_t until = clock_ms() + LOOP_MS;
	ssize_t n = -1;

	while ((n = recv(client, answer, sizeof(answer) - 1, 0)) < 0 && clock_ms() < until)
		turn();
	assert_true(n > 0);
	answer[n] = '\0';
	json_decref(said);
	said = json_loads(answer, 0, NULL);
	assert_non_null(said);
}

/* Nothing is said as long as the loop turns so often. */
static void hear_nothing(void)
{
	for (unsigned i = 0; i < 100; i++)
		turn();
	assert_int_equal(recv(client, answer, sizeof(answer), 0), -1);
	assert_int_equal(errno, EAGAIN);
}

static const char *text(const char *key)
{
	const char *value = json_string_value(json_object_get(said, key));

	return value != NULL ? value : "";
}

static const char *decided(size_t index, const char *key)
{
	const char *value =
	        json_string_value(json_object_get(json_array_get(json_object_get(said, "binds"), index), key));

	return value != NULL ? value : "";
}

static void ask(const char *sources, int wait_ms)
{
	char line[1024];

	(void) snprintf(line, sizeof(line), "{\"version\":1,\"request\":\"binds\",\"waitMs\":%d,\"sources\":%s}\n",
	                wait_ms, sources);
	send_line(line);
}

static void status_tells_of_server_and_shares(void **state)
{
	send_line("{\"version\":1,\"request\":\"status\"}\n");
	hear();
	assert_true(json_is_true(json_object_get(said, "ok")));
	assert_string_equal(json_string_value(json_object_get(json_object_get(said, "server"), "state")), "connected");
	assert_int_equal(json_array_size(json_object_get(said, "shares")), 1);
}

static void nonsense_is_answered_with_a_code(void **state)
{
	static const char *const cases[][2] = {
		{ "x\n", "bad-request" },
		{ "[]\n", "bad-request" },
		{ "{\"version\":1}\n", "bad-request" },
		{ "{\"request\":\"status\"}\n", "bad-version" },
		{ "{\"version\":2,\"request\":\"status\"}\n", "bad-version" },
		{ "{\"version\":1,\"request\":\"frobnicate\"}\n", "unknown-request" },
		{ "{\"version\":1,\"request\":\"binds\"}\n", "bad-request" },
		{ "{\"version\":1,\"request\":\"binds\",\"sources\":[1]}\n", "bad-request" },
		{ "{\"version\":1,\"request\":\"binds\",\"sources\":[],\"waitMs\":-1}\n", "bad-request" },
		{ "{\"version\":1,\"request\":\"binds\",\"sources\":[],\"waitMs\":600001}\n", "bad-request" },
		{ "{\"version\":1,\"request\":\"binds\",\"sources\":[],\"waitMs\":\"1\"}\n", "bad-request" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		send_line(cases[i][0]);
		hear();
		assert_true(json_is_false(json_object_get(said, "ok")));
		assert_string_equal(text("code"), cases[i][1]);
		assert_string_not_equal(text("text"), "");
	}
}

static void a_line_that_is_too_long_is_refused(void **state)
{
	char part[4096];
	size_t sent = 0;

	memset(part, ' ', sizeof(part));
	connect_client();
	while (sent < 256 * 1024) {
		ssize_t n = send(client, part, sizeof(part), MSG_NOSIGNAL);

		if (n > 0)
			sent += (size_t) n;
		(void) uv_run(&loop, UV_RUN_NOWAIT);
	}
	hear();
	assert_string_equal(text("code"), "too-long");
}

static void each_source_has_its_answer_in_its_place(void **state)
{
	ask("[\"/home/me/dir\", \"/home/me/none\", {\"path\":\"/home/me/new\",\"create\":true}]", 0);
	hear();
	assert_string_equal(decided(0, "verdict"), "share");
	assert_string_equal(decided(1, "code"), "missing");
	assert_string_equal(decided(2, "kind"), "missing");
	assert_string_equal(told, "/home/me/none 3");
	assert_int_equal(asked, 0);
}

static void one_who_waits_is_answered_when_the_mount_is_there(void **state)
{
	mounted = false;
	ask("[\"/home/me/dir\"]", 60000);
	hear_nothing();
	requests_look(&requests); /* something changed, but not this */
	hear_nothing();
	mounted = true;
	requests_look(&requests);
	hear();
	assert_string_equal(decided(0, "verdict"), "share");
}

static void a_change_while_it_is_decided_is_not_missed(void **state)
{
	mounted = false;
	ask("[\"/home/me/dir\"]", 60000);
	for (unsigned i = 0; i < 3; i++) {
		(void) uv_run(&loop, UV_RUN_NOWAIT);
		requests_look(&requests);
	}
	mounted = true;
	requests_look(&requests);
	hear();
	assert_string_equal(decided(0, "verdict"), "share");
}

static void one_who_does_not_wait_is_told_how_it_is(void **state)
{
	mounted = false;
	ask("[\"/home/me/dir\"]", 0);
	hear();
	assert_string_equal(decided(0, "code"), "not-mounted");
	ask("[\"/home/me/dir\"]", 50);
	hear();
	assert_string_equal(decided(0, "code"), "not-mounted");
}

static void the_server_is_asked_about_what_lies_in_no_share_one_by_one(void **state)
{
	leads_to = "/home/me/dir";
	ask("[\"/link\", \"/home/me/dir\", \"/other\"]", 0);
	hear();
	assert_int_equal(asked, 2);
	assert_string_equal(decided(0, "rest"), "dir");
	assert_string_equal(decided(2, "rest"), "dir");
	leads_to = "";
	ask("[\"/elsewhere\"]", 0);
	hear();
	assert_string_equal(decided(0, "code"), "not-shared");
	assert_string_equal(told, "/elsewhere 1");
}

static void a_server_that_is_not_there_is_not_asked(void **state)
{
	link_state = LINK_CONNECTING;
	ask("[\"/link\"]", 0);
	hear();
	assert_string_equal(decided(0, "code"), "unknown-yet");
	assert_int_equal(asked, 0);
}

static void a_server_that_cannot_be_asked_leaves_it_open(void **state)
{
	leads_to = NULL;
	ask("[\"/link\"]", 0);
	hear();
	assert_string_equal(decided(0, "code"), "unknown-yet");
	assert_int_equal(asked, 1);
}

static void one_who_leaves_while_the_server_thinks_harms_nobody(void **state)
{
	answers_late = true;
	ask("[\"/link\"]", 0);
	for (unsigned i = 0; i < 100 && waiting == NULL; i++)
		turn();
	assert_non_null(waiting);
	client = close_fd(client);
	turn();
	answers_late = false;
	turn();
	ask("[\"/home/me/dir\"]", 0);
	hear();
	assert_string_equal(decided(0, "verdict"), "share");
}

static void one_who_is_not_root_is_refused(void **state)
{
	/* The socket is closed to him anyhow. */
	assert_int_equal(chmod(scratch_path("run/guestd.sock"), 0666), 0);
	assert_int_equal(chmod(scratch_path("run"), 0755), 0);
	assert_int_equal(chmod(scratch_path("."), 0755), 0);
	if (geteuid() == 0)
		assert_int_equal(seteuid(65534), 0);
	connect_client();
	if (getuid() == 0)
		assert_int_equal(seteuid(0), 0);
	hear();
	assert_string_equal(text("code"), "not-root");
}

static void only_root_reaches_the_socket(void **state)
{
	struct stat st;

	assert_int_equal(stat(scratch_path("run/guestd.sock"), &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(status_tells_of_server_and_shares),
		CASE(nonsense_is_answered_with_a_code),
		CASE(a_line_that_is_too_long_is_refused),
		CASE(each_source_has_its_answer_in_its_place),
		CASE(one_who_waits_is_answered_when_the_mount_is_there),
		CASE(a_change_while_it_is_decided_is_not_missed),
		CASE(one_who_does_not_wait_is_told_how_it_is),
		CASE(the_server_is_asked_about_what_lies_in_no_share_one_by_one),
		CASE(a_server_that_is_not_there_is_not_asked),
		CASE(a_server_that_cannot_be_asked_leaves_it_open),
		CASE(one_who_leaves_while_the_server_thinks_harms_nobody),
		CASE(only_root_reaches_the_socket),
		CASE(one_who_is_not_root_is_refused),
	};
	const struct CMUnitTest tests_of_others[] = {
		CASE(only_root_reaches_the_socket),
		CASE(one_who_is_not_root_is_refused),
	};

	log_init("test-agent-requests", LOG_LEVEL_ERROR);
	/* As guestd does. */
	(void) signal(SIGPIPE, SIG_IGN);
	/* It answers nobody but root. */
	if (geteuid() != 0)
		return cmocka_run_group_tests_name("requests", tests_of_others, NULL, NULL);
	return cmocka_run_group_tests_name("requests", tests, NULL, NULL);
}
