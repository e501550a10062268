/* SPDX-License-Identifier: Apache-2.0 */
/* Whether others write to a file, and what the guest is told while it has the file open. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "fileserver/worker/leases/internal.h"
#include "fileserver/worker/nodes/ids.h"
#include "protocol/cleanup.h"
#include "protocol/clock.h"
#include "tests/fileserver/worker/leasing.h"
#include "tests/support/scratch.h"

enum { SIZE = 4096, REST_US = 700000, ROUND_US = 1100000 };

static struct leasing leasing;
static struct node *file;
static uint64_t id;

static int set_up(void **state)
{
	static char text[SIZE + 1];

	if (scratch_set_up(state) < 0)
		return -1;
	memset(text, 'x', SIZE);
	scratch_file("file", text, 0644);
	return 0;
}

static void begin(bool run)
{
	leasing_begin(&leasing, 0);
	file = leasing_learn(&leasing, NULL, "file", "file", 1);
	id = nodes_id(file);
	if (run)
		leasing_run(&leasing, true);
}

static void end(void)
{
	nodes_put(leasing.nodes, file);
	leasing_end(&leasing);
}

static int open_file(int flags)
{
	int fd = open(scratch_path("file"), flags | O_CLOEXEC);

	assert_true(fd >= 0);
	return fd;
}

/* What a program does that has the file mapped, and closed. */
static char *map(void)
{
	int fd = open_file(O_RDWR);
	char *mapped = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	assert_true(mapped != MAP_FAILED);
	close(fd);
	return mapped;
}

static void unmap(char *mapped)
{
	assert_int_equal(munmap(mapped, SIZE), 0);
}

static bool others(void)
{
	_cleanup_close_ int fd = open_file(O_RDONLY);

	return leases_others_write(leasing.leases, file, fd);
}

/* The guest opens the file, and closes it. */
static struct handle *open_handle(bool writable)
{
	int fd = open_file(writable ? O_RDWR : O_RDONLY);
	struct proto_time mtime;
	struct handle *handle;
	uint64_t handle_id;
	struct stat st;

	assert_int_equal(fstat(fd, &st), 0);
	mtime = (struct proto_time){ .seconds = st.st_mtim.tv_sec, .nanoseconds = (uint32_t) st.st_mtim.tv_nsec };
	assert_int_equal(nodes_open(leasing.nodes, file, fd, false, true, writable, &handle_id, &handle), 0);
	leases_opened(leasing.leases, handle, &mtime);
	return handle;
}

static void close_handle(struct handle *handle)
{
	nodes_close(leasing.nodes, handle);
	nodes_handle_put(leasing.nodes, handle);
}

/* The guest opens it for writing; whether others did so before. */
static bool begin_to_write(struct handle **ret_handle)
{
	_cleanup_close_ int pinned = open_file(O_PATH);
	bool found = leases_write_begin(leasing.leases, file, pinned);

	*ret_handle = open_handle(true);
	leases_write_end(leasing.leases, file);
	return found;
}

static void a_descriptor_and_a_mapping_are_found(void **state)
{
	char *mapped;
	int fd;

	begin(false);
	assert_false(others());
	fd = open_file(O_RDONLY);
	assert_false(others());
	close(fd);
	fd = open_file(O_WRONLY);
	assert_true(others());
	assert_true(others());
	close(fd);
	assert_false(others());
	mapped = map();
	assert_true(others());
	unmap(mapped);
	assert_false(others());
	end();
}

static void ones_own_descriptors_are_not_those_of_others(void **state)
{
	struct handle *first, *second;

	begin(false);
	assert_false(begin_to_write(&first));
	assert_false(others());
	assert_false(begin_to_write(&second));
	close_handle(first);
	assert_false(others());
	close_handle(second);
	assert_false(others());
	end();
}

static void what_was_found_before_one_writes_oneself_counts_meanwhile(void **state)
{
	struct handle *first, *second;
	char *mapped;

	begin(false);
	mapped = map();
	assert_true(begin_to_write(&first));
	unmap(mapped);
	assert_true(others());
	assert_true(begin_to_write(&second));
	close_handle(first);
	assert_true(others());
	close_handle(second);
	/* The kernel can be asked again. */
	assert_false(others());
	assert_false(begin_to_write(&first));
	close_handle(first);
	end();
}

static void a_file_that_is_opened_as_it_is_found_is_no_different(void **state)
{
	_cleanup_close_ int pinned = -EBADF;
	struct handle *handle;
	char *mapped;
	bool were;

	begin(false);
	pinned = open_file(O_PATH);
	assert_false(leases_others_were(leasing.leases, file, pinned));
	mapped = map();
	were = leases_others_were(leasing.leases, file, pinned);
	assert_true(were);
	assert_true(leases_write_begun(leasing.leases, file, were));
	handle = open_handle(true);
	leases_write_end(leasing.leases, file);
	/* The first one counts. */
	assert_true(leases_write_begun(leasing.leases, file, false));
	leases_write_end(leasing.leases, file);
	unmap(mapped);
	close_handle(handle);
	assert_false(leases_write_begun(leasing.leases, file, false));
	leases_write_end(leasing.leases, file);
	end();
}

static void who_has_changed_it_a_moment_ago_is_left_alone(void **state)
{
	struct node *root;

	begin(true);
	root = leasing_learn(&leasing, NULL, NULL, NULL, 0);
	assert_true(leasing_hold(&leasing, root));
	assert_false(others());
	leasing_elsewhere("echo x >> file");
	(void) leasing_wait(&leasing, nodes_id(root), "file", PROTO_INVALIDATE_CONTENTS);
	/* Nobody has it open: the kernel would say so. */
	assert_true(others());
	(void) usleep(REST_US);
	assert_false(others());
	/* Another name's change does not count. */
	leasing_elsewhere("echo x >> other");
	(void) leasing_wait(&leasing, nodes_id(root), "other", PROTO_INVALIDATE_CONTENTS);
	assert_false(others());
	nodes_put(leasing.nodes, root);
	end();
}

static void without_leases_nobody_is_asked(void **state)
{
	begin(false);
	assert_false(leases_others_write(NULL, file, -EBADF));
	assert_false(leases_others_were(NULL, file, -EBADF));
	assert_false(leases_write_begin(NULL, file, -EBADF));
	assert_false(leases_write_begun(NULL, file, true));
	leases_write_end(NULL, file);
	leases_opened(NULL, NULL, NULL);
	end();
}

/* How many messages there are about the contents of the file. */
static unsigned told(void)
{
	unsigned count = 0;

	for (unsigned i = 0; i < leasing_count(&leasing); i++) {
		struct proto_invalidate_request message = leasing_told(&leasing, i);

		count += message.node == id && message.directory == 0 && (message.what & PROTO_INVALIDATE_CONTENTS) != 0
		                 ? 1
		                 : 0;
	}
	return count;
}

static void wait_until_told(unsigned count)
{
	int64_t until = clock_ms() + 10000;

	while (told() < count) {
		assert_true(clock_ms() < until);
		(void) usleep(1000);
	}
}

static void while_others_write_the_guest_is_told_again_and_again(void **state)
{
	struct handle *handle, *second;
	char *mapped;
	unsigned count;

	begin(true);
	handle = open_handle(false);
	second = open_handle(false);
	(void) usleep(ROUND_US);
	assert_int_equal(told(), 0);
	mapped = map();
	wait_until_told(3);
	unmap(mapped);
	/* The last stores may be younger than the last message. */
	count = told();
	wait_until_told(count + 1);
	(void) usleep(2 * ROUND_US);
	count = told();
	(void) usleep(ROUND_US);
	assert_int_equal(told(), count);
	close_handle(handle);
	/* The other one is looked after, too. */
	mapped = map();
	wait_until_told(count + 1);
	unmap(mapped);
	close_handle(second);
	end();
}

static void a_file_that_is_open_once_is_told_of_once_a_round(void **state)
{
	struct handle *handles[20];
	char *mapped;

	begin(true);
	mapped = map();
	for (size_t i = 0; i < ARRAY_SIZE(handles); i++)
		handles[i] = open_handle(false);
	wait_until_told(1);
	assert_true(told() <= 2);
	for (size_t i = 0; i < ARRAY_SIZE(handles); i++)
		close_handle(handles[i]);
	unmap(mapped);
	end();
}

static void what_only_oneself_writes_is_not_told_of(void **state)
{
	struct handle *writing, *reading;

	begin(true);
	assert_false(begin_to_write(&writing));
	reading = open_handle(false);
	(void) usleep(ROUND_US);
	assert_int_equal(told(), 0);
	close_handle(writing);
	(void) usleep(ROUND_US);
	assert_int_equal(told(), 0);
	close_handle(reading);
	end();
}

static void a_store_while_one_writes_oneself_shows_in_the_time(void **state)
{
	struct node *root;
	struct handle *handle;
	char *mapped;
	unsigned count;

	begin(true);
	root = leasing_learn(&leasing, NULL, NULL, NULL, 0);
	assert_true(leasing_hold(&leasing, root));
	assert_false(begin_to_write(&handle));
	/* Own writes, and what others do by write(2), come with events. */
	for (int i = 0; i < 30; i++) {
		assert_int_equal(pwrite(handle->fd, "own", 3, i), 3);
		(void) usleep(ROUND_US / 20);
	}
	assert_int_equal(told(), 0);
	leasing_elsewhere("echo x >> file");
	(void) usleep(2 * ROUND_US);
	assert_int_equal(told(), 0);
	mapped = map();
	mapped[0] = 'm';
	/* From here on the time does not change any more. */
	wait_until_told(3);
	assert_true(others());
	unmap(mapped);
	leasing_elsewhere("echo x >> file"); /* the end of a mapping of this process is an own event */
	(void) usleep(2 * ROUND_US);
	assert_false(others());
	count = told();
	(void) usleep(ROUND_US);
	assert_int_equal(told(), count);
	close_handle(handle);
	nodes_put(leasing.nodes, root);
	end();
}

static void when_no_file_is_open_nobody_looks(void **state)
{
	int64_t until = clock_ms() + 10000;
	struct handle *handle;
	char *mapped;
	unsigned count;

	begin(true);
	assert_false(leasing.leases->any_open);
	mapped = map();
	handle = open_handle(false);
	assert_true(leasing.leases->any_open);
	wait_until_told(1);
	close_handle(handle);
	while (leasing.leases->any_open) {
		assert_true(clock_ms() < until);
		(void) usleep(1000);
	}
	count = told();
	(void) usleep(ROUND_US);
	assert_int_equal(told(), count);
	handle = open_handle(false);
	wait_until_told(count + 1);
	close_handle(handle);
	unmap(mapped);
	end();
}

/* Opened by the guest in a way that lets it keep the handle. */
static struct handle *open_to_keep(void)
{
	_cleanup_close_ int fd = open_file(O_RDONLY);

	assert_true(leases_hold_contents(leasing.leases, file, fd));
	assert_false(others());
	assert_true(leases_has_contents(leasing.leases, file));
	return open_handle(false);
}

static void others_may_read_what_the_guest_keeps_open(void **state)
{
	struct handle *handle;

	begin(true);
	handle = open_to_keep();
	leasing_elsewhere("cat file >/dev/null");
	usleep(ROUND_US);
	assert_int_equal(leasing_count(&leasing), 0);
	assert_true(leases_has_contents(leasing.leases, file));
	close_handle(handle);
	end();
}

static void who_opens_it_for_writing_is_told_of_before_he_writes(void **state)
{
	struct handle *handle;
	unsigned told;

	begin(true);
	handle = open_to_keep();
	leasing_elsewhere("(exec 3<>file; sleep 2) >/dev/null 2>&1 & true");
	told = leasing_wait(&leasing, 0, "", PROTO_INVALIDATE_CONTENTS);
	assert_int_equal(leasing_told(&leasing, told).node, id);
	assert_false(leases_has_contents(leasing.leases, file));
	/* After he has closed it, and the rest that follows. */
	for (int i = 0; i < 60 && !leases_has_contents(leasing.leases, file); i++)
		usleep(100000);
	assert_true(leases_has_contents(leasing.leases, file));
	close_handle(handle);
	end();
}

static void what_the_guest_writes_itself_is_not_kept(void **state)
{
	struct handle *reader, *writer;
	_cleanup_close_ int fd = -EBADF;

	begin(false);
	reader = open_to_keep();
	assert_false(begin_to_write(&writer));
	assert_false(leases_has_contents(leasing.leases, file));
	close_handle(writer);
	/* Others may have opened it meanwhile. */
	assert_false(leases_has_contents(leasing.leases, file));
	fd = open_file(O_RDONLY);
	assert_true(leases_hold_contents(leasing.leases, file, fd));
	assert_false(others());
	assert_true(leases_has_contents(leasing.leases, file));
	close_handle(reader);
	end();
}

static void a_watch_that_ends_ends_it(void **state)
{
	struct handle *handle;

	begin(false);
	handle = open_to_keep();
	leases_restart(leasing.leases);
	assert_false(leases_has_contents(leasing.leases, file));
	close_handle(handle);
	end();
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, scratch_tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_descriptor_and_a_mapping_are_found),
		TEST(others_may_read_what_the_guest_keeps_open),
		TEST(who_opens_it_for_writing_is_told_of_before_he_writes),
		TEST(what_the_guest_writes_itself_is_not_kept),
		TEST(a_watch_that_ends_ends_it),
		TEST(ones_own_descriptors_are_not_those_of_others),
		TEST(what_was_found_before_one_writes_oneself_counts_meanwhile),
		TEST(a_file_that_is_opened_as_it_is_found_is_no_different),
		TEST(who_has_changed_it_a_moment_ago_is_left_alone),
		TEST(without_leases_nobody_is_asked),
		TEST(while_others_write_the_guest_is_told_again_and_again),
		TEST(a_file_that_is_open_once_is_told_of_once_a_round),
		TEST(what_only_oneself_writes_is_not_told_of),
		TEST(a_store_while_one_writes_oneself_shows_in_the_time),
		TEST(when_no_file_is_open_nobody_looks),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
