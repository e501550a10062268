/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A guest that keeps the broker busy: mounts as deep as it gets them, and HELLO without a pause. The user's own
 * requests are answered all the same, and others mount. And one that has many mounts: together they have one budget.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "protocol/clock.h"
#include "tests/support/served.h"

/* Each place in the sources writes LOG_LIMIT_BURST lines and one a second, of LOG_PEER_MAX bytes. */
enum { LOG_MS = 4000, LOG_MOST = 6 * 64 * 640 };
enum { NODES = 2000, FILES = 3000, SESSIONS = 8, LANES = 64, LANES_ALL = 4 * SESSIONS + 256 };
enum { MOUNTS = 22, ATTACKERS = 3, QUESTIONS = 15, ANSWER_MS = 100, MOUNT_MS = 2000, ORDINARY_USER = 65534 };

static char control_directory[64], control[96], log_file[96];
static struct served *served;
static struct served_session sessions[MOUNTS];
static int mounted;
static pid_t attackers[ATTACKERS];

static int set_up(void **state)
{
	const char *const extra[] = { "--control", control, "--nodes", "2000", "--log-file", log_file, NULL };

	signal(SIGPIPE, SIG_IGN);
	strcpy(control_directory, "/tmp/bindshare-control-XXXXXX");
	if (mkdtemp(control_directory) == NULL)
		return -1;
	if (geteuid() == 0 && chown(control_directory, ORDINARY_USER, ORDINARY_USER) < 0)
		return -1;
	snprintf(control, sizeof(control), "%s/control", control_directory);
	snprintf(log_file, sizeof(log_file), "%s/log", control_directory);
	served = served_start(extra);
	return served == NULL ? -1 : 0;
}

static int tear_down(void **state)
{
	int code;

	for (int i = 0; i < ATTACKERS; i++)
		if (attackers[i] > 0) {
			kill(attackers[i], SIGKILL);
			waitpid(attackers[i], NULL, 0);
		}
	for (int i = 0; i < mounted; i++)
		served_session_done(&sessions[i]);
	mounted = 0;
	code = served_stop(served);
	(void) unlink(log_file);
	(void) rmdir(control_directory);
	return code == 0 ? 0 : -1;
}

/* A directory so many levels beneath the share; its path is within the protocol's limit. */
static void make_deep(int levels, char path[PROTO_SHARE_SIZE])
{
	int at = open(served->share, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	size_t length = strlen(served->share);

	strcpy(path, served->share);
	for (int i = 0; i < levels; i++) {
		int next;

		assert_int_equal(mkdirat(at, "d", 0755), 0);
		next = openat(at, "d", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		assert_true(next >= 0);
		close(at);
		at = next;
		length += (size_t) snprintf(path + length, PROTO_SHARE_SIZE - length, "/d");
	}
	close(at);
}

static void attack(const char *path)
{
	struct served_session session;
	struct proto_refusal refusal;

	(void) prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (;;)
		if (served_session(served, path, &session, &refusal) == 0)
			served_session_done(&session);
}

/* A request at the control socket; how long the answer took, in ms. */
static int64_t ask(const char *request, char *answer, size_t size)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int64_t begin = clock_ms();
	size_t have = 0;
	ssize_t n;

	snprintf(address.sun_path, sizeof(address.sun_path), "%s", control);
	assert_int_equal(connect(fd, (struct sockaddr *) &address, sizeof(address)), 0);
	assert_int_equal(send(fd, request, strlen(request), 0), strlen(request));
	while ((n = recv(fd, answer + have, size - 1 - have, 0)) > 0)
		have += (size_t) n;
	answer[have] = '\0';
	close(fd);
	return clock_ms() - begin;
}

static int by_size(const void *left, const void *right)
{
	return (int) (*(const int64_t *) left - *(const int64_t *) right);
}

/* Half of the answers come within the bound, whatever else the machine does meanwhile. */
static void answers_come_in_time(void)
{
	int64_t took[QUESTIONS];
	char request[512], answer[4096];

	for (int i = 0; i < QUESTIONS; i++) {
		snprintf(request, sizeof(request), "{\"version\":1,\"request\":\"share-%s\",\"path\":\"%s\"}\n",
		         i % 2 == 0 ? "add" : "remove", served->canary);
		took[i] = ask(request, answer, sizeof(answer));
		assert_non_null(strstr(answer, i % 2 == 0 ? "\"added\"" : "\"removed\""));
	}
	qsort(took, QUESTIONS, sizeof(took[0]), by_size);
	print_message("# answers: %d ms in the middle, %d at most\n", (int) took[QUESTIONS / 2],
	              (int) took[QUESTIONS - 1]);
	assert_true(took[QUESTIONS / 2] <= ANSWER_MS);
}

static void honest_mounts_work(void)
{
	for (int i = 0; i < 3; i++) {
		struct served_session session;
		int64_t begin = clock_ms();

		assert_int_equal(served_session(served, served->share, &session, NULL), 0);
		assert_true(clock_ms() - begin <= MOUNT_MS);
		served_session_done(&session);
	}
}

static void while_it_mounts(int levels)
{
	char path[PROTO_SHARE_SIZE];

	make_deep(levels, path);
	while (mounted < MOUNTS && served_session(served, path, &sessions[mounted], NULL) == 0)
		mounted++;
	print_message("# %d mounts of a path of %d levels\n", mounted, levels);
	for (int i = 0; i < ATTACKERS; i++) {
		attackers[i] = fork();
		if (attackers[i] == 0)
			attack(path);
	}
	usleep(300000);
	answers_come_in_time();
	honest_mounts_work();
}

static void the_user_is_answered_while_a_guest_mounts_what_is_too_deep(void **state)
{
	struct proto_refusal refusal = { 0 };
	struct served_session session;
	char path[PROTO_SHARE_SIZE];

	while_it_mounts(2000);
	snprintf(
	        path, sizeof(path), "%s%.*s", served->share, 300,
	        "/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d"
	        "/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d");
	assert_int_equal(served_session(served, path, &session, &refusal), -EACCES);
	assert_int_equal(refusal.code, PROTO_REFUSE_LIMIT);
	assert_non_null(strstr(refusal.text, "directories deep"));
}

static void the_user_is_answered_while_a_guest_mounts_what_is_just_not_too_deep(void **state)
{
	while_it_mounts(90);
	assert_int_equal(mounted, MOUNTS);
}

/* The sum of a gauge over all mounts, and its least one. */
static long gauge(const char *name, long *ret_least)
{
	char answer[65536], key[32];
	long sum = 0;

	(void) ask("{\"version\":1,\"request\":\"status\"}\n", answer, sizeof(answer));
	snprintf(key, sizeof(key), "\"%s\":", name);
	*ret_least = LONG_MAX;
	for (const char *at = strstr(strstr(answer, "\"mounts\":"), key); at != NULL; at = strstr(at + 1, key)) {
		long value = strtol(at + strlen(key), NULL, 10);

		sum += value;
		*ret_least = value < *ret_least ? value : *ret_least;
	}
	return sum;
}

static void mounts_have_one_budget_of_known_files(void **state)
{
	long sum, least;
	int r;

	for (int i = 0; i < FILES; i++) {
		char path[128];

		snprintf(path, sizeof(path), "%s/%d", served->share, i);
		close(open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644));
	}
	for (mounted = 0; mounted < 2; mounted++)
		assert_int_equal(served_session(served, served->share, &sessions[mounted], NULL), 0);
	for (int i = 0; i < FILES; i++)
		for (int k = 0; k < mounted; k++) {
			struct proto_lookup_request request = { .parent = sessions[k].root };
			struct proto_lookup_reply reply;
			char name[16];

			snprintf(name, sizeof(name), "%d", i);
			request.name = raw_name(name);
			r = raw_lookup(&sessions[k].raw, &request, &reply);
			assert_true(r == 0 || r == -ENOMEM);
		}
	sum = gauge("nodes", &least);
	print_message("# known files: %ld together, %ld at least\n", sum, least);
	assert_true(sum <= NODES + NODES / 10);
	assert_true(least >= NODES / 3);
	/* When the other one has gone, there is room for all. */
	served_session_done(&sessions[1]);
	mounted = 1;
	for (int tries = 0; tries < 200 && gauge("nodes", &least) <= NODES / 2 + 100; tries++)
		for (int i = 0; i < FILES; i++) {
			struct proto_lookup_request request = { .parent = sessions[0].root };
			struct proto_lookup_reply reply;
			char name[16];

			snprintf(name, sizeof(name), "%d", i);
			request.name = raw_name(name);
			(void) raw_lookup(&sessions[0].raw, &request, &reply);
		}
	assert_true(gauge("nodes", &least) > NODES / 2 + 100);
}

static void mounts_have_one_budget_of_lanes(void **state)
{
	static struct raw lanes[SESSIONS * LANES];
	struct served_session late;
	int count = 0;

	for (mounted = 0; mounted < SESSIONS; mounted++)
		assert_int_equal(served_session(served, served->share, &sessions[mounted], NULL), 0);
	for (int i = 0; i < SESSIONS; i++)
		for (int k = 1; k < LANES; k++)
			count += served_lane(served, sessions[i].session, &lanes[count]) == 0;
	print_message("# lanes: %d\n", count + SESSIONS);
	assert_in_range(count + SESSIONS, LANES_ALL - 8, LANES_ALL + 8);
	/* One more mount has what each has of its own. */
	assert_int_equal(served_session(served, served->share, &late, NULL), 0);
	for (int k = 1; k < 4; k++) {
		assert_int_equal(served_lane(served, late.session, &lanes[count]), 0);
		count++;
	}
	served_session_done(&late);
	while (count > 0)
		raw_done(&lanes[--count]);
}

/* A directory whose path is as long as it may be. */
static void make_long(char path[PROTO_SHARE_SIZE])
{
	char name[NAME_MAX + 1];

	memset(name, 'n', NAME_MAX);
	name[NAME_MAX] = '\0';
	strcpy(path, served->share);
	while (strlen(path) + NAME_MAX + 2 < PROTO_SHARE_SIZE) {
		strcat(path, "/");
		strcat(path, name);
		assert_int_equal(mkdir(path, 0755), 0);
	}
}

static void a_loop_of_mounts_writes_little(void **state)
{
	int64_t end = clock_ms() + LOG_MS;
	char path[PROTO_SHARE_SIZE], missing[PROTO_SHARE_SIZE];
	int mounts = 0, refused = 0;
	struct stat st;

	make_long(path);
	snprintf(missing, sizeof(missing), "%.*s/none", (int) (strlen(path) - 5), path);
	while (clock_ms() < end) {
		const struct proto_header bad = { .op = 63, .id = 1 };
		struct served_session session;

		if (served_session(served, path, &session, NULL) == 0) {
			mounts++;
			(void) raw_frame(&session.raw, &bad, NULL, 0);
			served_session_done(&session);
		}
		refused += served_session(served, missing, &session, NULL) < 0;
	}
	assert_int_equal(stat(log_file, &st), 0);
	print_message("# %d mounts and %d refusals: %ld bytes of log\n", mounts, refused, (long) st.st_size);
	assert_true(mounts > 0 && refused > 0);
	assert_true(st.st_size < LOG_MOST);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(the_user_is_answered_while_a_guest_mounts_what_is_too_deep, set_up,
		                                tear_down),
		cmocka_unit_test_setup_teardown(the_user_is_answered_while_a_guest_mounts_what_is_just_not_too_deep,
		                                set_up, tear_down),
		cmocka_unit_test_setup_teardown(mounts_have_one_budget_of_known_files, set_up, tear_down),
		cmocka_unit_test_setup_teardown(mounts_have_one_budget_of_lanes, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_loop_of_mounts_writes_little, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
