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

static int created(long number, unsigned long first, unsigned long second, unsigned long third, unsigned long fourth,
                   struct thread_call_created *ret_created)
{
	char line[256];

	snprintf(line, sizeof(line), "%ld 0x%lx 0x%lx 0x%lx 0x%lx 0x0 0x0 0x7ffc00001000 0x7f0000001000", number, first,
	         second, third, fourth);
	return thread_call_created(line, ret_created);
}

static void calls_that_make_a_name_tell_its_path(void **state)
{
	struct thread_call_created found;

	assert_int_equal(created(SYS_openat, 3, 0x1000, O_WRONLY | O_CREAT, 0600, &found), 0);
	assert_true(found.path == 0x1000 && found.old == 0);
	assert_int_equal(created(SYS_openat, 3, 0x1000, O_WRONLY | O_TRUNC, 0, &found), -1);
	assert_int_equal(created(SYS_mkdirat, 3, 0x2000, 0700, 0, &found), 0);
	assert_true(found.path == 0x2000 && found.old == 0);
	assert_int_equal(created(SYS_symlinkat, 0x1000, 3, 0x3000, 0, &found), 0);
	assert_true(found.path == 0x3000 && found.old == 0);
	assert_int_equal(created(SYS_linkat, 3, 0x1000, 4, 0x4000, &found), 0);
	assert_true(found.path == 0x4000 && found.old == 0x1000);
	assert_int_equal(created(SYS_renameat2, 3, 0x1000, 4, 0x4000, &found), 0);
	assert_true(found.path == 0x4000 && found.old == 0x1000);
	assert_int_equal(created(SYS_newfstatat, 3, 0x1000, 0x2000, 0, &found), -1);
	assert_int_equal(created(SYS_unlinkat, 3, 0x1000, 0, 0, &found), -1);
	assert_int_equal(thread_call_created("running\n", &found), -1);
}

static void a_directory_on_the_way_is_not_what_is_made(void **state)
{
	assert_true(thread_call_path_only_ends_in("made", "made"));
	assert_true(thread_call_path_only_ends_in("/a/made//", "made"));
	assert_true(thread_call_path_only_ends_in("a/unmade/made", "made"));
	assert_true(thread_call_path_only_ends_in("a/madeup/made", "made"));
	assert_false(thread_call_path_only_ends_in("made/other", "made"));
	assert_false(thread_call_path_only_ends_in("made/made", "made"));
	assert_false(thread_call_path_only_ends_in("/made//below/made", "made"));
	assert_false(thread_call_path_only_ends_in("unmade", "made"));
	assert_false(thread_call_path_only_ends_in("", "made"));
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
		cmocka_unit_test(calls_that_make_a_name_tell_its_path),
		cmocka_unit_test(a_directory_on_the_way_is_not_what_is_made),
		cmocka_unit_test(the_last_part_of_a_path_is_found),
		cmocka_unit_test(a_call_that_makes_no_name_is_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
