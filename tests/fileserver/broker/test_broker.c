/* SPDX-License-Identifier: Apache-2.0 */
/* The whole file server as a process: ready, mounts, lanes, SIGHUP, SIGTERM, exit codes; and bindsharectl against it.
 */
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "protocol/cleanup.h"
#include "protocol/handshake.h"
#include "protocol/log.h"
#include "tests/support/raw.h"
#include "tests/support/scratch.h"

enum { PATIENCE_MS = 10000, OUTPUT_SIZE = 16384 };

static pid_t server;
static char listen_text[SCRATCH_PATH + 8], output[OUTPUT_SIZE];
static const struct proto_token no_token;

static int set_up(void **state)
{
	(void) scratch_make();
	(void) scratch_directory("share");
	(void) scratch_directory("share/sub");
	(void) scratch_file("share/file", "hello", 0644);
	(void) snprintf(listen_text, sizeof(listen_text), "unix:%s", scratch_path("socket"));
	return 0;
}

static void wait_ms(long ms)
{
	const struct timespec time = { .tv_nsec = ms * 1000000 };

	(void) nanosleep(&time, NULL);
}

/* The exit code of a child, or 128 and its signal; -1 when it does not end in time. */
static int wait_for(pid_t pid)
{
	int status;

	for (int ms = 0; ms < PATIENCE_MS; ms += 10) {
		if (waitpid(pid, &status, WNOHANG) == pid)
			return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
		wait_ms(10);
	}
	return -1;
}

static int tear_down(void **state)
{
	if (server > 0) {
		(void) kill(server, SIGKILL);
		(void) waitpid(server, NULL, 0);
		server = 0;
	}
	scratch_remove();
	return 0;
}

/* Starts a program; stdout and stderr go to the write end of a pipe. arguments: at most 20, closed by NULL. */
static pid_t start(const char *program, int out, va_list arguments)
{
	char *argv[24] = { (char *) program };
	unsigned count = 1;
	pid_t pid;

	while ((argv[count] = va_arg(arguments, char *)) != NULL)
		assert_true(++count < ARRAY_SIZE(argv));
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		(void) dup2(out, STDOUT_FILENO);
		(void) dup2(out, STDERR_FILENO);
		(void) execv(program, argv);
		_exit(127);
	}
	return pid;
}

/* Runs a program to its end: the exit code, what it printed in output. */
static int run(const char *program, ...)
{
	va_list arguments;
	size_t length = 0;
	ssize_t n;
	pid_t pid;
	int fds[2];

	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	va_start(arguments, program);
	pid = start(program, fds[1], arguments);
	va_end(arguments);
	close_fd(fds[1]);
	while ((n = read(fds[0], output + length, sizeof(output) - 1 - length)) > 0)
		length += (size_t) n;
	output[length] = '\0';
	close_fd(fds[0]);
	return wait_for(pid);
}

#define SERVER          getenv("BINDSHARE_FILESERVER")
#define CTL             getenv("BINDSHARE_CTL")
#define run_server(...) run(SERVER, "--allow-root", __VA_ARGS__, NULL)
#define run_ctl(...)    run(CTL, "--control", scratch_path("control"), __VA_ARGS__, NULL)

/* Starts the server and waits until it says that it is ready. Its log goes to the file "log". */
static void start_server(const char *first, ...)
{
	char ready[8] = "", fd_text[16];
	int fds[2], log = open(scratch_path("log"), O_CREAT | O_WRONLY | O_APPEND | O_CLOEXEC, 0600);
	char *argv[24] = { "bindshare-fileserver", "--allow-root", "--listen",  listen_text,
		           "--ready-fd",           fd_text,        "--control", (char *) scratch_path("control"),
		           (char *) first };
	unsigned count = 9;
	va_list arguments;

	va_start(arguments, first);
	while ((argv[count] = va_arg(arguments, char *)) != NULL)
		assert_true(++count < ARRAY_SIZE(argv));
	va_end(arguments);
	assert_int_equal(pipe(fds), 0);
	(void) snprintf(fd_text, sizeof(fd_text), "%d", fds[1]);
	server = fork();
	assert_true(server >= 0);
	if (server == 0) {
		(void) dup2(log, STDERR_FILENO);
		(void) execv(SERVER, argv);
		_exit(127);
	}
	close_fd(fds[1]);
	close_fd(log);
	assert_int_equal(read(fds[0], ready, sizeof(ready)), 6);
	assert_string_equal(ready, "ready\n");
	assert_int_equal(read(fds[0], ready, sizeof(ready)), 0);
	close_fd(fds[0]);
}

static int stop_server(int number)
{
	pid_t pid = server;

	assert_int_equal(kill(pid, number), 0);
	server = 0;
	return wait_for(pid);
}

static int connect_server(void)
{
	struct proto_address address;
	char error[256];
	int fd;

	assert_int_equal(proto_address_parse(listen_text, &address, error, sizeof(error)), 0);
	fd = proto_address_connect(&address, 2000);
	assert_true(fd >= 0);
	return fd;
}

static struct proto_proof_reply welcome;
static struct proto_refusal refusal;

/* Mounts: the event lane; what proto_hello() says. */
static int mount_share(struct raw *raw, const char *name, uint32_t flags, const struct proto_token *token)
{
	struct proto_hello_request hello = { .flags = flags };
	int r;

	strcpy(hello.share.path, scratch_path(name));
	assert_int_equal(raw_init(raw, connect_server()), 0);
	r = proto_hello(&raw->channel, token, &hello, &welcome, &refusal);
	if (r < 0)
		raw_done(raw);
	return r;
}

static int add_lane(struct raw *raw)
{
	struct proto_proof_reply reply;
	int r;

	assert_int_equal(raw_init(raw, connect_server()), 0);
	r = proto_attach(&raw->channel, &no_token, welcome.session, &reply, &refusal);
	if (r < 0)
		raw_done(raw);
	return r;
}

static void a_share_is_mounted_and_its_lanes_work(void **state)
{
	static struct raw event, lane;
	struct proto_lookup_reply found;
	struct proto_lookup_request lookup;

	start_server("--share", scratch_path("share"), NULL);
	assert_int_equal(mount_share(&event, "share", 0, &no_token), 0);
	assert_int_equal(welcome.flags, 0);
	assert_int_equal(add_lane(&lane), 0);
	lookup = (struct proto_lookup_request){ .parent = welcome.root.node, .name = raw_name("file") };
	assert_int_equal(raw_lookup(&lane, &lookup, &found), 0);
	assert_int_equal(found.entry.attr.size, 5);

	assert_int_equal(run_ctl("status", "--json"), EX_OK);
	assert_non_null(strstr(output, scratch_path("share")));
	assert_non_null(strstr(output, "\"lanes\":1,"));
	assert_int_equal(run_ctl("stats"), EX_OK);
	assert_non_null(strstr(output, "lookup"));
	raw_done(&lane);
	raw_done(&event);
	assert_int_equal(stop_server(SIGTERM), EX_OK);
	assert_int_equal(access(scratch_path("socket"), F_OK), -1);
	assert_int_equal(access(scratch_path("control"), F_OK), -1);
}

static void a_read_only_share_is_read_only_on_the_server(void **state)
{
	static struct raw event, lane;
	char share[SCRATCH_PATH + 8];
	struct proto_mkdir_request mkdir_request;
	struct proto_mkdir_reply made;

	(void) snprintf(share, sizeof(share), "%s:ro", scratch_path("share"));
	start_server("--share", share, NULL);
	assert_int_equal(mount_share(&event, "share/sub", 0, &no_token), 0);
	assert_int_equal(welcome.flags, PROTO_WELCOME_READ_ONLY);
	assert_int_equal(add_lane(&lane), 0);
	mkdir_request =
	        (struct proto_mkdir_request){ .parent = welcome.root.node, .name = raw_name("d"), .mode = 0755 };
	assert_int_equal(raw_mkdir(&lane, &mkdir_request, &made), -EROFS);
	raw_done(&lane);
	raw_done(&event);
	assert_int_equal(stop_server(SIGINT), EX_OK);
}

static void what_is_not_shared_is_refused_and_the_server_goes_on(void **state)
{
	static struct raw event;

	start_server("--share", scratch_path("share"), NULL);
	assert_int_equal(mount_share(&event, "elsewhere", 0, &no_token), -EACCES);
	assert_int_equal(refusal.code, PROTO_REFUSE_NOT_SHARED);
	assert_int_equal(mount_share(&event, "share/none", 0, &no_token), -EACCES);
	assert_int_equal(refusal.code, PROTO_REFUSE_NOT_FOUND);
	assert_int_equal(mount_share(&event, "share/file", 0, &no_token), -EACCES);
	assert_int_equal(refusal.code, PROTO_REFUSE_NOT_DIRECTORY);
	welcome.session = 1;
	assert_int_equal(add_lane(&event), -EACCES);
	assert_int_equal(refusal.code, PROTO_REFUSE_SESSION);
	assert_int_equal(mount_share(&event, "share", 0, &no_token), 0);
	raw_done(&event);
}

#define HEX64 "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"

static void with_a_token_file_only_those_who_hold_it_mount(void **state)
{
	static struct raw event;
	struct proto_token token, other = { { 1 } };
	char error[256];

	start_server("--share", scratch_path("share"), "--token-file", scratch_file("token", HEX64, 0600), NULL);
	assert_int_equal(proto_token_read(scratch_path("token"), &token, error, sizeof(error)), 0);
	assert_int_equal(mount_share(&event, "share", 0, &no_token), -EKEYREJECTED);
	assert_int_equal(mount_share(&event, "share", 0, &other), -EKEYREJECTED);
	assert_int_equal(mount_share(&event, "share", 0, &token), 0);
	raw_done(&event);
}

static void a_share_removed_from_the_settings_ends_with_goodbye(void **state)
{
	static struct raw event;
	char text[1024];

	(void) snprintf(text, sizeof(text), "{\"FilesharingDirectories\": [\"%s\"]}", scratch_path("share"));
	(void) scratch_file("settings", text, 0600);
	start_server("--settings", scratch_path("settings"), NULL);
	assert_int_equal(mount_share(&event, "share", 0, &no_token), 0);
	/* Broken settings change nothing. */
	(void) scratch_file("settings", "{\"FilesharingDirectories\": [", 0600);
	assert_int_equal(kill(server, SIGHUP), 0);
	wait_ms(200);
	assert_int_equal(run_ctl("share", "ls"), EX_OK);
	assert_non_null(strstr(output, scratch_path("share")));
	assert_false(raw_closed(&event, 100));
	(void) scratch_file("settings", "{\"FilesharingDirectories\": []}", 0600);
	assert_int_equal(kill(server, SIGHUP), 0);
	assert_int_equal(raw_wait_goodbye(&event), PROTO_GOODBYE_REVOKED);
	raw_done(&event);
	assert_int_equal(mount_share(&event, "share", 0, &no_token), -EACCES);
	assert_int_equal(refusal.code, PROTO_REFUSE_NOT_SHARED);
	assert_int_equal(run_ctl("share", "ls"), EX_OK);
	assert_non_null(strstr(output, "no directory is shared"));
}

static void a_worker_killed_leaves_the_other_mounts(void **state)
{
	static struct raw first, second;
	struct proto_ping_request ping = { .sequence = 7 };
	struct proto_ping_reply pong;
	json_t *json, *mounts;

	start_server("--share", scratch_path("share"), NULL);
	assert_int_equal(mount_share(&first, "share", 0, &no_token), 0);
	assert_int_equal(mount_share(&second, "share/sub", 0, &no_token), 0);
	assert_int_equal(run_ctl("--json", "status"), EX_OK);
	json = json_loads(output, 0, NULL);
	mounts = json_object_get(json, "mounts");
	assert_int_equal(json_array_size(mounts), 2);
	assert_int_equal(kill((pid_t) json_integer_value(json_object_get(json_array_get(mounts, 0), "pid")), SIGKILL),
	                 0);
	json_decref(json);
	assert_true(raw_closed(&first, 5000));
	assert_int_equal(raw_ping(&second, &ping, &pong), 0);
	assert_int_equal(pong.sequence, 7);
	raw_done(&first);
	raw_done(&second);
}

static void workers_die_with_a_broker_that_is_killed(void **state)
{
	static struct raw event;

	start_server("--share", scratch_path("share"), NULL);
	assert_int_equal(mount_share(&event, "share", 0, &no_token), 0);
	assert_int_equal(stop_server(SIGKILL), 128 + SIGKILL);
	assert_true(raw_closed(&event, 5000));
	raw_done(&event);
	/* What it left behind does not stop the next one. */
	start_server("--share", scratch_path("share"), NULL);
}

static void many_connections_of_nonsense_leave_no_trace(void **state)
{
	static struct raw event;
	char path[64];
	size_t before, after;

	start_server("--share", scratch_path("share"), NULL);
	(void) snprintf(path, sizeof(path), "/proc/%d/fd", (int) server);
	assert_int_equal(run("/bin/ls", path, NULL), 0);
	before = strlen(output);
	for (unsigned i = 0; i < 200; i++) {
		int fd = connect_server();

		if (i % 3 == 1)
			(void) send(fd,
			            "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"
			            "\xff\xff\xff\xff\xff",
			            25, MSG_NOSIGNAL);
		else if (i % 3 == 2)
			(void) send(fd, "x", 1, MSG_NOSIGNAL);
		close_fd(fd);
	}
	assert_int_equal(mount_share(&event, "share", 0, &no_token), 0);
	raw_done(&event);
	for (int ms = 0; ms < PATIENCE_MS; ms += 50) {
		assert_int_equal(run("/bin/ls", path, NULL), 0);
		after = strlen(output);
		if (after == before)
			break;
		wait_ms(50);
	}
	assert_int_equal(after, before);
}

static void bad_starts_have_an_exit_code_and_words_each(void **state)
{
	const char *share = scratch_path("share"), *mode;

	assert_int_equal(run_server("--share", share), EX_USAGE);
	assert_int_equal(run_server("--listen", listen_text, "--share", scratch_path("none")), EX_NOINPUT);
	assert_non_null(strstr(output, "No such file or directory"));
	assert_int_equal(run_server("--listen", listen_text, "--share", scratch_path("share/file")), EX_NOINPUT);
	assert_non_null(strstr(output, "Not a directory"));
	mode = scratch_file("bad.json", "{", 0600);
	assert_int_equal(run_server("--listen", listen_text, "--settings", mode), EX_CONFIG);
	assert_non_null(strstr(output, "line 1, column"));
	mode = scratch_file("open.json", "{}", 0666);
	assert_int_equal(run_server("--listen", listen_text, "--settings", mode), EX_NOPERM);
	mode = scratch_file("open-token", HEX64, 0644);
	assert_int_equal(run_server("--listen", listen_text, "--share", share, "--token-file", mode), EX_NOPERM);
	assert_non_null(strstr(output, "chmod 600"));
	mode = scratch_file("bad-token", "x", 0600);
	assert_int_equal(run_server("--listen", listen_text, "--share", share, "--token-file", mode), EX_CONFIG);
	assert_int_equal(access(scratch_path("socket"), F_OK), -1);
	if (geteuid() == 0) {
		assert_int_equal(run(SERVER, "--listen", listen_text, "--share", share, NULL), EX_NOPERM);
		assert_non_null(strstr(output, "--allow-root"));
	}
}

static void an_address_in_use_is_left_to_its_owner(void **state)
{
	static struct raw event;

	start_server("--share", scratch_path("share"), NULL);
	assert_int_equal(run_server("--listen", listen_text, "--share", scratch_path("share")), EX_UNAVAILABLE);
	assert_non_null(strstr(output, "in use"));
	assert_int_equal(mount_share(&event, "share", 0, &no_token), 0);
	raw_done(&event);
}

static void bindsharectl_has_its_exit_codes(void **state)
{
	assert_int_equal(run_ctl("status"), EX_UNAVAILABLE);
	assert_non_null(strstr(output, "no file server at"));
	assert_int_equal(run_ctl("nonsense"), EX_USAGE);
	assert_int_equal(run_ctl("share", "add"), EX_USAGE);
	assert_int_equal(run_ctl("share", "add", "/"), EX_UNAVAILABLE);
	assert_int_equal(run_ctl("--nonsense"), EX_USAGE);
	start_server("--share", scratch_path("share"), NULL);
	assert_int_equal(run_ctl("status"), EX_OK);
	assert_non_null(strstr(output, "0 of 64 shares mounted"));
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(a_share_is_mounted_and_its_lanes_work),
		CASE(a_read_only_share_is_read_only_on_the_server),
		CASE(what_is_not_shared_is_refused_and_the_server_goes_on),
		CASE(with_a_token_file_only_those_who_hold_it_mount),
		CASE(a_share_removed_from_the_settings_ends_with_goodbye),
		CASE(a_worker_killed_leaves_the_other_mounts),
		CASE(workers_die_with_a_broker_that_is_killed),
		CASE(many_connections_of_nonsense_leave_no_trace),
		CASE(bad_starts_have_an_exit_code_and_words_each),
		CASE(an_address_in_use_is_left_to_its_owner),
		CASE(bindsharectl_has_its_exit_codes),
	};

	if (sodium_init() < 0)
		return EXIT_FAILURE;
	return cmocka_run_group_tests_name("broker", tests, NULL, NULL);
}
