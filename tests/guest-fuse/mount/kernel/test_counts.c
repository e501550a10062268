/* SPDX-License-Identifier: Apache-2.0 */
/* Counters of the kernel's requests: each opcode has its own, and those without a name share one. */
#include <linux/fuse.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "guest-fuse/mount/kernel/counts.h"

static void each_opcode_counts_for_itself(void **state)
{
	struct counts counts = { .requests = { 0 } };

	counts_add(&counts, FUSE_LOOKUP);
	counts_add(&counts, FUSE_LOOKUP);
	counts_add(&counts, FUSE_SYNCFS);
	assert_int_equal(counts.requests[FUSE_LOOKUP], 2);
	assert_int_equal(counts.requests[FUSE_SYNCFS], 1);
	assert_string_equal(counts_name(FUSE_LOOKUP), "lookup");
	assert_string_equal(counts_name(FUSE_SYNCFS), "syncfs");
	assert_int_equal(counts.requests[0], 0);
}

/* 7 and 19 mean nothing in the protocol; a kernel of the future may send anything. */
static void opcodes_without_a_name_count_together(void **state)
{
	static const uint32_t unknown[] = { 7, 19, COUNTS_OPCODES - 1, COUNTS_OPCODES, UINT32_MAX };
	struct counts counts = { .requests = { 0 } };

	for (size_t i = 0; i < sizeof(unknown) / sizeof(unknown[0]); i++) {
		assert_null(counts_name(unknown[i]));
		counts_add(&counts, unknown[i]);
		assert_int_equal(counts.requests[0], i + 1);
	}
	assert_string_equal(counts_name(0), "other");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_opcode_counts_for_itself),
		cmocka_unit_test(opcodes_without_a_name_count_together),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
