/* SPDX-License-Identifier: Apache-2.0 */
/* What only fanotify has: one's own changes told apart, dead marks, limits, file systems that go. */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/fileserver/worker/watching.h"
#include "tests/support/scratch.h"

enum { FIRST = 1, SECOND = 2, THIRD = 3 };

static struct watching watching;

static int set_mode(const void *argument)
{
	return chmod("first/file", 0600) == 0 ? 0 : 1;
}

static void add(const char *path, uint64_t watch)
{
	assert_int_equal(watching_add(&watching, path, watch), 0);
}

static void read_events(int expected)
{
	assert_int_equal(watching_read(&watching), expected);
}

/* Or a change of the host would hide behind one that the guest itself made. */
static void ones_own_changes_and_those_of_others_stay_apart(void **state)
{
	const struct seen *seen;

	add("first", FIRST);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(chmod("first/file", 0640), 0);
		assert_int_equal(truncate("first/file", 0), 0);
		assert_int_equal(watching_elsewhere(set_mode, NULL), 0);
	}
	/* One's own became one event; each of the others was a process of its own. */
	read_events(4);
	seen = watching_seen(&watching, FIRST, "file");
	assert_non_null(seen);
	assert_int_equal(seen->own, HOSTWATCH_ATTRIBUTES | HOSTWATCH_CONTENTS);
	assert_int_equal(seen->foreign, HOSTWATCH_ATTRIBUTES);
}

static void a_mark_that_is_left_is_dead_until_its_directory_is_added_again(void **state)
{
	add("first", FIRST);
	hostwatch_remove(watching.hostwatch, FIRST, -EBADF);
	assert_int_equal(hostwatch_dead(watching.hostwatch), 1);
	assert_int_equal(watching_marks(&watching), 1);
	assert_int_equal(chmod("first/file", 0640), 0);
	read_events(1);
	assert_int_equal(watching.events, 0);
	add("first", SECOND);
	assert_int_equal(hostwatch_dead(watching.hostwatch), 0);
	assert_int_equal(watching_marks(&watching), 1);
	assert_int_equal(chmod("first/file", 0600), 0);
	read_events(1);
	assert_non_null(watching_seen(&watching, SECOND, "file"));
}

static void a_dead_mark_goes_with_its_directory(void **state)
{
	add("first/empty", FIRST);
	hostwatch_remove(watching.hostwatch, FIRST, -EBADF);
	assert_int_equal(hostwatch_dead(watching.hostwatch), 1);
	assert_int_equal(rmdir("first/empty"), 0);
	read_events(1);
	assert_int_equal(watching.events, 0);
	assert_int_equal(hostwatch_dead(watching.hostwatch), 0);
	assert_int_equal(watching_marks(&watching), 0);
}

static void a_removed_directory_is_gone_when_nobody_has_it_open(void **state)
{
	int fd = open("first/empty", O_PATH | O_CLOEXEC);
	const struct seen *seen;

	add("first/empty", FIRST);
	assert_int_equal(rmdir("first/empty"), 0);
	read_events(0);
	(void) close(fd);
	read_events(1);
	seen = watching_seen(&watching, FIRST, "");
	assert_non_null(seen);
	assert_int_equal(seen->what, HOSTWATCH_GONE);
	assert_true(seen->directory);
	/* Who closed it last need not be who removed it. */
	assert_int_equal(seen->own, 0);
	/* Another one of that name, and perhaps of that inode number, has no watch. */
	assert_int_equal(mkdir("first/empty", 0755), 0);
	assert_int_equal(mkdir("first/empty/new", 0755), 0);
	read_events(0);
	add("first/empty", FIRST);
	assert_int_equal(rmdir("first/empty/new"), 0);
	read_events(1);
	assert_non_null(watching_seen(&watching, FIRST, "new"));
}

/* In a process of user 65534: returns the number of the first thing that is wrong. */
static int close_and_leave(const void *argument)
{
	struct watching own;

	if (mkdir("closed", 0300) < 0 || watching_begin(&own, HOSTWATCH_FANOTIFY) < 0)
		return 1;
	if (watching_add(&own, "closed", FIRST) != -EACCES)
		return 2;
	if (chmod("closed", 0700) < 0 || watching_add(&own, "closed", FIRST) < 0)
		return 3;
	if (chmod("closed", 0300) < 0 || watching_read(&own) != 1 || watching_seen(&own, FIRST, "") == NULL)
		return 4;
	watching_remove(&own, "closed", FIRST);
	if (hostwatch_dead(own.hostwatch) != 1)
		return 5;
	if (chmod("closed", 0700) < 0 || watching_read(&own) != 1 || own.events != 0)
		return 6;
	watching_end(&own);
	return 0;
}

static void a_directory_that_cannot_be_read_is_refused_and_one_that_was_closed_leaves_a_dead_mark(void **state)
{
	assert_int_equal(watching_unprivileged(false, close_and_leave, NULL), 0);
}

/* In a user namespace with a limit of its own: a number as above. */
static int use_all_marks(const void *argument)
{
	struct watching own;
	int fd;

	if (unshare(CLONE_NEWUSER) < 0)
		return WATCHING_NO_NAMESPACE;
	fd = open("/proc/sys/user/max_fanotify_marks", O_WRONLY | O_CLOEXEC);
	if (fd < 0 || write(fd, "2\n", 2) != 2)
		return WATCHING_NO_NAMESPACE;
	(void) close(fd);
	if (watching_begin(&own, HOSTWATCH_FANOTIFY) < 0)
		return 1;
	if (watching_add(&own, "first", FIRST) < 0 || watching_add(&own, "second", SECOND) < 0)
		return 2;
	if (watching_add(&own, "first/empty", THIRD) != -ENOSPC)
		return 3;
	if (watching_add(&own, "first", FIRST) < 0 || chmod("first", 0711) < 0 || watching_read(&own) != 1)
		return 4;
	watching_remove(&own, "first", FIRST);
	if (watching_add(&own, "first/empty", THIRD) < 0 || watching_marks(&own) != 2)
		return 5;
	if (hostwatch_flush(own.hostwatch) < 0 || watching_add(&own, "first", FIRST) < 0)
		return 6;
	watching_end(&own);
	return 0;
}

static void when_no_mark_is_left_it_says_so_and_one_that_is_removed_is_free(void **state)
{
	int r = watching_unprivileged(false, use_all_marks, NULL);

	if (r == WATCHING_NO_NAMESPACE)
		skip();
	assert_int_equal(r, 0);
}

/* In a mount namespace: a number as above. hostwatch.h warns of it; the day it is told, that can be used. */
static int unmount_in_silence(const void *argument)
{
	struct watching own;

	if (unshare(CLONE_NEWNS) < 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
	    mount("none", "second", "tmpfs", 0, NULL) < 0)
		return WATCHING_NO_NAMESPACE;
	if (watching_begin(&own, HOSTWATCH_FANOTIFY) < 0 || watching_add(&own, "second", SECOND) < 0)
		return 1;
	if (umount("second") < 0 || watching_read(&own) != 0 || watching_marks(&own) != 0)
		return 2;
	/* What is there now is another directory. */
	if (watching_add(&own, "second", SECOND) < 0 || watching_marks(&own) != 1 || hostwatch_dead(own.hostwatch) != 1)
		return 3;
	if (mkdir("second/new", 0755) < 0 || watching_read(&own) != 1 || watching_seen(&own, SECOND, "new") == NULL)
		return 4;
	watching_end(&own);
	return 0;
}

static void a_file_system_that_is_unmounted_takes_its_watches_in_silence(void **state)
{
	int r = watching_elsewhere(unmount_in_silence, NULL);

	if (r == WATCHING_NO_NAMESPACE)
		skip();
	assert_int_equal(r, 0);
}

static int set_up(void **state)
{
	const char *path = scratch_make();

	if (chdir(path) < 0 || (geteuid() == 0 && chown(path, 65534, 65534) < 0) || chmod(path, 0777) < 0)
		return -1;
	scratch_directory("first");
	scratch_directory("first/empty");
	scratch_directory("second");
	scratch_file("first/file", "text", 0644);
	if (geteuid() == 0 && chown("first", 65534, 65534) < 0)
		return -1;
	return watching_begin(&watching, HOSTWATCH_FANOTIFY);
}

static int tear_down(void **state)
{
	watching_end(&watching);
	scratch_remove();
	return chdir("/");
}

#define TEST(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(ones_own_changes_and_those_of_others_stay_apart),
		TEST(a_mark_that_is_left_is_dead_until_its_directory_is_added_again),
		TEST(a_dead_mark_goes_with_its_directory),
		TEST(a_removed_directory_is_gone_when_nobody_has_it_open),
		TEST(a_directory_that_cannot_be_read_is_refused_and_one_that_was_closed_leaves_a_dead_mark),
		TEST(when_no_mark_is_left_it_says_so_and_one_that_is_removed_is_free),
		TEST(a_file_system_that_is_unmounted_takes_its_watches_in_silence),
	};

	return cmocka_run_group_tests_name("hostwatch-fanotify", tests, NULL, NULL);
}
