/* SPDX-License-Identifier: Apache-2.0 */
/* OPENDIR, READDIR, SCAN: every entry once, with its attributes and a reference, however many there are. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/fileserver/worker/inside.h"

/* Whatever a request does, nothing stays in use. */
static int tear_down(void **state)
{
	inside_is_idle(*state);
	return inside_tear_down(state);
}

/* Every row that is marked as changing something, with a request of zeros: the mark decides before the handler looks.
 */
static void every_entry_of_a_large_directory_is_listed_once(void **state)
{
	struct share *share = *state;
	struct proto_opendir_reply opened;
	struct proto_readdir_reply more = { 0 };
	struct proto_reader reader;
	struct proto_dirent entry = { 0 };
	static char seen[1500];
	int requests = 1, number, count = 0;
	bool end;

	memset(seen, 0, sizeof(seen));
	for (int i = 0; i < 1500; i++) {
		char name[256];

		/* long, so that they do not fit into one request */
		snprintf(name, sizeof(name), "file%d-%0200d", i, 0);
		share_host_write(share, name, "");
	}
	assert_int_equal(raw_opendir(&share->raw,
	                             &(struct proto_opendir_request){ .node = share->root, .size = PROTO_CHUNK + 5000 },
	                             &opened),
	                 0);
	end = opened.end != 0;
	proto_reader_init(&reader, opened.entries.bytes, opened.entries.length, opened.entries.length);
	for (;;) {
		while (reader.next < reader.end) {
			proto_get_dirent(&reader, &entry);
			assert_int_equal(reader.error, 0);
			if (entry.node == 0)
				continue;
			assert_int_equal(sscanf(entry.name.text, "file%d", &number), 1);
			assert_int_equal(seen[number], 0);
			seen[number] = 1;
			count++;
		}
		if (end)
			break;
		assert_int_equal(raw_readdir(&share->raw,
		                             &(struct proto_readdir_request){ .handle = opened.handle,
		                                                              .cookie = entry.cookie,
		                                                              .size = PROTO_CHUNK + 5000 },
		                             &more),
		                 0);
		end = more.end != 0;
		requests++;
		proto_reader_init(&reader, more.entries.bytes, more.entries.length, more.entries.length);
	}
	assert_int_equal(count, 1500);
	assert_int_equal(requests, 2);
}

static int open_directory(struct share *share, uint64_t node, uint32_t size, struct proto_opendir_reply *ret_reply)
{
	struct proto_opendir_request request = { .node = node, .size = size };

	return raw_opendir(&share->raw, &request, ret_reply);
}

static int read_on(struct share *share, uint64_t handle, uint64_t cookie, uint32_t size,
                   struct proto_readdir_reply *ret_reply)
{
	struct proto_readdir_request request = { .handle = handle, .cookie = cookie, .size = size };

	return raw_readdir(&share->raw, &request, ret_reply);
}

/* The entry of that name; fails the test when it is not among them once, or is although it should not be. */
static struct proto_dirent find(const struct proto_data *entries, const char *name, unsigned times)
{
	struct proto_dirent entry, found = { 0 };
	struct proto_reader reader;
	unsigned seen = 0;

	proto_reader_init(&reader, entries->bytes, entries->length, entries->length);
	while (reader.next < reader.end) {
		proto_get_dirent(&reader, &entry);
		assert_int_equal(reader.error, 0);
		if (strcmp(entry.name.text, name) == 0) {
			found = entry;
			seen++;
		}
	}
	assert_int_equal(seen, times);
	return found;
}

static void entries_come_with_their_attributes_and_a_reference(void **state)
{
	struct share *share = *state;
	struct proto_opendir_reply opened;
	struct proto_dirent entry;

	share_host_write(share, "a", "content");
	assert_int_equal(symlinkat("a", share->host, "link"), 0);
	assert_int_equal(open_directory(share, share->root, 65536, &opened), 0);
	assert_int_equal(opened.end, 1);
	entry = find(&opened.entries, "a", 1);
	assert_int_equal(entry.attr.size, 7);
	assert_true(entry.attr.ino == inside_stat(share, "a").st_ino);
	assert_int_equal(inside_references(share, entry.node), 1);
	assert_true(inside_look_up(share, share->root, "a") == entry.node);
	entry = find(&opened.entries, "link", 1);
	assert_true(S_ISLNK(entry.attr.mode));
}

static void what_is_above_the_share_is_nobodys_business(void **state)
{
	struct share *share = *state;
	struct proto_opendir_reply opened;
	struct proto_dirent dot, dots;

	assert_int_equal(mkdirat(share->host, "d", 0755), 0);
	assert_int_equal(open_directory(share, share->root, 65536, &opened), 0);
	dot = find(&opened.entries, ".", 1);
	dots = find(&opened.entries, "..", 1);
	assert_true(dot.node == 0 && dots.node == 0);
	assert_true(dot.attr.ino == inside_stat(share, ".").st_ino);
	assert_true(dots.attr.ino == dot.attr.ino);
	assert_int_equal(open_directory(share, inside_look_up(share, share->root, "d"), 65536, &opened), 0);
	dots = find(&opened.entries, "..", 1);
	assert_true(dots.attr.ino == inside_stat(share, ".").st_ino);
	assert_true(S_ISDIR(dots.attr.mode));
}

static void reading_goes_on_after_any_entry(void **state)
{
	struct share *share = *state;
	struct proto_opendir_reply opened;
	struct proto_readdir_reply reply;
	char name[16];
	uint64_t after;

	for (int i = 0; i < 20; i++) {
		snprintf(name, sizeof(name), "f%d", i);
		share_host_write(share, name, "");
	}
	assert_int_equal(open_directory(share, share->root, 65536, &opened), 0);
	after = find(&opened.entries, "f7", 1).cookie;
	assert_int_equal(read_on(share, opened.handle, after, 65536, &reply), 0);
	assert_int_equal(reply.end, 1);
	find(&reply.entries, "f7", 0);
	/* and from the start again, where also what was made meanwhile is seen */
	share_host_write(share, "late", "");
	assert_int_equal(read_on(share, opened.handle, 0, 65536, &reply), 0);
	find(&reply.entries, "f7", 1);
	find(&reply.entries, "late", 1);
	assert_int_equal(read_on(share, opened.handle, (uint64_t) INT64_MAX + 1, 65536, &reply), -EINVAL);
}

static void there_must_be_room_for_one_entry(void **state)
{
	struct share *share = *state;
	struct proto_opendir_reply opened;
	struct proto_readdir_reply reply;
	uint64_t handles = proto_counter_get(&share->counters.handles);

	assert_int_equal(open_directory(share, share->root, PROTO_DIRENT_MAX - 1, &opened), -EINVAL);
	assert_int_equal(proto_counter_get(&share->counters.handles), handles);
	assert_int_equal(open_directory(share, share->root, PROTO_DIRENT_MAX, &opened), 0);
	assert_int_equal(opened.end, 0);
	assert_true(opened.entries.length > 0 && opened.entries.length <= PROTO_DIRENT_MAX);
	assert_int_equal(read_on(share, opened.handle, 0, PROTO_DIRENT_MAX - 1, &reply), -EINVAL);
}

static void a_removed_directory_ends_at_once(void **state)
{
	struct share *share = *state;
	struct proto_opendir_reply opened;
	struct proto_readdir_reply reply;

	assert_int_equal(mkdirat(share->host, "d", 0755), 0);
	assert_int_equal(open_directory(share, inside_look_up(share, share->root, "d"), 65536, &opened), 0);
	assert_int_equal(raw_rmdir(&share->raw, &(struct proto_rmdir_request){ share->root, raw_name("d") },
	                           &(struct proto_rmdir_reply){}),
	                 0);
	assert_int_equal(read_on(share, opened.handle, 0, 65536, &reply), 0);
	assert_int_equal(reply.end, 1);
	assert_int_equal(reply.entries.length, 0);
}

static void a_directory_without_a_descriptor_to_spare_is_not_opened(void **state)
{
	struct share *share = *state;
	struct proto_opendir_reply opened;

	for (int i = 0; i < 4; i++)
		assert_int_equal(open_directory(share, share->root, 65536, &opened), 0);
	assert_int_equal(open_directory(share, share->root, 65536, &opened), -ENFILE);
	assert_int_equal(proto_counter_get(&share->counters.handles), 4);
}

static int set_up_small(void **state)
{
	*state = share_new(0, 4);
	return *state == NULL ? -1 : 0;
}

/* As on a local file system, where the owner reads what root reads. */
static void an_entry_that_cannot_be_looked_at_has_number_and_type(void **state)
{
	struct share *share = *state;
	struct proto_opendir_reply opened;
	struct proto_dirent entry;
	struct stat st;

	inside_session(share)->config.flags = PROTO_HELLO_PERMISSIONS_HOST;
	assert_int_equal(mkdirat(share->host, "d", 0755), 0);
	share_host_write(share, "d/a", "content");
	st = inside_stat(share, "d/a");
	assert_int_equal(fchmodat(share->host, "d", 0400, 0), 0);
	assert_int_equal(open_directory(share, inside_look_up(share, share->root, "d"), 65536, &opened), 0);
	entry = find(&opened.entries, "a", 1);
	assert_true(entry.node == 0);
	assert_true(entry.attr.ino == st.st_ino);
	assert_int_equal(entry.attr.mode, S_IFREG);
	assert_int_equal(entry.attr.size, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, inside_set_up, tear_down)

static int scan(struct share *share, uint64_t node, uint32_t most, struct proto_scan_reply *ret_reply)
{
	return raw_scan(&share->raw, &(struct proto_scan_request){ .node = node, .most = most, .size = PROTO_DATA_MAX },
	                ret_reply);
}

/* What was changed just now may be changed again without another time: nothing is concluded from that. */
static void settle(void)
{
	usleep(1100000);
}

static void a_scan_brings_all_entries_and_says_so(void **state)
{
	struct share *share = *state;
	struct proto_scan_reply reply;
	struct stat before, after;
	struct proto_dirent entry;

	share_host_write(share, "a", "content");
	assert_int_equal(mkdirat(share->host, "d", 0755), 0);
	assert_int_equal(scan(share, share->root, 64, &reply), 0);
	assert_int_equal(reply.whole, 0);
	settle();
	before = inside_stat(share, ".");
	assert_int_equal(scan(share, share->root, 64, &reply), 0);
	assert_int_equal(reply.whole, 1);
	assert_int_equal(reply.count, 4);
	after = inside_stat(share, ".");
	assert_memory_equal(&before.st_atim, &after.st_atim, sizeof(before.st_atim));
	entry = find(&reply.entries, "a", 1);
	assert_int_equal(entry.attr.size, 7);
	assert_int_equal(inside_references(share, entry.node), 2);
	assert_true(find(&reply.entries, ".", 1).node == 0);
	find(&reply.entries, "b", 0);
	assert_int_equal(scan(share, find(&reply.entries, "d", 1).node, 64, &reply), 0);
	assert_int_equal(reply.whole, 1);
	assert_int_equal(reply.count, 2);
}

static void a_scan_of_too_many_entries_brings_none(void **state)
{
	struct share *share = *state;
	struct proto_scan_reply reply;
	char name[256];

	for (int i = 0; i < 1500; i++) {
		snprintf(name, sizeof(name), "%d-%0200d", i, 0);
		share_host_write(share, name, "");
	}
	settle();
	assert_int_equal(scan(share, share->root, 1501, &reply), 0);
	assert_true(reply.count > 1501 && reply.count <= 1502);
	assert_int_equal(reply.entries.length, 0);
	assert_int_equal(reply.whole, 0);
	assert_int_equal(scan(share, share->root, 64, &reply), 0);
	assert_true(reply.count > 64 && reply.count <= 1502);
	/* in several frames */
	assert_int_equal(scan(share, share->root, 1502, &reply), 0);
	assert_int_equal(reply.count, 1502);
	assert_int_equal(reply.whole, 1);
	assert_true(reply.entries.length > PROTO_CHUNK);
	snprintf(name, sizeof(name), "1499-%0200d", 0);
	find(&reply.entries, name, 1);
	/* where there is no room for all, no name is missing */
	assert_int_equal(raw_scan(&share->raw,
	                          &(struct proto_scan_request){ .node = share->root, .most = 1502, .size = 100000 },
	                          &reply),
	                 0);
	assert_int_equal(reply.whole, 0);
	assert_true(reply.entries.length > 90000 && reply.entries.length <= 100000);
	assert_int_equal(raw_scan(&share->raw,
	                          &(struct proto_scan_request){ .node = share->root, .most = 1, .size = 10 }, &reply),
	                 -EINVAL);
}

static void a_scan_is_refused_where_it_would_tell_more_than_names_asked_for(void **state)
{
	struct share *share = *state;
	struct proto_scan_reply reply;
	uint64_t node;

	share_host_write(share, "a", "");
	assert_int_equal(scan(share, inside_look_up(share, share->root, "a"), 64, &reply), -ENOTDIR);
	assert_int_equal(scan(share, PROTO_ID(1000, 1), 64, &reply), -ESTALE);
	assert_int_equal(mkdirat(share->host, "d", 0755), 0);
	node = inside_look_up(share, share->root, "d");
	assert_int_equal(unlinkat(share->host, "d", AT_REMOVEDIR), 0);
	settle();
	/* Names in it are nothing that is missing: its own name may lead to another directory. */
	assert_true(scan(share, node, 64, &reply) < 0 || reply.whole == 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_scan_brings_all_entries_and_says_so),
		TEST(a_scan_of_too_many_entries_brings_none),
		TEST(a_scan_is_refused_where_it_would_tell_more_than_names_asked_for),
		TEST(every_entry_of_a_large_directory_is_listed_once),
		TEST(entries_come_with_their_attributes_and_a_reference),
		TEST(what_is_above_the_share_is_nobodys_business),
		TEST(reading_goes_on_after_any_entry),
		TEST(there_must_be_room_for_one_entry),
		TEST(a_removed_directory_ends_at_once),
		cmocka_unit_test_setup_teardown(a_directory_without_a_descriptor_to_spare_is_not_opened, set_up_small,
		                                tear_down),
		cmocka_unit_test_setup_teardown(an_entry_that_cannot_be_looked_at_has_number_and_type,
		                                inside_set_up_unprivileged, share_tear_down_unprivileged),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
