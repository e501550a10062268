/* SPDX-License-Identifier: Apache-2.0 */
/* The record of mounts: what was written is read again, and what makes no sense is told. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "guest-fuse/agent/mounts-record.h"
#include "protocol/cleanup.h"
#include "tests/support/scratch.h"

static char error[1024];

static const char *run_directory(void)
{
	static char path[SCRATCH_PATH];

	(void) snprintf(path, sizeof(path), "%s", scratch_path("run"));
	return path;
}

static int set_up(void **state)
{
	(void) scratch_make();
	(void) scratch_directory("run");
	error[0] = '\0';
	return 0;
}

static int tear_down(void **state)
{
	scratch_remove();
	return 0;
}

static void what_is_written_is_read_again(void **state)
{
	char *made[] = { (char *) "/host_mnt/home", (char *) "/host_mnt/home/me" };
	struct mounts_record_share shares[] = {
		{ (char *) "/home/me", (char *) "/data/me", 5, made, ARRAY_SIZE(made) },
		{ (char *) "/srv/\xc3\xa4 \"b\"", (char *) "/srv", UINT32_MAX, NULL, 0 },
	};
	const struct mounts_record record = { (char *) "vsock:2:5000", (char *) "/host_mnt", shares, ARRAY_SIZE(shares),
		                              0 };
	struct mounts_record read;

	assert_int_equal(mounts_record_write(run_directory(), &record, error, sizeof(error)), 0);
	assert_int_equal(mounts_record_read(run_directory(), &read, error, sizeof(error)), 0);
	assert_string_equal(read.address, "vsock:2:5000");
	assert_string_equal(read.root, "/host_mnt");
	assert_int_equal(read.count, 2);
	assert_int_equal(read.left_out, 0);
	assert_string_equal(read.shares[0].path, "/home/me");
	assert_string_equal(read.shares[0].canonical, "/data/me");
	assert_int_equal(read.shares[0].flags, 5);
	assert_int_equal(read.shares[0].made_count, 2);
	assert_string_equal(read.shares[0].made[1], "/host_mnt/home/me");
	assert_string_equal(read.shares[1].path, shares[1].path);
	assert_true(read.shares[1].flags == UINT32_MAX);
	assert_int_equal(read.shares[1].made_count, 0);
	mounts_record_done(&read);
}

static void the_new_one_takes_the_place_of_the_old_one_and_nothing_stays_beside_it(void **state)
{
	struct mounts_record_share share = { (char *) "/a", (char *) "/a", 0, NULL, 0 };
	struct mounts_record record = { (char *) "unix:/s", (char *) "/r", &share, 1, 0 }, read;
	struct stat st;

	assert_int_equal(mounts_record_write(run_directory(), &record, error, sizeof(error)), 0);
	record.count = 0;
	assert_int_equal(mounts_record_write(run_directory(), &record, error, sizeof(error)), 0);
	assert_int_equal(mounts_record_read(run_directory(), &read, error, sizeof(error)), 0);
	assert_int_equal(read.count, 0);
	mounts_record_done(&read);
	assert_int_equal(stat(scratch_path("run/state.json"), &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	assert_int_equal(unlink(scratch_path("run/state.json")), 0);
	assert_int_equal(rmdir(run_directory()), 0);
}

static void a_path_that_is_no_utf8_is_left_out_and_the_rest_is_written(void **state)
{
	struct mounts_record_share shares[] = {
		{ (char *) "/a\xff", (char *) "/a", 0, NULL, 0 },
		{ (char *) "/b", (char *) "/b", 0, NULL, 0 },
	};
	struct mounts_record record = { (char *) "unix:/s", (char *) "/r", shares, ARRAY_SIZE(shares), 0 }, read;

	assert_int_equal(mounts_record_write(run_directory(), &record, error, sizeof(error)), 0);
	assert_int_equal(mounts_record_read(run_directory(), &read, error, sizeof(error)), 0);
	assert_int_equal(read.count, 1);
	assert_string_equal(read.shares[0].path, "/b");
	mounts_record_done(&read);
}

static void without_a_record_there_is_none(void **state)
{
	struct mounts_record read;

	assert_int_equal(mounts_record_read(run_directory(), &read, error, sizeof(error)), -ENOENT);
}

static void a_broken_record_is_told(void **state)
{
	static const char *const broken[] = {
		"",
		"x",
		"[]",
		"{\"address\":\"unix:/s\",\"root\":\"/r\",\"shares\":[",
		"{}",
		"{\"address\":1,\"root\":\"/r\",\"shares\":[]}",
		"{\"address\":\"unix:/s\",\"root\":\"r\",\"shares\":[]}",
		"{\"address\":\"unix:/s\",\"root\":\"/r\"}",
		"{\"address\":\"unix:/s\\u0000\",\"root\":\"/r\",\"shares\":[]}",
		"{\"address\":\"unix:/s\",\"root\":\"/r\",\"shares\":{}}",
		"{\"address\":\"unix:/s\",\"address\":\"unix:/t\",\"root\":\"/r\",\"shares\":[]}",
	};

	for (size_t i = 0; i < ARRAY_SIZE(broken); i++) {
		struct mounts_record read;

		error[0] = '\0';
		(void) scratch_file("run/state.json", broken[i], 0600);
		if (mounts_record_read(run_directory(), &read, error, sizeof(error)) != -EINVAL)
			fail_msg("read: %s", broken[i]);
		assert_non_null(strstr(error, "record of mounts"));
		assert_non_null(strstr(error, "state.json"));
	}
}

static void a_record_that_others_may_write_is_not_believed(void **state)
{
	struct mounts_record read;

	(void) scratch_file("run/state.json", "{\"address\":\"unix:/s\",\"root\":\"/r\",\"shares\":[]}", 0666);
	assert_int_equal(mounts_record_read(run_directory(), &read, error, sizeof(error)), -EPERM);
	assert_non_null(strstr(error, "others may write"));
}

static void a_share_that_makes_no_sense_is_left_out_and_counted(void **state)
{
	static const char *const shares[] = {
		"1",
		"{\"canonical\":\"/b\",\"flags\":0}",
		"{\"path\":\"b\",\"canonical\":\"/b\",\"flags\":0}",
		"{\"path\":\"/b\",\"flags\":0}",
		"{\"path\":\"/b\",\"canonical\":\"/b\"}",
		"{\"path\":\"/b\",\"canonical\":\"/b\",\"flags\":-1}",
		"{\"path\":\"/b\",\"canonical\":\"/b\",\"flags\":4294967296}",
		"{\"path\":\"/b\",\"canonical\":\"/b\",\"flags\":\"0\"}",
		"{\"path\":\"/b\",\"canonical\":\"/b\",\"flags\":0,\"made\":\"/b\"}",
		"{\"path\":\"/b\",\"canonical\":\"/b\",\"flags\":0,\"made\":[\"b\"]}",
		"{\"path\":\"/b\",\"canonical\":\"/b\",\"flags\":0,\"made\":[\"/b\",1]}",
	};

	for (size_t i = 0; i < ARRAY_SIZE(shares); i++) {
		char text[1024];
		struct mounts_record read;

		(void) snprintf(text, sizeof(text),
		                "{\"address\":\"unix:/s\",\"root\":\"/r\",\"shares\":[%s,"
		                "{\"path\":\"/a\",\"canonical\":\"/a\",\"flags\":0,\"made\":[\"/r/a\"]}]}",
		                shares[i]);
		(void) scratch_file("run/state.json", text, 0600);
		assert_int_equal(mounts_record_read(run_directory(), &read, error, sizeof(error)), 0);
		if (read.left_out != 1 || read.count != 1)
			fail_msg("%zu left out of %zu: %s", read.left_out, read.count, shares[i]);
		assert_string_equal(read.shares[0].path, "/a");
		assert_string_equal(read.shares[0].made[0], "/r/a");
		mounts_record_done(&read);
	}
}

static void one_that_cannot_be_written_is_told_and_the_old_one_stays(void **state)
{
	struct mounts_record record = { (char *) "unix:/s", (char *) "/r", NULL, 0, 0 }, read;

	assert_int_equal(mounts_record_write(run_directory(), &record, error, sizeof(error)), 0);
	record.address = (char *) "unix:/\xff";
	assert_int_equal(mounts_record_write(run_directory(), &record, error, sizeof(error)), -EINVAL);
	assert_non_null(strstr(error, "record of mounts"));
	assert_int_equal(mounts_record_write(scratch_path("none"), &record, error, sizeof(error)), -EINVAL);
	record.address = (char *) "unix:/s";
	assert_int_equal(mounts_record_write(scratch_path("none"), &record, error, sizeof(error)), -ENOENT);
	assert_non_null(strstr(error, "cannot write"));
	assert_int_equal(mounts_record_read(run_directory(), &read, error, sizeof(error)), 0);
	assert_string_equal(read.address, "unix:/s");
	mounts_record_done(&read);
}

static void nothing_can_be_given_back(void **state)
{
	struct mounts_record nothing = { 0 };

	mounts_record_done(NULL);
	mounts_record_done(&nothing);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(what_is_written_is_read_again, set_up, tear_down),
		cmocka_unit_test_setup_teardown(the_new_one_takes_the_place_of_the_old_one_and_nothing_stays_beside_it,
		                                set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_path_that_is_no_utf8_is_left_out_and_the_rest_is_written, set_up,
		                                tear_down),
		cmocka_unit_test_setup_teardown(without_a_record_there_is_none, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_broken_record_is_told, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_record_that_others_may_write_is_not_believed, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_share_that_makes_no_sense_is_left_out_and_counted, set_up, tear_down),
		cmocka_unit_test_setup_teardown(one_that_cannot_be_written_is_told_and_the_old_one_stays, set_up,
		                                tear_down),
		cmocka_unit_test(nothing_can_be_given_back),
	};

	return cmocka_run_group_tests_name("record", tests, NULL, NULL);
}
