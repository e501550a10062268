/* SPDX-License-Identifier: Apache-2.0 */
/* Watches come, go and are told apart; queues overflow; nothing is lost between threads. By fanotify and by inotify. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "protocol/cleanup.h"
#include "protocol/clock.h"
#include "protocol/faults.h"
#include "tests/fileserver/worker/watching.h"
#include "tests/support/scratch.h"

enum { FIRST = 1, SECOND = 2, SUB = 3, QUEUE_MAX = 100000 };
enum { THREADS = 4, ROUNDS = 300, OWN = 100, SHARED = 200, WAIT_MS = 20000 };

static enum hostwatch_kind fanotify = HOSTWATCH_FANOTIFY, inotify = HOSTWATCH_INOTIFY;
static struct watching watching;
static int descriptors;

/* Appends something. */
static int write_to(const char *path)
{
	int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
	bool done = fd >= 0 && write(fd, "text", 4) == 4;

	return fd >= 0 && close(fd) == 0 && done ? 0 : -1;
}

static int count_descriptors(void)
{
	DIR *directory = opendir("/proc/self/fd");
	int count = 0;

	assert_non_null(directory);
	while (readdir(directory) != NULL)
		count++;
	closedir(directory);
	return count;
}

static void add(const char *path, uint64_t watch)
{
	assert_int_equal(watching_add(&watching, path, watch), 0);
}

static bool is_told(uint64_t watch, const char *name)
{
	assert_true(watching_read(&watching) >= 0);
	return watching_seen(&watching, watch, name) != NULL;
}

static void a_queue_that_overflows_says_so_and_goes_on(void **state)
{
	char path[32];
	unsigned queue = 0;
	FILE *file;
	int fd;

	file = fopen(watching.kind == HOSTWATCH_FANOTIFY ? "/proc/sys/fs/fanotify/max_queued_events"
	                                                 : "/proc/sys/fs/inotify/max_queued_events",
	             "re");
	assert_non_null(file);
	assert_int_equal(fscanf(file, "%u", &queue), 1);
	(void) fclose(file);
	if (queue > QUEUE_MAX)
		skip();
	add("first", FIRST);
	fd = open("first", O_PATH | O_DIRECTORY | O_CLOEXEC);
	for (unsigned i = 0; i < queue + 100; i++) {
		(void) snprintf(path, sizeof(path), "%u", i);
		assert_int_equal(symlinkat("x", fd, path), 0);
	}
	(void) close(fd);
	assert_int_equal(watching_read(&watching), queue + 1);
	assert_int_equal(watching.events, queue + 1);
	assert_int_equal(watching.overflows, 1);
	assert_int_equal(watching_read(&watching), 0);
	assert_int_equal(write_to("first/file"), 0);
	assert_true(is_told(FIRST, "file"));
	assert_int_equal(watching.overflows, 0);
}

static void what_is_removed_is_not_told_any_more(void **state)
{
	add("first", FIRST);
	add("second", SECOND);
	/* Also what was queued before. */
	assert_int_equal(write_to("first/file"), 0);
	watching_remove(&watching, "first", FIRST);
	assert_int_equal(watching_marks(&watching), 1);
	assert_int_equal(hostwatch_dead(watching.hostwatch), 0);
	assert_int_equal(write_to("first/file"), 0);
	assert_true(watching_read(&watching) >= 0);
	assert_int_equal(watching.events, 0);
	assert_int_equal(write_to("second/file"), 0);
	assert_true(is_told(SECOND, "file"));
	/* Nobody's. */
	watching_remove(&watching, "first", FIRST);
	watching_remove(&watching, "first", 77);
	assert_int_equal(watching_marks(&watching), 1);
	add("first", FIRST);
	assert_int_equal(write_to("first/file"), 0);
	assert_true(is_told(FIRST, "file"));
}

static void added_again_a_directory_has_the_last_id(void **state)
{
	add("first", FIRST);
	add("first", FIRST);
	assert_int_equal(write_to("first/file"), 0);
	assert_true(is_told(FIRST, "file"));
	add("first", 9);
	assert_int_equal(write_to("first/file"), 0);
	assert_true(is_told(9, "file"));
	assert_null(watching_seen(&watching, FIRST, "file"));
	assert_int_equal(watching_marks(&watching), 1);
	watching_remove(&watching, "first", FIRST);
	assert_int_equal(write_to("first/file"), 0);
	assert_true(is_told(9, "file"));
	watching_remove(&watching, "first", 9);
	assert_int_equal(watching_marks(&watching), 0);
}

static void an_id_that_goes_to_another_directory_leaves_the_first(void **state)
{
	add("first", FIRST);
	add("second", FIRST);
	assert_int_equal(hostwatch_dead(watching.hostwatch), 1);
	assert_int_equal(write_to("first/file"), 0);
	assert_false(is_told(FIRST, "file"));
	assert_int_equal(write_to("second/file"), 0);
	assert_true(is_told(FIRST, "file"));
	assert_int_equal(hostwatch_flush(watching.hostwatch), 0);
	assert_int_equal(hostwatch_dead(watching.hostwatch), 0);
	assert_int_equal(watching_marks(&watching), 0);
}

static void flushed_nothing_is_told_until_it_is_added_again(void **state)
{
	add("first", FIRST);
	add("second", SECOND);
	add("first/sub", SUB);
	assert_int_equal(write_to("first/file"), 0);
	assert_int_equal(hostwatch_flush(watching.hostwatch), 0);
	assert_int_equal(watching_marks(&watching), 0);
	assert_int_equal(write_to("first/file"), 0);
	assert_true(watching_read(&watching) >= 0);
	assert_int_equal(watching.events, 0);
	add("first", FIRST);
	assert_int_equal(write_to("first/file"), 0);
	assert_true(is_told(FIRST, "file"));
}

static void its_descriptor_is_readable_when_there_is_something(void **state)
{
	struct pollfd poll_fd = { .events = POLLIN };

	poll_fd.fd = hostwatch_fd(watching.hostwatch);
	assert_int_equal(fcntl(poll_fd.fd, F_GETFD), FD_CLOEXEC);
	add("first", FIRST);
	assert_int_equal(poll(&poll_fd, 1, 0), 0);
	assert_int_equal(watching_read(&watching), 0);
	assert_int_equal(write_to("first/file"), 0);
	assert_int_equal(poll(&poll_fd, 1, 0), 1);
	assert_true(is_told(FIRST, "file"));
	assert_int_equal(poll(&poll_fd, 1, 0), 0);
}

static void what_is_no_directory_is_refused(void **state)
{
	int fd;

	fd = open("first/file", O_PATH | O_CLOEXEC);
	assert_int_equal(hostwatch_add(watching.hostwatch, fd, FIRST), -ENOTDIR);
	(void) close(fd);
	assert_true(hostwatch_add(watching.hostwatch, -EBADF, FIRST) < 0);
	assert_int_equal(watching_marks(&watching), 0);
}

static void the_limit_is_the_kernels(void **state)
{
	uint32_t limit = hostwatch_limit(watching.kind);
	FILE *file = fopen(watching.kind == HOSTWATCH_FANOTIFY ? "/proc/sys/fs/fanotify/max_user_marks"
	                                                       : "/proc/sys/fs/inotify/max_user_watches",
	                   "re");
	unsigned there = 8192;

	if (file != NULL) {
		assert_int_equal(fscanf(file, "%u", &there), 1);
		(void) fclose(file);
	}
	assert_int_equal(limit, there);
}

/* The reader's side of the storm: what came, by id. */
static _Atomic unsigned told[SHARED + 1];
static atomic_bool ended;

static void count_event(void *context, const struct hostwatch_event *event)
{
	if (event->watch <= SHARED)
		atomic_fetch_add(&told[event->watch], 1);
}

static void *read_on(void *argument)
{
	struct pollfd poll_fd = { .fd = hostwatch_fd(watching.hostwatch), .events = POLLIN };

	while (!atomic_load(&ended))
		if (poll(&poll_fd, 1, 10) > 0 && hostwatch_read(watching.hostwatch, count_event, NULL) < 0)
			return "reading failed";
	return NULL;
}

/* A directory of the thread's own: what follows hostwatch_add() is told. One of all threads: added and removed at once.
 */
static void *come_and_go(void *argument)
{
	unsigned number = *(const unsigned *) argument, id = OWN + number;
	char path[32], name[64];

	(void) snprintf(path, sizeof(path), "own-%u", number);
	(void) snprintf(name, sizeof(name), "%s/file", path);
	for (unsigned round = 0; round < ROUNDS; round++) {
		unsigned before;
		int64_t until = clock_ms() + WAIT_MS;

		if (watching_add(&watching, "shared", SHARED) < 0 || watching_add(&watching, path, id) < 0)
			return "adding failed";
		before = atomic_load(&told[id]);
		if (write_to(name) < 0)
			return "writing failed";
		while (atomic_load(&told[id]) == before)
			if (clock_ms() > until)
				return "a change was not told";
		watching_remove(&watching, path, id);
		watching_remove(&watching, "shared", SHARED);
	}
	return NULL;
}

static void threads_that_add_and_remove_lose_nothing(void **state)
{
	pthread_t reader, threads[THREADS];
	unsigned numbers[THREADS];
	void *failure;
	char path[32];

	assert_int_equal(mkdir("shared", 0755), 0);
	atomic_store(&ended, false);
	for (unsigned i = 0; i < THREADS; i++) {
		(void) snprintf(path, sizeof(path), "own-%u", i);
		assert_int_equal(mkdir(path, 0755), 0);
	}
	assert_int_equal(pthread_create(&reader, NULL, read_on, NULL), 0);
	for (unsigned i = 0; i < THREADS; i++) {
		numbers[i] = i;
		assert_int_equal(pthread_create(&threads[i], NULL, come_and_go, &numbers[i]), 0);
	}
	for (unsigned i = 0; i < THREADS; i++) {
		assert_int_equal(pthread_join(threads[i], &failure), 0);
		if (failure != NULL)
			fail_msg("%s", (const char *) failure);
	}
	atomic_store(&ended, true);
	assert_int_equal(pthread_join(reader, &failure), 0);
	assert_null(failure);
	/* No mark without a watch, no watch without a mark. */
	assert_int_equal(watching_marks(&watching), 0);
	assert_int_equal(hostwatch_dead(watching.hostwatch), 0);
	add("shared", SHARED);
	assert_int_equal(write_to("shared/file"), 0);
	assert_true(is_told(SHARED, "file"));
}

/* Adds and flushes against one another; a directory that was added after the last flush has its mark. */
static void *flush_on(void *argument)
{
	while (!atomic_load(&ended))
		if (hostwatch_flush(watching.hostwatch) < 0)
			return "flushing failed";
	return NULL;
}

static void flushing_takes_no_mark_of_a_watch_that_stays(void **state)
{
	pthread_t flusher;
	void *failure;

	atomic_store(&ended, false);
	assert_int_equal(pthread_create(&flusher, NULL, flush_on, NULL), 0);
	for (unsigned round = 0; round < 4 * ROUNDS; round++) {
		assert_int_equal(watching_add(&watching, "first", FIRST), 0);
		if (round % 2 == 0)
			watching_remove(&watching, "first", FIRST);
	}
	atomic_store(&ended, true);
	assert_int_equal(pthread_join(flusher, &failure), 0);
	assert_null(failure);
	/* The last flush was before or after the last time it was added: a watch and a mark, or neither. */
	(void) watching_read(&watching);
	assert_int_equal(write_to("first/file"), 0);
	assert_int_equal(is_told(FIRST, "file"), watching_marks(&watching) == 1);
	add("first", FIRST);
	assert_int_equal(watching_marks(&watching), 1);
}

#ifdef BINDSHARE_WITH_FAULTS
static void fail_at(const char *point, const char *error_name)
{
	char rule[64], error[128];

	(void) snprintf(rule, sizeof(rule), "%s:1:%s", point, error_name);
	assert_int_equal(faults_arm(rule, error, sizeof(error)), 0);
}

static void a_call_that_fails_leaves_nothing_behind(void **state)
{
	const char *const begin[] = { "worker.watch:1:ENOMEM", "worker.watch:2:ENOMEM", "worker.watch-begin:1:EMFILE" };
	const int errors[] = { -ENOMEM, -ENOMEM, -EMFILE };
	struct hostwatch *hostwatch = NULL;
	char error[128];

	for (size_t i = 0; i < ARRAY_SIZE(begin); i++) {
		assert_int_equal(faults_arm(begin[i], error, sizeof(error)), 0);
		assert_int_equal(hostwatch_new(watching.kind, &hostwatch), errors[i]);
		assert_null(hostwatch);
	}
	fail_at("worker.watch", "ENOMEM");
	assert_int_equal(watching_add(&watching, "first", FIRST), -ENOMEM);
	fail_at("worker.watch-mark", "ENOSPC");
	assert_int_equal(watching_add(&watching, "first", FIRST), -ENOSPC);
	if (watching.kind == HOSTWATCH_FANOTIFY) {
		fail_at("worker.watch-find", "EOPNOTSUPP");
		assert_int_equal(watching_add(&watching, "first", FIRST), -EOPNOTSUPP);
	}
	assert_int_equal(watching_marks(&watching), 0);
	add("first", FIRST);
	/* A failure to add it again leaves it as it was. */
	fail_at("worker.watch-mark", "ENOSPC");
	assert_int_equal(watching_add(&watching, "first", SECOND), -ENOSPC);
	assert_int_equal(write_to("first/file"), 0);
	fail_at("worker.watch-read", "EIO");
	assert_int_equal(watching_read(&watching), -EIO);
	fail_at("worker.watch-read", "EINTR");
	assert_true(is_told(FIRST, "file"));
	/* What cannot be removed is dead. */
	fail_at("worker.watch-mark", "EACCES");
	watching_remove(&watching, "first", FIRST);
	assert_int_equal(hostwatch_dead(watching.hostwatch), 1);
	assert_int_equal(faults_arm("", error, sizeof(error)), 0);
	assert_int_equal(write_to("first/file"), 0);
	assert_true(watching_read(&watching) >= 0);
	assert_int_equal(watching.events, 0);
	assert_int_equal(hostwatch_flush(watching.hostwatch), 0);
	assert_int_equal(watching_marks(&watching), 0);
}

static void *remove_first(void *argument)
{
	watching_remove(&watching, "first", FIRST);
	return NULL;
}

static void *flush_once(void *argument)
{
	return hostwatch_flush(watching.hostwatch) < 0 ? "flushing failed" : NULL;
}

/* Adds the directory while another thread is about to remove its mark. */
static void add_during(void *(*removal)(void *argument))
{
	char error[128];
	pthread_t thread;
	void *failure;

	add("first", FIRST);
	assert_int_equal(faults_arm("worker.watch-mark:1:delay=200ms", error, sizeof(error)), 0);
	assert_int_equal(pthread_create(&thread, NULL, removal, NULL), 0);
	while (faults_passed(FAULTS_WORKER_WATCH_MARK) == 0)
		(void) usleep(1000);
	add("first", SECOND);
	assert_int_equal(pthread_join(thread, &failure), 0);
	assert_null(failure);
	assert_int_equal(faults_arm("", error, sizeof(error)), 0);
	assert_int_equal(watching_marks(&watching), 1);
	assert_int_equal(write_to("first/file"), 0);
	assert_true(is_told(SECOND, "file"));
}

static void what_is_added_while_it_is_removed_stays(void **state)
{
	add_during(remove_first);
}

static void what_is_added_while_all_is_flushed_stays(void **state)
{
	add_during(flush_once);
}
#endif

static int set_up(void **state)
{
	const enum hostwatch_kind *kind = *state;

	descriptors = count_descriptors();
	if (chdir(scratch_make()) < 0)
		return -1;
	scratch_directory("first");
	scratch_directory("first/sub");
	scratch_directory("second");
	if (write_to("first/file") < 0 || write_to("second/file") < 0)
		return -1;
	return watching_begin(&watching, *kind);
}

static int tear_down(void **state)
{
	watching_end(&watching);
	scratch_remove();
	/* None is left open. */
	return chdir("/") == 0 && count_descriptors() == descriptors ? 0 : -1;
}

#define TEST_OF(test, kind)                                                                                            \
	{                                                                                                              \
#test "_by_" #kind, test, set_up, tear_down, &(kind)                                                   \
	}
#define TEST(test) TEST_OF(test, fanotify), TEST_OF(test, inotify)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_queue_that_overflows_says_so_and_goes_on),
		TEST(what_is_removed_is_not_told_any_more),
		TEST(added_again_a_directory_has_the_last_id),
		TEST(an_id_that_goes_to_another_directory_leaves_the_first),
		TEST(flushed_nothing_is_told_until_it_is_added_again),
		TEST(its_descriptor_is_readable_when_there_is_something),
		TEST(what_is_no_directory_is_refused),
		TEST(the_limit_is_the_kernels),
		TEST(threads_that_add_and_remove_lose_nothing),
		TEST(flushing_takes_no_mark_of_a_watch_that_stays),
#ifdef BINDSHARE_WITH_FAULTS
		TEST(a_call_that_fails_leaves_nothing_behind),
		TEST(what_is_added_while_it_is_removed_stays),
		TEST(what_is_added_while_all_is_flushed_stays),
#endif
	};

	return cmocka_run_group_tests_name("hostwatch", tests, NULL, NULL);
}
