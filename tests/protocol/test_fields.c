/* SPDX-License-Identifier: Apache-2.0 */
/* What a peer may not send: every kind of field refuses it, without breaking the frame or breaking it, as it says. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "protocol/messages.h"

/* A LOOKUP whose name has these bytes: what decoding says. */
static int lookup_of(const char *name, size_t length)
{
	static uint8_t bytes[70000];
	struct proto_lookup_request request;
	struct proto_reader reader;

	memset(bytes, 0, 8);
	bytes[8] = (uint8_t) length;
	bytes[9] = (uint8_t) (length >> 8);
	memcpy(bytes + 10, name, length);
	proto_reader_init(&reader, bytes, 10 + length, 10 + length);
	return proto_decode_lookup_request(&reader, &request);
}

static void names_that_would_leave_a_directory_are_refused(void **state)
{
	static const char *const bad[] = { "", ".", "..", "/", "a/b", "/etc", "../x", "a/" };

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(lookup_of(bad[i], strlen(bad[i])), -EINVAL);
	assert_int_equal(lookup_of("a\0b", 3), -EINVAL);
	assert_int_equal(lookup_of("\0", 1), -EINVAL);
}

static void names_of_any_other_bytes_are_kept(void **state)
{
	static const char *const good[] = { "a",        "...",       "..a",    ".hidden", "\xff\xfe",
		                            "\xc0\xaf", "new\nline", "a,b\\c", " " };

	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
		assert_int_equal(lookup_of(good[i], strlen(good[i])), 0);
}

static void names_of_256_bytes_and_more_are_too_long(void **state)
{
	static char name[65535];

	memset(name, 'n', sizeof(name));
	assert_int_equal(lookup_of(name, 255), 0);
	assert_int_equal(lookup_of(name, 256), -ENAMETOOLONG);
	assert_int_equal(lookup_of(name, 4096), -ENAMETOOLONG);
	assert_int_equal(lookup_of(name, 65535), -ENAMETOOLONG);
}

static int open_with(uint32_t flags, bool *ret_change)
{
	uint8_t bytes[64];
	struct proto_open_request request = { .node = 1, .flags = flags };
	struct proto_writer writer;
	struct proto_reader reader;
	int r;

	proto_writer_init(&writer, bytes, sizeof(bytes));
	assert_int_equal(proto_encode_open_request(&writer, &request), 0);
	proto_reader_init(&reader, bytes, (size_t) (writer.next - bytes), (size_t) (writer.next - bytes));
	r = proto_decode_open_request(&reader, &request);
	*ret_change = reader.wants_change;
	return r;
}

static void open_flags_are_a_whitelist_and_add_the_write_right(void **state)
{
	bool change;

	assert_int_equal(open_with(PROTO_OPEN_READ, &change), 0);
	assert_false(change);
	assert_int_equal(open_with(PROTO_OPEN_READ | PROTO_OPEN_TRUNCATE, &change), 0);
	assert_true(change);
	assert_int_equal(open_with(PROTO_OPEN_WRITE, &change), 0);
	assert_true(change);
	assert_int_equal(open_with(0, &change), -EINVAL);
	assert_int_equal(open_with(PROTO_OPEN_TRUNCATE, &change), -EINVAL);
	for (int bit = 7; bit < 32; bit++)
		assert_int_equal(open_with(PROTO_OPEN_READ | (1U << bit), &change), -EINVAL);
}

static int decode_u32_kind(void (*get)(struct proto_reader *, uint32_t *), uint32_t value)
{
	uint8_t bytes[4] = { (uint8_t) value, (uint8_t) (value >> 8), (uint8_t) (value >> 16),
		             (uint8_t) (value >> 24) };
	struct proto_reader reader;
	uint32_t back;

	proto_reader_init(&reader, bytes, 4, 4);
	get(&reader, &back);
	return proto_reader_done(&reader);
}

static void flag_words_allow_what_the_table_names_and_nothing_else(void **state)
{
	for (uint32_t value = 0; value < 64; value++) {
		assert_int_equal(decode_u32_kind(proto_get_rename_flags, value),
		                 value <= 2 || value == 4 || value == 5 ? 0 : -EINVAL);
		assert_int_equal(decode_u32_kind(proto_get_xattr_flags, value), value <= 2 ? 0 : -EINVAL);
		assert_int_equal(decode_u32_kind(proto_get_write_flags, value), value <= 15 ? 0 : -EINVAL);
		assert_int_equal(decode_u32_kind(proto_get_fallocate_mode, value),
		                 value == 0 || value == 1 || value == 3 || value == 16 || value == 17 ? 0 : -EINVAL);
	}
	assert_int_equal(decode_u32_kind(proto_get_mode, S_IFREG | 07777), 0);
	assert_int_equal(decode_u32_kind(proto_get_mode, S_IFIFO | 0644), 0);
	assert_int_equal(decode_u32_kind(proto_get_mode, 0030000), -EINVAL);
	assert_int_equal(decode_u32_kind(proto_get_mode, S_IFREG | 0x10000), -EINVAL);
}

static int share_of(const char *path)
{
	static char bytes[PROTO_SHARE_SIZE];
	struct proto_share share;
	struct proto_reader reader;

	memset(bytes, 0, sizeof(bytes));
	memcpy(bytes, path, strlen(path));
	proto_reader_init(&reader, bytes, sizeof(bytes), sizeof(bytes));
	proto_get_share(&reader, &share);
	return proto_reader_done(&reader);
}

static void share_paths_are_absolute_and_plain(void **state)
{
	static const char *const bad[] = { "", "a", "a/b", "/a/../b", "/..", "/.", "/a/.", "//", "/a//b", "/a/" };

	assert_int_equal(share_of("/"), 0);
	assert_int_equal(share_of("/home/me/proj"), 0);
	assert_int_equal(share_of("/..a/.b/c.."), 0);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(share_of(bad[i]), -EINVAL);
}

static void a_share_path_without_its_nul_or_with_bytes_behind_it_is_refused(void **state)
{
	static char bytes[PROTO_SHARE_SIZE];
	struct proto_share share;
	struct proto_reader reader;

	memset(bytes, 'a', sizeof(bytes));
	bytes[0] = '/';
	proto_reader_init(&reader, bytes, sizeof(bytes), sizeof(bytes));
	proto_get_share(&reader, &share);
	assert_int_equal(proto_reader_done(&reader), -EINVAL);
	memset(bytes + 2, 0, sizeof(bytes) - 2);
	bytes[100] = 'x';
	proto_reader_init(&reader, bytes, sizeof(bytes), sizeof(bytes));
	proto_get_share(&reader, &share);
	assert_int_equal(proto_reader_done(&reader), -EINVAL);
}

static void lengths_beyond_the_frame_never_reach_past_it(void **state)
{
	uint8_t bytes[8] = { 0xff, 0xff, 0xff, 0xff };
	struct proto_reader reader;
	struct proto_blob blob;
	struct proto_data data;
	struct proto_forgets forgets;

	proto_reader_init(&reader, bytes, sizeof(bytes), sizeof(bytes));
	proto_get_blob(&reader, &blob);
	assert_int_equal(reader.error, -EBADMSG);
	assert_null(blob.bytes);
	proto_reader_init(&reader, bytes, sizeof(bytes), sizeof(bytes));
	proto_get_data(&reader, &data);
	assert_int_equal(reader.error, -EBADMSG);
	assert_int_equal(data.length, 0);
	proto_reader_init(&reader, bytes, sizeof(bytes), sizeof(bytes));
	proto_get_forgets(&reader, &forgets);
	assert_int_equal(reader.error, -EBADMSG);
	assert_int_equal(forgets.count, 0);
}

static void offsets_and_times_stay_in_their_ranges(void **state)
{
	uint8_t bytes[12];
	struct proto_reader reader;
	struct proto_time time;
	uint64_t offset;

	memset(bytes, 0xff, sizeof(bytes));
	proto_reader_init(&reader, bytes, 8, 8);
	proto_get_offset(&reader, &offset);
	assert_int_equal(proto_reader_done(&reader), -EINVAL);
	proto_reader_init(&reader, bytes, 12, 12);
	proto_get_time(&reader, &time);
	assert_int_equal(proto_reader_done(&reader), -EINVAL);
	memset(bytes + 8, 0, 4);
	proto_reader_init(&reader, bytes, 12, 12);
	proto_get_time(&reader, &time);
	assert_int_equal(proto_reader_done(&reader), 0);
	assert_true(time.seconds == -1);
}

static void a_directory_entry_may_be_a_dot_but_never_holds_a_slash(void **state)
{
	uint8_t bytes[PROTO_DIRENT_MAX];
	struct proto_dirent entry = { .cookie = 1, .name = { .length = 2, .text = ".." } }, back;
	struct proto_writer writer;
	struct proto_reader reader;

	proto_writer_init(&writer, bytes, sizeof(bytes));
	proto_put_dirent(&writer, &entry);
	proto_reader_init(&reader, bytes, (size_t) (writer.next - bytes), (size_t) (writer.next - bytes));
	proto_get_dirent(&reader, &back);
	assert_int_equal(proto_reader_done(&reader), 0);
	writer.next[-1] = '/';
	proto_reader_init(&reader, bytes, (size_t) (writer.next - bytes), (size_t) (writer.next - bytes));
	proto_get_dirent(&reader, &back);
	assert_int_equal(proto_reader_done(&reader), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names_that_would_leave_a_directory_are_refused),
		cmocka_unit_test(names_of_any_other_bytes_are_kept),
		cmocka_unit_test(names_of_256_bytes_and_more_are_too_long),
		cmocka_unit_test(open_flags_are_a_whitelist_and_add_the_write_right),
		cmocka_unit_test(flag_words_allow_what_the_table_names_and_nothing_else),
		cmocka_unit_test(share_paths_are_absolute_and_plain),
		cmocka_unit_test(a_share_path_without_its_nul_or_with_bytes_behind_it_is_refused),
		cmocka_unit_test(lengths_beyond_the_frame_never_reach_past_it),
		cmocka_unit_test(offsets_and_times_stay_in_their_ranges),
		cmocka_unit_test(a_directory_entry_may_be_a_dot_but_never_holds_a_slash),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
