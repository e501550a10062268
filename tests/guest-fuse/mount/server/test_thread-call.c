/* SPDX-License-Identifier: Apache-2.0 */
/* Which system call a thread is in, and what it means by it. */
#include <fcntl.h>
#include <linux/fuse.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "guest-fuse/mount/server/thread-call.h"

static int by_name(long number, unsigned long second, unsigned long fourth, unsigned long stack, uint32_t opcode)
{
	char line[256];

	snprintf(line, sizeof(line), "%ld 0x3 0x%lx 0x0 0x%lx 0x0 0x0 0x%lx 0x7f0000001000", number, second, fourth,
	         stack);
	return thread_call_is_by_name(line, opcode);
}

static void calls_by_path_and_by_descriptor_are_told_apart(void **state)
{
	const unsigned long stack = 0x7ffc00001000;

	assert_int_equal(by_name(SYS_fchmodat, 0x1000, 0, stack, FUSE_SETATTR), 1);
	assert_int_equal(by_name(SYS_fchmod, 0600, 0, stack, FUSE_SETATTR), 0);
	assert_int_equal(by_name(SYS_truncate, 3, 0, stack, FUSE_SETATTR), 1);
	assert_int_equal(by_name(SYS_ftruncate, 3, 0, stack, FUSE_SETATTR), 0);
	assert_int_equal(by_name(SYS_utimensat, 0x1000, 0, stack, FUSE_SETATTR), 1);
	assert_int_equal(by_name(SYS_utimensat, 0, 0, stack, FUSE_SETATTR), 0);
	assert_int_equal(by_name(SYS_utimensat, 0x1000, AT_EMPTY_PATH, stack, FUSE_SETATTR), 0);
	assert_int_equal(by_name(SYS_setxattr, 0x1000, 0, stack, FUSE_SETXATTR), 1);
	assert_int_equal(by_name(SYS_fsetxattr, 0x1000, 0, stack, FUSE_SETXATTR), 0);
	assert_int_equal(by_name(SYS_openat, 0x1000, 0, stack, FUSE_OPEN), 1);
	/* O_TRUNC is of the file that it has just opened. */
	assert_int_equal(by_name(SYS_openat, 0x1000, 0, stack, FUSE_SETATTR), 0);
	assert_int_equal(by_name(SYS_open_by_handle_at, 0x1000, 0, stack, FUSE_OPEN), 0);
	/* Numbers of a 32-bit program mean other calls. */
	assert_int_equal(by_name(SYS_truncate, 3, 0, 0xffff1000, FUSE_SETATTR), 0);
	assert_int_equal(thread_call_is_by_name("running\n", FUSE_OPEN), -1);
	assert_int_equal(thread_call_is_by_name("-1 0x7ffc00001000 0x7f0000001000\n", FUSE_OPEN), -1);
	assert_int_equal(thread_call_is_by_name("", FUSE_OPEN), -1);
}

static void the_last_part_of_a_path_is_found(void **state)
{
	assert_true(thread_call_path_ends_in("made", "made"));
	assert_true(thread_call_path_ends_in("d/made", "made"));
	assert_true(thread_call_path_ends_in("/d/made//", "made"));
	assert_false(thread_call_path_ends_in("made/d", "made"));
	assert_false(thread_call_path_ends_in("d/unmade", "made"));
	assert_false(thread_call_path_ends_in("ade", "made"));
	assert_false(thread_call_path_ends_in("", "made"));
	assert_false(thread_call_path_ends_in("//", "made"));
}

/* A thread that waits in a system call can be seen, one that is none of ours cannot. */
static void a_call_that_makes_no_name_is_told(void **state)
{
	pid_t pid = fork();

	if (pid == 0) {
		(void) alarm(60);
		(void) pause();
		_exit(0);
	}
	assert_true(pid > 0);
	/* Until it waits it is in no system call. */
	while (thread_call_makes(pid, "made") != 0)
		(void) usleep(1000);
	assert_false(thread_call_links(pid));
	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	assert_int_equal(thread_call_makes(pid, "made"), -1);
	assert_int_equal(thread_call_makes(0, "made"), -1);
	assert_false(thread_call_links(0));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(calls_by_path_and_by_descriptor_are_told_apart),
		cmocka_unit_test(the_last_part_of_a_path_is_found),
		cmocka_unit_test(a_call_that_makes_no_name_is_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
