/* SPDX-License-Identifier: Apache-2.0 */
/* What the server says of an object, in the kernel's form; a mode that is none is refused. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "guest-fuse/mount/known/attributes.h"

static int check(uint32_t mode)
{
	struct proto_attr attr = { .mode = mode };

	return attributes_check(&attr);
}

static void only_modes_that_there_are_reach_the_kernel(void **state)
{
	static const uint32_t types[] = { S_IFREG, S_IFDIR, S_IFLNK, S_IFIFO, S_IFSOCK, S_IFBLK, S_IFCHR };

	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
		assert_int_equal(check(types[i]), 0);
		assert_int_equal(check(types[i] | 07777), 0);
		assert_int_equal(check(types[i] | 0x10000), -EIO);
		assert_int_equal(check(types[i] | 0x80000000), -EIO);
	}
	assert_int_equal(check(0), -EIO);
	assert_int_equal(check(0644), -EIO);
	assert_int_equal(check(S_IFMT), -EIO);
	assert_int_equal(check(030000 | 0644), -EIO);
}

static void every_field_is_in_its_place(void **state)
{
	const struct proto_attr attr = {
		.ino = 11,
		.size = 12,
		.blocks = 13,
		.mode = S_IFREG | 0640,
		.nlink = 14,
		.uid = 15,
		.gid = 16,
		.rdev = 17,
		.atime = { 20, 21 },
		.mtime = { 22, 23 },
		.ctime = { -24, 25 },
	};
	struct stat st;

	attributes_to_stat(&attr, 4096, &st);
	assert_int_equal(st.st_ino, 11);
	assert_int_equal(st.st_size, 12);
	assert_int_equal(st.st_blocks, 13);
	assert_int_equal(st.st_mode, S_IFREG | 0640);
	assert_int_equal(st.st_nlink, 14);
	assert_int_equal(st.st_uid, 15);
	assert_int_equal(st.st_gid, 16);
	assert_int_equal(st.st_rdev, 17);
	assert_int_equal(st.st_blksize, 4096);
	assert_true(st.st_atim.tv_sec == 20 && st.st_atim.tv_nsec == 21);
	assert_true(st.st_mtim.tv_sec == 22 && st.st_mtim.tv_nsec == 23);
	assert_true(st.st_ctim.tv_sec == -24 && st.st_ctim.tv_nsec == 25);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(only_modes_that_there_are_reach_the_kernel),
		cmocka_unit_test(every_field_is_in_its_place),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
