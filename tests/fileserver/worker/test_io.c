/* SPDX-License-Identifier: Apache-2.0 */
/* READ, WRITE, RELEASE, FSYNC, FALLOCATE, LSEEK and COPY_RANGE. */
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

#include "fileserver/worker/operations/io.h"
#include "tests/fileserver/worker/inside.h"

/* Whatever a request does, nothing stays in use. */
static int tear_down(void **state)
{
	inside_is_idle(*state);
	return inside_tear_down(state);
}

static void what_is_written_is_on_the_host_and_reads_back(void **state)
{
	struct share *share = *state;
	struct proto_create_reply created;
	char bytes[64];
	struct stat st;
	int fd;

	assert_int_equal(share_create(share, share->root, "new", PROTO_OPEN_READ | PROTO_OPEN_WRITE, 0640, &created),
	                 0);
	assert_int_equal(share_write(share, created.handle, 3, "hello", 5, 0), 5);
	assert_int_equal(share_read(share, created.handle, 0, bytes, sizeof(bytes)), 8);
	assert_memory_equal(bytes, "\0\0\0hello", 8);
	fd = openat(share->host, "new", O_RDONLY);
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(st.st_mode, S_IFREG | 0640);
	assert_int_equal(read(fd, bytes, sizeof(bytes)), 8);
	assert_memory_equal(bytes, "\0\0\0hello", 8);
	close(fd);
}

static void transfers_of_a_mebibyte_arrive_whole_in_both_directions(void **state)
{
	struct share *share = *state;
	struct proto_create_reply created;
	uint8_t *out = malloc(PROTO_DATA_MAX), *in = malloc(PROTO_DATA_MAX);

	for (size_t i = 0; i < PROTO_DATA_MAX; i++)
		out[i] = (uint8_t) (i * 2654435761U >> 13);
	assert_int_equal(share_create(share, share->root, "big", PROTO_OPEN_READ | PROTO_OPEN_WRITE, 0644, &created),
	                 0);
	assert_int_equal(share_write(share, created.handle, 0, out, PROTO_DATA_MAX, 0), PROTO_DATA_MAX);
	assert_int_equal(share_read(share, created.handle, 0, in, PROTO_DATA_MAX), PROTO_DATA_MAX);
	assert_memory_equal(in, out, PROTO_DATA_MAX);
	/* ends in the middle of a frame, at a frame's end, and before it begins */
	assert_int_equal(share_read(share, created.handle, PROTO_DATA_MAX - 1000, in, PROTO_DATA_MAX), 1000);
	assert_int_equal(share_read(share, created.handle, PROTO_DATA_MAX - PROTO_CHUNK, in, PROTO_DATA_MAX),
	                 PROTO_CHUNK);
	assert_int_equal(share_read(share, created.handle, PROTO_DATA_MAX, in, PROTO_DATA_MAX), 0);
	free(out);
	free(in);
}

static void appending_goes_to_the_end_that_the_host_has(void **state)
{
	struct share *share = *state;
	struct proto_create_reply created;
	char bytes[32];

	share_host_write(share, "log", "host line\n");
	assert_int_equal(share_create(share, share->root, "log", PROTO_OPEN_READ | PROTO_OPEN_WRITE, 0644, &created),
	                 0);
	assert_int_equal(share_write(share, created.handle, 0, "guest\n", 6, PROTO_WRITE_APPEND), 6);
	assert_int_equal(share_read(share, created.handle, 0, bytes, sizeof(bytes)), 16);
	assert_memory_equal(bytes, "host line\nguest\n", 16);
}

static void numbers_at_the_edge_are_errors_and_not_wraps(void **state)
{
	struct share *share = *state;
	struct proto_create_reply created;
	struct proto_fallocate_reply allocated;
	char bytes[8];

	assert_int_equal(share_create(share, share->root, "a", PROTO_OPEN_READ | PROTO_OPEN_WRITE, 0644, &created), 0);
	assert_int_equal(share_read(share, created.handle, INT64_MAX, bytes, 8), -EINVAL);
	assert_int_equal(share_read(share, created.handle, 0, bytes, UINT32_MAX), -EINVAL);
	assert_int_equal(share_write(share, created.handle, INT64_MAX, "abc", 3, 0), -EFBIG);
	assert_int_equal(raw_fallocate(&share->raw,
	                               &(struct proto_fallocate_request){
	                                       .handle = created.handle, .offset = INT64_MAX, .length = INT64_MAX },
	                               &allocated),
	                 -EFBIG);
}

/* In place of the C library's: how often they were called. */
static _Atomic unsigned whole, data_only;

int fsync(int fd)
{
	atomic_fetch_add(&whole, 1);
	return 0;
}

int fdatasync(int fd)
{
	atomic_fetch_add(&data_only, 1);
	return 0;
}

/* An empty file that is open for both. */
static uint64_t make(struct share *share, const char *name, uint32_t mode, uint64_t *ret_node)
{
	struct proto_create_reply created;

	assert_int_equal(share_create(share, share->root, name, PROTO_OPEN_READ | PROTO_OPEN_WRITE, mode, &created), 0);
	if (ret_node != NULL)
		*ret_node = created.entry.node;
	return created.handle;
}

static uint32_t mode_of(struct share *share, uint64_t node)
{
	struct proto_getattr_reply reply;

	assert_int_equal(raw_getattr(&share->raw, &(struct proto_getattr_request){ .node = node }, &reply), 0);
	return reply.attr.mode & 07777;
}

static void the_first_bytes_are_those_that_are_there(void **state)
{
	struct share *share = *state;
	uint8_t data[16];
	struct call call = { .session = inside_session(share), .data = data, .data_size = sizeof(data) };
	struct proto_data first;
	int fd;

	share_host_write(share, "a", "content");
	fd = openat(share->host, "a", O_RDONLY | O_CLOEXEC);
	io_read_first(&call, fd, 4, &first);
	assert_int_equal(first.length, 4);
	assert_memory_equal(first.bytes, "cont", 4);
	io_read_first(&call, fd, 16, &first);
	assert_int_equal(first.length, 7);
	io_read_first(&call, fd, 0, &first);
	assert_int_equal(first.length, 0);
	close(fd);
	/* What cannot be read is for READ to say. */
	io_read_first(&call, share->host, 16, &first);
	assert_int_equal(first.length, 0);
	io_read_first(&call, -EBADF, 16, &first);
	assert_int_equal(first.length, 0);
}

static void writing_tells_the_size_and_takes_setuid_away_when_it_should(void **state)
{
	struct share *share = *state;
	uint64_t node, handle = make(share, "a", 04755, &node);
	struct proto_write_request request = { .handle = handle,
		                               .offset = 2,
		                               .data = { .length = 3, .available = 3, .bytes = "abc" } };
	struct proto_write_reply reply;

	assert_int_equal(raw_write(&share->raw, &request, &reply), 0);
	assert_int_equal(reply.written, 3);
	assert_int_equal(reply.attr.size, 5);
	assert_int_equal(mode_of(share, node), 04755);
	request.flags = PROTO_WRITE_KILL_PRIVILEGES;
	assert_int_equal(raw_write(&share->raw, &request, &reply), 0);
	assert_int_equal(reply.attr.mode & 07777, 0755);
	/* nothing is written, and nothing goes wrong */
	request.data = (struct proto_data){ .length = 0, .available = 0, .bytes = "" };
	assert_int_equal(raw_write(&share->raw, &request, &reply), 0);
	assert_int_equal(reply.written, 0);
	assert_int_equal(inside_stat(share, "a").st_size, 5);
}

static void a_full_disk_takes_nothing(void **state)
{
	struct share *share = *state;
	uint64_t handle = make(share, "a", 0644, NULL), from = make(share, "b", 0644, NULL);
	struct proto_fallocate_request allocate = { .handle = handle, .length = 4096 };
	struct proto_copy_range_request copy = { .handle_in = from, .handle_out = handle, .length = 4 };

	assert_int_equal(share_write(share, from, 0, "data", 4, 0), 4);
	inside_fill_disk(share);
	assert_int_equal(share_write(share, handle, 0, "x", 1, 0), -ENOSPC);
	assert_int_equal(raw_fallocate(&share->raw, &allocate, &(struct proto_fallocate_reply){}), -ENOSPC);
	assert_int_equal(raw_copy_range(&share->raw, &copy, &(struct proto_copy_range_reply){}), -ENOSPC);
	/* a hole gives room */
	allocate.mode = PROTO_FALLOCATE_PUNCH_HOLE | PROTO_FALLOCATE_KEEP_SIZE;
	assert_int_equal(raw_fallocate(&share->raw, &allocate, &(struct proto_fallocate_reply){}), 0);
	inside_empty_disk(share);
	assert_int_equal(inside_stat(share, "a").st_size, 0);
}

static void a_released_handle_leads_nowhere(void **state)
{
	struct share *share = *state;
	uint64_t handle = make(share, "a", 0644, NULL);
	char bytes[4];

	raw_release(&share->raw, &(struct proto_release_request){ handle }, &(struct proto_release_reply){});
	assert_int_equal(share_read(share, handle, 0, bytes, sizeof(bytes)), -EBADF);
	assert_int_equal(proto_counter_get(&share->counters.handles), 0);
	raw_release(&share->raw, &(struct proto_release_request){ handle }, &(struct proto_release_reply){});
	assert_int_equal(share_read(share, handle, 0, bytes, sizeof(bytes)), -EBADF);
}

static void room_is_allocated_and_taken_away(void **state)
{
	struct share *share = *state;
	uint64_t node, handle = make(share, "a", 04755, &node);
	struct proto_fallocate_request request = { .handle = handle, .offset = 4096, .length = 4096 };
	struct proto_fallocate_reply reply;
	char bytes[8];

	assert_int_equal(raw_fallocate(&share->raw, &request, &reply), 0);
	assert_int_equal(reply.attr.size, 8192);
	assert_int_equal(reply.attr.mode & 07777, 0755);
	request.mode = PROTO_FALLOCATE_KEEP_SIZE;
	request.offset = 65536;
	assert_int_equal(raw_fallocate(&share->raw, &request, &reply), 0);
	assert_int_equal(reply.attr.size, 8192);
	assert_int_equal(share_write(share, handle, 4096, "content", 7, 0), 7);
	request.mode = PROTO_FALLOCATE_PUNCH_HOLE | PROTO_FALLOCATE_KEEP_SIZE;
	request.offset = 4096;
	assert_int_equal(raw_fallocate(&share->raw, &request, &reply), 0);
	assert_int_equal(share_read(share, handle, 4096, bytes, 7), 7);
	assert_memory_equal(bytes, "\0\0\0\0\0\0\0", 7);
	request.length = 0;
	request.mode = 0;
	assert_int_equal(raw_fallocate(&share->raw, &request, &reply), -EINVAL);
}

static int seek(struct share *share, uint64_t handle, uint64_t offset, uint32_t whence, uint64_t *ret_offset)
{
	struct proto_lseek_request request = { .handle = handle, .offset = offset, .whence = whence };
	struct proto_lseek_reply reply;
	int r = raw_lseek(&share->raw, &request, &reply);

	if (r == 0)
		*ret_offset = reply.offset;
	return r;
}

static void data_and_holes_are_found(void **state)
{
	struct share *share = *state;
	uint64_t handle = make(share, "a", 0644, NULL), at = 0;

	assert_int_equal(share_write(share, handle, 1 << 20, "x", 1, 0), 1);
	assert_int_equal(seek(share, handle, 0, SEEK_DATA, &at), 0);
	assert_true(at > 0 && at <= 1 << 20);
	assert_int_equal(seek(share, handle, 0, SEEK_HOLE, &at), 0);
	assert_true(at == 0);
	assert_int_equal(seek(share, handle, 1 << 20, SEEK_HOLE, &at), 0);
	assert_true(at == (1 << 20) + 1);
	assert_int_equal(seek(share, handle, 2 << 20, SEEK_DATA, &at), -ENXIO);
	/* the position is the guest's kernel's business */
	assert_int_equal(seek(share, handle, 0, SEEK_SET, &at), -EINVAL);
	assert_int_equal(seek(share, handle, 0, SEEK_END, &at), -EINVAL);
}

static void ranges_are_copied_from_one_file_to_another(void **state)
{
	struct share *share = *state;
	uint64_t from = make(share, "from", 0644, NULL), to = make(share, "to", 04755, NULL);
	struct proto_copy_range_request request = {
		.handle_in = from, .offset_in = 2, .handle_out = to, .offset_out = 1, .length = 100
	};
	struct proto_copy_range_reply reply;
	char bytes[16];

	assert_int_equal(share_write(share, from, 0, "0123456", 7, 0), 7);
	assert_int_equal(raw_copy_range(&share->raw, &request, &reply), 0);
	assert_int_equal(reply.copied, 5);
	assert_int_equal(reply.attr.size, 6);
	assert_int_equal(reply.attr.mode & 07777, 0755);
	assert_int_equal(share_read(share, to, 0, bytes, sizeof(bytes)), 6);
	assert_memory_equal(bytes,
	                    "\0"
	                    "23456",
	                    6);
	request.offset_in = 100;
	assert_int_equal(raw_copy_range(&share->raw, &request, &reply), 0);
	assert_int_equal(reply.copied, 0);
}

static void files_and_directories_are_brought_to_the_disk(void **state)
{
	struct share *share = *state;
	uint64_t handle = make(share, "a", 0644, NULL);
	struct proto_fsync_request request = { .handle = handle };
	struct proto_opendir_reply opened;

	atomic_store(&whole, 0);
	assert_int_equal(raw_fsync(&share->raw, &request, &(struct proto_fsync_reply){}), 0);
	assert_true(atomic_load(&whole) == 1 && atomic_load(&data_only) == 0);
	request.datasync = 1;
	assert_int_equal(raw_fsync(&share->raw, &request, &(struct proto_fsync_reply){}), 0);
	assert_true(atomic_load(&whole) == 1 && atomic_load(&data_only) == 1);
	assert_int_equal(raw_opendir(&share->raw, &(struct proto_opendir_request){ share->root, 65536 }, &opened), 0);
	request.handle = opened.handle;
	assert_int_equal(raw_fsync(&share->raw, &request, &(struct proto_fsync_reply){}), 0);
}

static void what_was_claimed_for_it_is_settled(void **state)
{
	struct share *share = *state;
	uint64_t handle = make(share, "a", 0644, NULL), to = make(share, "b", 0644, NULL);
	struct proto_fallocate_request allocate = { .handle = handle, .length = 4096 };
	struct proto_copy_range_request copy = { .handle_in = handle, .handle_out = to, .length = 4096 };

	inside_session(share)->space.reserve = 1;
	assert_int_equal(share_write(share, handle, 0, "x", 1, 0), 1);
	inside_is_idle(share);
	assert_int_equal(raw_fallocate(&share->raw, &allocate, &(struct proto_fallocate_reply){}), 0);
	inside_is_idle(share);
	assert_int_equal(raw_copy_range(&share->raw, &copy, &(struct proto_copy_range_reply){}), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, inside_set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(what_is_written_is_on_the_host_and_reads_back),
		TEST(transfers_of_a_mebibyte_arrive_whole_in_both_directions),
		TEST(appending_goes_to_the_end_that_the_host_has),
		TEST(numbers_at_the_edge_are_errors_and_not_wraps),
		TEST(the_first_bytes_are_those_that_are_there),
		TEST(writing_tells_the_size_and_takes_setuid_away_when_it_should),
		TEST(a_full_disk_takes_nothing),
		TEST(a_released_handle_leads_nowhere),
		TEST(room_is_allocated_and_taken_away),
		TEST(data_and_holes_are_found),
		TEST(ranges_are_copied_from_one_file_to_another),
		TEST(files_and_directories_are_brought_to_the_disk),
		TEST(what_was_claimed_for_it_is_settled),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
