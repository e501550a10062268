/* SPDX-License-Identifier: Apache-2.0 */
/* What of a file's first contents READ is answered with, and what not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "guest-fuse/mount/known/ahead.h"
#include "protocol/clock.h"

static struct ahead *ahead;
static uint8_t contents[AHEAD_SIZE], bytes[2 * AHEAD_SIZE];

static int set_up(void **state)
{
	for (size_t i = 0; i < sizeof(contents); i++)
		contents[i] = (uint8_t) (i * 7 + i / 256);
	memset(bytes, 0, sizeof(bytes));
	ahead = ahead_new();
	return 0;
}

static int tear_down(void **state)
{
	ahead_free(ahead);
	return 0;
}

static void a_whole_file_is_read_to_its_end(void **state)
{
	uint64_t ticket = ahead_put(ahead, clock_ns(), contents, 5000, true);
	size_t length;

	assert_int_not_equal(ticket, 0);
	assert_true(ahead_get(ahead, ticket, 0, 0, 8192, bytes, &length));
	assert_int_equal(length, 5000);
	assert_memory_equal(bytes, contents, 5000);
	assert_true(ahead_get(ahead, ticket, 0, 4096, 4096, bytes, &length));
	assert_int_equal(length, 904);
	assert_memory_equal(bytes, contents + 4096, 904);
	assert_true(ahead_get(ahead, ticket, 0, 5000, 4096, bytes, &length));
	assert_int_equal(length, 0);
	assert_false(ahead_get(ahead, ticket, 0, 5001, 4096, bytes, &length));
}

static void of_a_part_only_what_is_there_is_read(void **state)
{
	uint64_t ticket = ahead_put(ahead, clock_ns(), contents, 5000, false);
	size_t length;

	assert_true(ahead_get(ahead, ticket, 0, 0, 4096, bytes, &length));
	assert_int_equal(length, 4096);
	assert_true(ahead_get(ahead, ticket, 0, 4096, 904, bytes, &length));
	assert_int_equal(length, 904);
	assert_false(ahead_get(ahead, ticket, 0, 4096, 4096, bytes, &length));
	assert_false(ahead_get(ahead, ticket, 0, UINT64_MAX, 4096, bytes, &length));
}

static void a_change_from_here_ends_it(void **state)
{
	int64_t since = clock_ns();
	uint64_t ticket = ahead_put(ahead, since, contents, 100, true);
	size_t length;

	assert_true(ahead_get(ahead, ticket, since - 1, 0, 4096, bytes, &length));
	assert_false(ahead_get(ahead, ticket, since, 0, 4096, bytes, &length));
	assert_false(ahead_get(ahead, ticket, since + 1, 0, 4096, bytes, &length));
}

static void time_ends_it(void **state)
{
	uint64_t ticket = ahead_put(ahead, clock_ns() - 200000000, contents, 100, true);
	size_t length;

	assert_false(ahead_get(ahead, ticket, 0, 0, 4096, bytes, &length));
}

static void later_files_take_the_place(void **state)
{
	uint64_t tickets[AHEAD_FILES + 1];
	int64_t since = clock_ns();
	size_t length;

	for (int i = 0; i <= AHEAD_FILES; i++)
		tickets[i] = ahead_put(ahead, since, contents + i, AHEAD_SIZE - (size_t) i, true);
	assert_false(ahead_get(ahead, tickets[0], 0, 0, 4096, bytes, &length));
	for (int i = 1; i <= AHEAD_FILES; i++) {
		assert_true(ahead_get(ahead, tickets[i], 0, 0, sizeof(bytes), bytes, &length));
		assert_int_equal(length, AHEAD_SIZE - i);
		assert_memory_equal(bytes, contents + i, length);
	}
}

static void nothing_and_too_much_are_not_kept(void **state)
{
	size_t length;

	assert_int_equal(ahead_put(ahead, clock_ns(), contents, 0, true), 0);
	assert_int_equal(ahead_put(ahead, clock_ns(), bytes, AHEAD_SIZE + 1, true), 0);
	assert_false(ahead_get(ahead, 0, 0, 0, 4096, bytes, &length));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_whole_file_is_read_to_its_end), TEST(of_a_part_only_what_is_there_is_read),
		TEST(a_change_from_here_ends_it),      TEST(time_ends_it),
		TEST(later_files_take_the_place),      TEST(nothing_and_too_much_are_not_kept),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
