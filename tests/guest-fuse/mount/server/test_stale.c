/* SPDX-License-Identifier: Apache-2.0 */
/* Which requests are second tries. */
#include <linux/fuse.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "guest-fuse/mount/server/stale.h"
#include "protocol/clock.h"

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
	looked_up = clock_ns();
	assert_true(second(&asked, FUSE_GETATTR, 8, 0));
	assert_false(second(&asked, FUSE_LOOKUP, 8, 0));
	looked_up = 0;
	asked.in.nodeid = 7;
	stale_forget(asked.stale, &asked.in);
	assert_false(second(&asked, FUSE_MKDIR, 7, 0));
	assert_false(stale_is_awaited(asked.stale));
	stale_free(asked.stale);
}

static void a_name_that_the_kernel_knew_is_asked_for_twice_in_one_try(void **state)
{
	struct asked asked = { .stale = stale_new() };

	assert_non_null(asked.stale);
	asked.in = (struct fuse_in_header){ .opcode = FUSE_LOOKUP, .nodeid = 7, .pid = 0 };
	stale_note(asked.stale, &asked.in);
	stale_expect_twice(asked.stale, &asked.in);
	assert_false(second(&asked, FUSE_LOOKUP, 7, 0));
	stale_note(asked.stale, &asked.in);
	assert_true(second(&asked, FUSE_LOOKUP, 7, 0));
	/* Of another directory nothing was expected. */
	asked.in.nodeid = 8;
	stale_note(asked.stale, &asked.in);
	assert_true(second(&asked, FUSE_LOOKUP, 8, 0));
	stale_free(asked.stale);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_second_try_is_the_same_threads_for_the_same_object),
		cmocka_unit_test(what_was_answered_otherwise_has_no_second_try),
		cmocka_unit_test(a_name_that_the_kernel_knew_is_asked_for_twice_in_one_try),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
