/* SPDX-License-Identifier: Apache-2.0 */
/* Fault injection itself: what rules mean, and which are refused. */
#include "protocol/faults.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "protocol/clock.h"

static void arm(const char *rules)
{
	char error[256];

	assert_int_equal(faults_arm(rules, error, sizeof(error)), 0);
}

static int disarm(void **state)
{
	arm("");
	return 0;
}

static ssize_t read_zeros(size_t size)
{
	static char bytes[64];
	int fd = open("/dev/zero", O_RDONLY | O_CLOEXEC);
	ssize_t n = FAULT_SIZE(WORKER_READ, size, read(fd, bytes, size));

	close(fd);
	return n;
}

static void a_rule_holds_once(void **state)
{
	arm("worker.read:2:EIO");
	assert_int_equal(read_zeros(10), 10);
	errno = 0;
	assert_int_equal(read_zeros(10), -1);
	assert_int_equal(errno, EIO);
	assert_int_equal(read_zeros(10), 10);
	assert_int_equal(faults_fired(), 1);
}

static void a_rule_with_plus_holds_from_then_on(void **state)
{
	arm("worker.read:2+:EACCES");
	assert_int_equal(read_zeros(10), 10);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(read_zeros(10), -1);
		assert_int_equal(errno, EACCES);
	}
	assert_int_equal(faults_fired(), 3);
}

static void points_are_counted_apart_and_from_0_when_armed_anew(void **state)
{
	arm("worker.read:2:EIO,worker.write:1:ENOSPC");
	assert_int_equal(read_zeros(1), 1);
	assert_int_equal(faults_at(FAULTS_WORKER_WRITE), ENOSPC);
	arm("worker.read:2:EIO");
	assert_int_equal(read_zeros(1), 1);
	assert_int_equal(read_zeros(1), -1);
	assert_int_equal(faults_at(FAULTS_WORKER_WRITE), 0);
}

static void a_short_call_moves_fewer_bytes(void **state)
{
	arm("worker.read:1:short=3,worker.read:2:short=30");
	assert_int_equal(read_zeros(10), 3);
	assert_int_equal(read_zeros(10), 10);
}

static void a_full_disk_takes_what_there_is_room_for(void **state)
{
	arm("worker.read:1:full=25");
	assert_int_equal(read_zeros(10), 10);
	assert_int_equal(read_zeros(10), 10);
	assert_int_equal(read_zeros(10), 5);
	assert_int_equal(read_zeros(10), -1);
	assert_int_equal(errno, ENOSPC);
}

static void buffers_are_cut_for_the_call_only(void **state)
{
	char first[4] = "abcd", second[4] = "efgh", got[8];
	struct iovec iov[2] = { { first, sizeof(first) }, { second, sizeof(second) } };
	int fds[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	arm("channel.send:1:short=5,channel.send:2:EPIPE");
	assert_int_equal(FAULT_BUFFERS(CHANNEL_SEND, iov, 2, writev(fds[0], iov, 2)), 5);
	assert_int_equal(iov[0].iov_len, 4);
	assert_int_equal(iov[1].iov_len, 4);
	assert_int_equal(read(fds[1], got, sizeof(got)), 5);
	assert_memory_equal(got, "abcde", 5);
	assert_int_equal(FAULT_BUFFERS(CHANNEL_SEND, iov, 2, writev(fds[0], iov, 2)), -1);
	assert_int_equal(errno, EPIPE);
	assert_int_equal(iov[0].iov_len + iov[1].iov_len, 8);
	close(fds[0]);
	close(fds[1]);
}

static int number_seven(void)
{
	return 7;
}

static void other_forms_fail_in_their_own_way(void **state)
{
	void *memory;

	arm("worker.node:1:ENOMEM,worker.thread:1:EAGAIN");
	memory = FAULT_NULL(WORKER_NODE, malloc(1));
	assert_null(memory);
	assert_int_equal(errno, ENOMEM);
	memory = FAULT_NULL(WORKER_NODE, malloc(1));
	assert_non_null(memory);
	free(memory);
	assert_int_equal(FAULT_NUMBER(WORKER_THREAD, number_seven()), EAGAIN);
	assert_int_equal(FAULT_NUMBER(WORKER_THREAD, number_seven()), 7);
}

static void a_delay_waits_and_makes_the_call(void **state)
{
	int64_t before;

	arm("worker.read:1:delay=50ms");
	before = clock_ns();
	errno = EXDEV;
	assert_int_equal(read_zeros(10), 10);
	assert_true(clock_ns() - before >= 50000000);
	assert_int_equal(errno, EXDEV);
}

static void broken_rules_are_refused_in_words(void **state)
{
	static const char *const cases[][2] = {
		{ "worker.read", "\"worker.read\" is no rule; write POINT:COUNT:WHAT, as in worker.write:2:EIO" },
		{ "worker.read:1", "\"worker.read:1\" is no rule; write POINT:COUNT:WHAT, as in worker.write:2:EIO" },
		{ "worker.reed:1:EIO", "there is no point \"worker.reed\"; protocol/faults.def has them all" },
		{ "worker.read:0:EIO",
		  "\"0\" says not when; write 3 for the third time only, 3+ for that and all after" },
		{ "worker.read:1-:EIO",
		  "\"1-\" says not when; write 3 for the third time only, 3+ for that and all after" },
		{ "worker.read:+1:EIO",
		  "\"+1\" says not when; write 3 for the third time only, 3+ for that and all after" },
		{ "worker.read:99999999999999999999:EIO", "says not when" },
		{ "worker.read:1:EVIL",
		  "\"EVIL\" says not what happens; write an errno's name, short=BYTES, full=BYTES "
		  "or delay=NUMBERms" },
		{ "worker.read:1:short=", "says not what happens" },
		{ "worker.read:1:short=5x", "says not what happens" },
		{ "worker.read:1:full=0", "says not what happens" },
		{ "worker.read:1:delay=5", "says not what happens" },
		{ "worker.read:1:delay=60001ms", "says not what happens" },
		{ "worker.stat:1:short=5", "worker.stat moves no bytes, so that it cannot be short or full" },
		{ "worker.stat:1:full=5", "worker.stat moves no bytes" },
		{ "worker.read:1:EIO,", "\"\" is no rule" },
	};
	char error[256], many[2048] = "worker.read:1:EIO";

	arm("worker.read:1:EIO");
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_int_equal(faults_arm(cases[i][0], error, sizeof(error)), -EINVAL);
		if (strstr(error, cases[i][1]) == NULL)
			fail_msg("\"%s\": \"%s\" in place of \"%s\"", cases[i][0], error, cases[i][1]);
	}
	for (int i = 0; i < 16; i++)
		strcat(many, ",worker.read:1:EIO");
	assert_int_equal(faults_arm(many, error, sizeof(error)), -EINVAL);
	assert_string_equal(error, "more than 16 rules");
	/* What was there before still holds. */
	assert_int_equal(read_zeros(1), -1);
}

static void the_environment_is_taken_at_start(void **state)
{
	assert_int_equal(unsetenv("BINDSHARE_FAULTS"), 0);
	assert_true(faults_start());
	assert_int_equal(setenv("BINDSHARE_FAULTS", "nonsense", 1), 0);
	assert_false(faults_start());
	assert_int_equal(setenv("BINDSHARE_FAULTS", "worker.read:1:ENOTTY", 1), 0);
	assert_true(faults_start());
	assert_int_equal(read_zeros(1), -1);
	assert_int_equal(errno, ENOTTY);
	assert_int_equal(unsetenv("BINDSHARE_FAULTS"), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(a_rule_holds_once, disarm),
		cmocka_unit_test_teardown(a_rule_with_plus_holds_from_then_on, disarm),
		cmocka_unit_test_teardown(points_are_counted_apart_and_from_0_when_armed_anew, disarm),
		cmocka_unit_test_teardown(a_short_call_moves_fewer_bytes, disarm),
		cmocka_unit_test_teardown(a_full_disk_takes_what_there_is_room_for, disarm),
		cmocka_unit_test_teardown(buffers_are_cut_for_the_call_only, disarm),
		cmocka_unit_test_teardown(other_forms_fail_in_their_own_way, disarm),
		cmocka_unit_test_teardown(a_delay_waits_and_makes_the_call, disarm),
		cmocka_unit_test_teardown(broken_rules_are_refused_in_words, disarm),
		cmocka_unit_test_teardown(the_environment_is_taken_at_start, disarm),
	};

	return cmocka_run_group_tests_name("protocol/faults", tests, NULL, NULL);
}
