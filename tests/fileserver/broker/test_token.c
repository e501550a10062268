/* SPDX-License-Identifier: Apache-2.0 */
/* Another token while the server runs: made and written, or read as somebody else wrote it. */
#include <errno.h>
#include <setjmp.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "fileserver/broker/token.h"
#include "tests/support/scratch.h"

static const char text[] = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff\n";

static void a_token_that_is_made_is_written_for_its_owner_alone(void **state)
{
	const char *path = scratch_file("token", text, 0600);
	struct proto_token first, second, read;
	char error[256];
	struct stat st;

	assert_int_equal(token_rotate(path, false, &first, error, sizeof(error)), 0);
	assert_int_equal(token_rotate(path, false, &second, error, sizeof(error)), 0);
	assert_memory_not_equal(first.key, second.key, sizeof(first.key));
	assert_int_equal(proto_token_read(path, &read, error, sizeof(error)), 0);
	assert_memory_equal(read.key, second.key, sizeof(read.key));
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	assert_int_equal(st.st_size, 2 * PROTO_TOKEN_SIZE + 1);
}

static void a_token_of_the_file_is_taken_and_the_file_left_as_it_is(void **state)
{
	const char *path = scratch_file("token", text, 0600);
	struct proto_token token;
	unsigned char expected[PROTO_TOKEN_SIZE];
	char error[256];
	struct stat before, after;

	assert_int_equal(stat(path, &before), 0);
	assert_int_equal(token_rotate(path, true, &token, error, sizeof(error)), 0);
	assert_int_equal(sodium_hex2bin(expected, sizeof(expected), text, strlen(text) - 1, NULL, NULL, NULL), 0);
	assert_memory_equal(token.key, expected, sizeof(expected));
	assert_int_equal(stat(path, &after), 0);
	assert_int_equal(after.st_ino, before.st_ino);
	assert_int_equal(after.st_mtim.tv_nsec, before.st_mtim.tv_nsec);
}

static void a_file_that_is_bad_or_not_there_changes_nothing(void **state)
{
	struct proto_token token = { .key = { 1, 2, 3 } }, before = token;
	char error[256];

	assert_true(token_rotate(scratch_path("none"), true, &token, error, sizeof(error)) < 0);
	assert_non_null(strstr(error, "none"));
	assert_true(token_rotate(scratch_file("short", "0011\n", 0600), true, &token, error, sizeof(error)) < 0);
	assert_non_null(strstr(error, "short"));
	assert_true(token_rotate(scratch_file("open", text, 0644), true, &token, error, sizeof(error)) < 0);
	assert_non_null(strstr(error, "open"));
	assert_memory_equal(&token, &before, sizeof(token));
}

static void where_no_file_can_be_written_the_old_token_stays(void **state)
{
	struct proto_token token = { .key = { 1, 2, 3 } }, before = token;
	char error[256];

	assert_true(token_rotate(scratch_path("none/token"), false, &token, error, sizeof(error)) < 0);
	assert_non_null(strstr(error, "none/token"));
	assert_memory_equal(&token, &before, sizeof(token));
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, scratch_set_up, scratch_tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_token_that_is_made_is_written_for_its_owner_alone),
		TEST(a_token_of_the_file_is_taken_and_the_file_left_as_it_is),
		TEST(a_file_that_is_bad_or_not_there_changes_nothing),
		TEST(where_no_file_can_be_written_the_old_token_stays),
	};

	return sodium_init() < 0 ? 1 : cmocka_run_group_tests(tests, NULL, NULL);
}
