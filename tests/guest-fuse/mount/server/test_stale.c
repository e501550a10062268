/* SPDX-License-Identifier: Apache-2.0 */
/* Which calls mean an object by name, and which requests are second tries. */
#include <fcntl.h>
#include <linux/fuse.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cmocka.h>

#include "guest-fuse/mount/server/stale.h"
#include "protocol/clock.h"

static int by_name(long number, unsigned long second, unsigned long fourth, unsigned long stack, uint32_t opcode)
{
	char line[256];

	snprintf(line, sizeof(line), "%ld 0x3 0x%lx 0x0 0x%lx 0x0 0x0 0x%lx 0x7f0000001000", number, second, fourth,
	         stack);
	return stale_call_is_by_name(line, opcode);
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
	assert_int_equal(stale_call_is_by_name("running\n", FUSE_OPEN), -1);
	assert_int_equal(stale_call_is_by_name("-1 0x7ffc00001000 0x7f0000001000\n", FUSE_OPEN), -1);
	assert_int_equal(stale_call_is_by_name("", FUSE_OPEN), -1);
}

/* When the kernel asked for a name last that led to what it asks about now. */
static int64_t looked_up;

struct asked {
	struct stale *stale;
	struct fuse_in_header in;
};

static bool second(struct asked *asked, uint32_t opcode, uint64_t nodeid, uint32_t pid)
{
	asked->in = (struct fuse_in_header){ .opcode = opcode, .nodeid = nodeid, .pid = pid };
	return stale_second_of(asked->stale, &asked->in, looked_up) != 0;
}

static bool tell(struct asked *asked, uint32_t opcode, uint64_t nodeid, uint32_t pid)
{
	asked->in = (struct fuse_in_header){ .opcode = opcode, .nodeid = nodeid, .pid = pid };
	return stale_tell(asked->stale, &asked->in);
}

static void a_second_try_is_the_same_threads_for_the_same_object(void **state)
{
	struct asked asked = { .stale = stale_new() };

	assert_non_null(asked.stale);
	/* Threads of which nothing can be seen: what is always by name is taken for it, what need not be is not. */
	assert_true(tell(&asked, FUSE_OPEN, 7, 0));
	assert_false(tell(&asked, FUSE_SETATTR, 7, 0));
	assert_false(second(&asked, FUSE_LOOKUP, 1, 0));
	assert_true(second(&asked, FUSE_OPEN, 7, 0));
	assert_false(second(&asked, FUSE_OPEN, 7, 0));
	assert_true(tell(&asked, FUSE_OPEN, 7, 0));
	assert_false(second(&asked, FUSE_OPEN, 7, 1));
	assert_false(second(&asked, FUSE_OPEN, 8, 0)); /* the name leads elsewhere: that is the second try */
	assert_false(second(&asked, FUSE_OPEN, 7, 0));
	/* A second try is about what was looked up meanwhile, and about nothing else. */
	assert_true(tell(&asked, FUSE_OPEN, 7, 0));
	looked_up = clock_ns() - 1000000000;
	assert_false(second(&asked, FUSE_OPEN, 9, 0));
	assert_true(tell(&asked, FUSE_OPEN, 7, 0));
	assert_false(second(&asked, FUSE_LOOKUP, 1, 0));
	looked_up = clock_ns();
	assert_true(second(&asked, FUSE_OPEN, 9, 0));
	assert_false(second(&asked, FUSE_OPEN, 9, 0));
	looked_up = 0;
	/* Many at once: the oldest are forgotten, and nothing else happens. */
	for (uint32_t i = 0; i < 3 * STALE_TOLD; i++)
		assert_true(tell(&asked, FUSE_OPEN, 100 + i, 0x7ffffff0 - i));
	assert_false(second(&asked, FUSE_OPEN, 100, 0x7ffffff0));
	assert_true(second(&asked, FUSE_OPEN, 100 + 3 * STALE_TOLD - 1, 0x7ffffff0 - (3 * STALE_TOLD - 1)));
	stale_free(asked.stale);
}

/* A look-up in a directory that is gone, for a call that makes a name, is answered with "no such name". */
static void what_was_answered_otherwise_has_no_second_try(void **state)
{
	struct asked asked = { .stale = stale_new() };

	assert_non_null(asked.stale);
	asked.in = (struct fuse_in_header){ .opcode = FUSE_LOOKUP, .nodeid = 7, .pid = 0 };
	stale_note(asked.stale, &asked.in);
	assert_true(second(&asked, FUSE_MKDIR, 7, 0));
	/* Attributes that were refused are given the second time; the call itself may follow. */
	stale_note(asked.stale, &asked.in);
	assert_true(second(&asked, FUSE_GETATTR, 7, 0));
	assert_false(second(&asked, FUSE_GETATTR, 8, 0));
	asked.in.nodeid = 7;
	stale_forget(asked.stale, &asked.in);
	assert_false(second(&asked, FUSE_MKDIR, 7, 0));
	assert_false(stale_is_awaited(asked.stale));
	stale_free(asked.stale);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(calls_by_path_and_by_descriptor_are_told_apart),
		cmocka_unit_test(a_second_try_is_the_same_threads_for_the_same_object),
		cmocka_unit_test(what_was_answered_otherwise_has_no_second_try),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
