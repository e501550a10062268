/* SPDX-License-Identifier: Apache-2.0 */
/* Watches of files that have several names: what is told of which change, by which name. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cmocka.h>

#include "protocol/cleanup.h"
#include "tests/fileserver/worker/watching.h"
#include "tests/support/scratch.h"

enum { FILE_WATCH = 7, OTHER_WATCH = 8 };

static struct watching watching;
static enum hostwatch_kind fanotify = HOSTWATCH_FANOTIFY_FILES, inotify = HOSTWATCH_INOTIFY_FILES;

static int write_to(const char *path)
{
	int fd = open(path, O_WRONLY | O_APPEND | O_CLOEXEC);
	ssize_t n = write(fd, "more", 4);

	return close(fd) == 0 && n == 4 ? 0 : 1;
}

static int write_first(void)
{
	return write_to("near/file");
}

static int write_second(void)
{
	return write_to("far/second");
}

static int chmod_second(void)
{
	return chmod("far/second", 0600);
}

static int touch_second(void)
{
	return utimensat(AT_FDCWD, "far/second", NULL, 0);
}

static int attribute_second(void)
{
	return setxattr("far/second", "user.test", "x", 1, 0) < 0 && errno != EOPNOTSUPP ? 1
	                                                                                 : chmod("far/second", 0600);
}

static int link_third(void)
{
	return link("far/second", "far/third");
}

static int link_near(void)
{
	return link("far/second", "near/third");
}

static int unlink_second(void)
{
	return unlink("far/second");
}

static int rename_second(void)
{
	return rename("far/second", "far/moved");
}

static int replace_second(void)
{
	return rename("far/other", "far/second");
}

static int rename_first(void)
{
	return rename("near/file", "far/file");
}

static int truncate_second(void)
{
	return truncate("far/second", 1);
}

static const struct {
	const char *name;
	int (*make)(void);
	unsigned what;
} changes[] = {
	{ "write", write_first, HOSTWATCH_CONTENTS },
	{ "write by the other name", write_second, HOSTWATCH_CONTENTS },
	{ "truncate by the other name", truncate_second, HOSTWATCH_CONTENTS },
	{ "chmod by the other name", chmod_second, HOSTWATCH_ATTRIBUTES },
	{ "utimens by the other name", touch_second, HOSTWATCH_ATTRIBUTES },
	{ "setxattr by the other name", attribute_second, HOSTWATCH_ATTRIBUTES },
	{ "link", link_third, HOSTWATCH_ATTRIBUTES },
	{ "link beside the first name", link_near, HOSTWATCH_ATTRIBUTES },
	{ "unlink", unlink_second, HOSTWATCH_ATTRIBUTES },
	{ "rename", rename_second, HOSTWATCH_ATTRIBUTES },
	{ "rename of the first name", rename_first, HOSTWATCH_ATTRIBUTES },
	{ "replace", replace_second, HOSTWATCH_ATTRIBUTES },
};

static void make_tree(void)
{
	scratch_directory("near");
	scratch_directory("far");
	scratch_file("near/file", "text", 0644);
	scratch_file("near/plain", "text", 0644);
	scratch_file("far/other", "other", 0644);
	assert_int_equal(link("near/file", "far/second"), 0);
}

static void remove_tree(void)
{
	static const char *const names[] = { "near/file",  "near/plain", "near/third", "far/other",
		                             "far/second", "far/third",  "far/moved",  "far/file" };

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		(void) unlink(names[i]);
	assert_int_equal(rmdir("near"), 0);
	assert_int_equal(rmdir("far"), 0);
}

static int act(const void *argument)
{
	return ((int (*)(void)) * (void *const *) argument)();
}

/* What came for the change, own: it is made by this process. */
static void try_change(size_t index, bool own)
{
	void *make = (void *) changes[index].make;
	const struct seen *seen;

	make_tree();
	assert_int_equal(watching_add(&watching, "near/file", FILE_WATCH), 0);
	assert_int_equal(own ? changes[index].make() : watching_elsewhere(act, &make), 0);
	assert_true(watching_read(&watching) > 0);
	seen = watching_seen(&watching, FILE_WATCH, "");
	if (seen == NULL || (seen->what & changes[index].what) == 0 || seen->directory)
		fail_msg("%s: %x", changes[index].name, seen == NULL ? 0 : seen->what);
	assert_int_equal(seen->what & (HOSTWATCH_NAME | HOSTWATCH_GONE | HOSTWATCH_OVERFLOW), 0);
	if (watching.kind == HOSTWATCH_FANOTIFY_FILES)
		assert_int_equal(own ? seen->foreign : seen->own, 0);
	assert_int_equal(watching.count, 1);
	remove_tree();
	assert_int_equal(hostwatch_flush(watching.hostwatch), 0);
	(void) watching_read(&watching);
}

static void a_change_by_any_name_is_told(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(changes); i++)
		try_change(i, false);
}

static void ones_own_change_is_told_as_such(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(changes); i++)
		try_change(i, true);
}

static int read_second(void)
{
	int fd = open("far/second", O_RDONLY | O_CLOEXEC);

	return fd >= 0 && close(fd) == 0 ? 0 : 1;
}

static void an_open_by_any_name_is_told(void **state)
{
	void *make = (void *) read_second;
	const struct seen *seen;

	make_tree();
	assert_int_equal(watching_add(&watching, "near/file", FILE_WATCH), 0);
	assert_int_equal(watching_elsewhere(act, &make), 0);
	assert_true(watching_read(&watching) > 0);
	seen = watching_seen(&watching, FILE_WATCH, "");
	assert_non_null(seen);
	assert_int_equal(seen->what, HOSTWATCH_OPENED);
	remove_tree();
}

static void other_files_are_not_told_of(void **state)
{
	make_tree();
	assert_int_equal(watching_add(&watching, "near/file", FILE_WATCH), 0);
	assert_int_equal(write_to("near/plain"), 0);
	assert_int_equal(unlink("near/plain"), 0);
	assert_int_equal(mkdir("near/file2", 0700), 0);
	assert_int_equal(rmdir("near/file2"), 0);
	assert_int_equal(watching_read(&watching), 0);
	remove_tree();
}

static void a_file_that_lost_its_last_name_is_gone(void **state)
{
	make_tree();
	assert_int_equal(watching_add(&watching, "far/second", FILE_WATCH), 0);
	assert_int_equal(unlink("near/file"), 0);
	assert_int_equal(watching_marks(&watching), 1);
	assert_int_equal(unlink("far/second"), 0);
	assert_true(watching_read(&watching) > 0);
	assert_non_null(watching_seen(&watching, FILE_WATCH, ""));
	assert_int_equal(watching_seen(&watching, FILE_WATCH, "")->what & HOSTWATCH_GONE, HOSTWATCH_GONE);
	assert_int_equal(watching_marks(&watching), 0);
	remove_tree();
}

static void a_watch_that_was_removed_tells_nothing(void **state)
{
	make_tree();
	assert_int_equal(watching_add(&watching, "near/file", FILE_WATCH), 0);
	assert_int_equal(watching_add(&watching, "near/plain", OTHER_WATCH), 0);
	assert_int_equal(watching_marks(&watching), 2);
	/* By whatever name. */
	watching_remove(&watching, "far/second", FILE_WATCH);
	assert_int_equal(watching_marks(&watching), 1);
	assert_int_equal(hostwatch_dead(watching.hostwatch), 0);
	assert_int_equal(write_first(), 0);
	assert_int_equal(write_to("near/plain"), 0);
	assert_true(watching_read(&watching) > 0);
	assert_null(watching_seen(&watching, FILE_WATCH, ""));
	assert_non_null(watching_seen(&watching, OTHER_WATCH, ""));
	remove_tree();
}

/* The same object by another name is one watch. */
static void a_file_is_watched_once_whatever_its_names(void **state)
{
	make_tree();
	assert_int_equal(watching_add(&watching, "near/file", FILE_WATCH), 0);
	assert_int_equal(watching_add(&watching, "far/second", OTHER_WATCH), 0);
	assert_int_equal(watching_marks(&watching), 1);
	assert_int_equal(write_first(), 0);
	assert_true(watching_read(&watching) > 0);
	assert_null(watching_seen(&watching, FILE_WATCH, ""));
	assert_non_null(watching_seen(&watching, OTHER_WATCH, ""));
	remove_tree();
}

static void a_symbolic_link_is_watched_itself(void **state)
{
	const struct seen *seen;

	make_tree();
	assert_int_equal(symlink("nowhere", "near/third"), 0);
	assert_int_equal(watching_add(&watching, "near/third", FILE_WATCH), 0);
	assert_int_equal(link("near/third", "far/third"), 0);
	assert_true(watching_read(&watching) > 0);
	seen = watching_seen(&watching, FILE_WATCH, "");
	assert_non_null(seen);
	assert_int_equal(seen->what, HOSTWATCH_ATTRIBUTES);
	remove_tree();
}

/* In a process of user 65534: returns the number of the first thing that is wrong. */
static int watch_unreadable(const void *argument)
{
	const enum hostwatch_kind *kind = argument;
	struct watching own;
	int fd = open("closed", O_WRONLY | O_CREAT | O_CLOEXEC, 0200);

	if (fd < 0 || close(fd) < 0 || watching_begin(&own, *kind) < 0)
		return 1;
	if (watching_add(&own, "closed", FILE_WATCH) != -EACCES || watching_marks(&own) != 0)
		return 2;
	if (chmod("closed", 0600) < 0 || watching_add(&own, "closed", FILE_WATCH) < 0)
		return 3;
	if (link("closed", "second") < 0 || watching_read(&own) < 1 || watching_seen(&own, FILE_WATCH, "") == NULL)
		return 4;
	watching_end(&own);
	return 0;
}

static void a_file_that_cannot_be_read_is_refused(void **state)
{
	assert_int_equal(watching_unprivileged(false, watch_unreadable, &watching.kind), 0);
}

static int set_up(void **state)
{
	const enum hostwatch_kind *kind = *state;
	const char *path = scratch_make();

	if (chdir(path) < 0 || chmod(path, 0777) < 0)
		return -1;
	return watching_begin(&watching, *kind);
}

static int tear_down(void **state)
{
	watching_end(&watching);
	scratch_remove();
	return chdir("/");
}

#define TEST_OF(test, kind)                                                                                            \
	{                                                                                                              \
#test "_by_" #kind, test, set_up, tear_down, &(kind)                                                   \
	}
#define TEST(test) TEST_OF(test, fanotify), TEST_OF(test, inotify)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_change_by_any_name_is_told),
		TEST(ones_own_change_is_told_as_such),
		TEST(an_open_by_any_name_is_told),
		TEST(other_files_are_not_told_of),
		TEST(a_file_that_lost_its_last_name_is_gone),
		TEST(a_watch_that_was_removed_tells_nothing),
		TEST(a_file_is_watched_once_whatever_its_names),
		TEST(a_symbolic_link_is_watched_itself),
		TEST(a_file_that_cannot_be_read_is_refused),
	};

	return cmocka_run_group_tests_name("hostwatch-files", tests, NULL, NULL);
}
