/* SPDX-License-Identifier: Apache-2.0 */
/* Pieces of directories: taken apart, found again, and refused when they make no sense. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "guest-fuse/mount/known/directory.h"

static uint8_t bytes[8192];
static struct proto_writer writer;

static void start(void)
{
	proto_writer_init(&writer, bytes, sizeof(bytes));
}

static void put(uint64_t cookie, uint64_t node, uint32_t mode, const char *name)
{
	struct proto_dirent dirent = { .cookie = cookie, .node = node, .attr = { .ino = cookie, .mode = mode } };

	dirent.name.length = strlen(name);
	strcpy(dirent.name.text, name);
	proto_put_dirent(&writer, &dirent);
	assert_int_equal(writer.error, 0);
}

static int take(uint64_t after, bool end, struct directory_piece *ret_piece)
{
	return directory_piece_init(bytes, (size_t) (writer.next - bytes), after, &(struct answer){ .since = 1 }, end,
	                            ret_piece);
}

static void entries_come_back_in_order(void **state)
{
	struct directory_piece piece;
	struct proto_dirent dirent;

	start();
	put(10, 0, S_IFDIR, ".");
	put(5, PROTO_ID(1, 4), S_IFREG | 0600, "file");
	put(30, PROTO_ID(1, 5), S_IFDIR | 0700, "dir");
	assert_int_equal(take(0, false, &piece), 0);
	assert_int_equal(piece.count, 3);
	assert_false(piece.items[0].held);
	assert_true(piece.items[1].held);
	directory_piece_entry(&piece, 1, &dirent);
	assert_string_equal(dirent.name.text, "file");
	assert_int_equal(dirent.node, PROTO_ID(1, 4));
	assert_int_equal(dirent.attr.mode, S_IFREG | 0600);
	directory_piece_done(&piece);
}

static void places_are_found_by_their_cookies(void **state)
{
	struct directory_piece piece;

	start();
	put(10, 0, S_IFREG, "a");
	put(5, 0, S_IFREG, "b");
	assert_int_equal(take(77, false, &piece), 0);
	assert_int_equal(directory_piece_find(&piece, 77), 0);
	assert_int_equal(directory_piece_find(&piece, 10), 1);
	/* Behind the last there may be more, which this piece does not have. */
	assert_int_equal(directory_piece_find(&piece, 5), -1);
	assert_int_equal(directory_piece_find(&piece, 0), -1);
	piece.end = true;
	assert_int_equal(directory_piece_find(&piece, 5), 2);
	directory_piece_done(&piece);
	assert_int_equal(directory_piece_find(&piece, 77), -1);
}

static void an_empty_piece_must_be_the_last(void **state)
{
	struct directory_piece piece;

	start();
	assert_int_equal(take(0, false, &piece), -EIO);
	assert_int_equal(take(0, true, &piece), 0);
	assert_int_equal(piece.count, 0);
	assert_int_equal(directory_piece_find(&piece, 0), 0);
	directory_piece_done(&piece);
}

static void refused(uint64_t cookie, uint64_t node, uint32_t mode, const char *name)
{
	struct directory_piece piece;

	start();
	put(1, PROTO_ID(1, 4), S_IFREG, "good");
	put(cookie, node, mode, name);
	assert_int_equal(take(0, true, &piece), -EIO);
}

static void what_makes_no_sense_is_refused(void **state)
{
	refused(0, 0, S_IFREG, "cookie");
	refused(UINT64_MAX, 0, S_IFREG, "cookie");
	refused(2, PROTO_ID(1, 5), 0, "type");
	refused(2, PROTO_ID(1, 5), S_IFREG | 0x10000, "bits");
	refused(2, PROTO_ID(1, 5), S_IFDIR, ".");
	refused(2, PROTO_ID(1, 5), S_IFDIR, "..");
	refused(2, 0, S_IFREG, "a/b");
}

static void every_cut_is_refused(void **state)
{
	size_t whole, first;

	start();
	put(1, PROTO_ID(1, 4), S_IFREG, "first");
	first = (size_t) (writer.next - bytes);
	put(2, PROTO_ID(1, 5), S_IFREG, "second");
	whole = (size_t) (writer.next - bytes);
	for (size_t length = 1; length < whole; length++) {
		struct directory_piece piece;
		int r = directory_piece_init(bytes, length, 0, &(struct answer){ .since = 1 }, true, &piece);

		assert_int_equal(r, length == first ? 0 : -EIO);
		if (r == 0)
			directory_piece_done(&piece);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(entries_come_back_in_order),
		cmocka_unit_test(places_are_found_by_their_cookies),
		cmocka_unit_test(an_empty_piece_must_be_the_last),
		cmocka_unit_test(what_makes_no_sense_is_refused),
		cmocka_unit_test(every_cut_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
