/* SPDX-License-Identifier: Apache-2.0 */
/* From names to descriptors: no link is ever followed, and nothing but files and directories is opened. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "fileserver/common/resolve.h"
#include "protocol/cleanup.h"
#include "tests/support/scratch.h"

static int root = -EBADF;

/* A directory with a directory, a file in it, and links to both. */
static int set_up(void **state)
{
	(void) scratch_make();
	(void) scratch_directory("root");
	(void) scratch_directory("root/dir");
	(void) scratch_file("root/dir/file", "content", 0600);
	(void) scratch_file("outside", "secret", 0600);
	assert_int_equal(symlink("dir", scratch_path("root/to-dir")), 0);
	assert_int_equal(symlink("dir/file", scratch_path("root/to-file")), 0);
	assert_int_equal(symlink("root", scratch_path("to-root")), 0);
	assert_int_equal(mkfifo(scratch_path("root/fifo"), 0600), 0);
	root = resolve_open_root(scratch_path("root"));
	assert_true(root >= 0);
	return 0;
}

static int tear_down(void **state)
{
	root = close_fd(root);
	scratch_remove();
	return 0;
}

static mode_t type_of(int fd)
{
	struct stat st;

	assert_int_equal(fstat(fd, &st), 0);
	return st.st_mode & S_IFMT;
}

static void a_share_is_opened_by_a_path_without_links(void **state)
{
	int fd = resolve_open_root(scratch_path("root/dir"));

	assert_true(fd >= 0);
	assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
	assert_true((fcntl(fd, F_GETFL) & O_PATH) != 0);
	close_fd(fd);
	assert_int_equal(resolve_open_root(scratch_path("to-root")), -ENOTDIR);
	assert_int_equal(resolve_open_root(scratch_path("to-root/dir")), -ELOOP);
	assert_int_equal(resolve_open_root(scratch_path("root/to-dir")), -ENOTDIR);
	assert_int_equal(resolve_open_root(scratch_path("root/dir/file")), -ENOTDIR);
	assert_int_equal(resolve_open_root(scratch_path("none")), -ENOENT);
}

static void a_name_is_pinned_as_what_it_is(void **state)
{
	static const struct {
		const char *name;
		mode_t type;
	} cases[] = { { "dir", S_IFDIR },
		      { "dir/file", S_IFREG },
		      { "to-dir", S_IFLNK },
		      { "to-file", S_IFLNK },
		      { "fifo", S_IFIFO } };

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		int fd = resolve_pin(root, cases[i].name);

		assert_true(fd >= 0);
		assert_int_equal(type_of(fd), cases[i].type);
		assert_true((fcntl(fd, F_GETFL) & O_PATH) != 0);
		assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
		close_fd(fd);
	}
	assert_int_equal(resolve_pin(root, "none"), -ENOENT);
}

static void no_name_leads_out_or_through_a_link(void **state)
{
	assert_int_equal(resolve_pin(root, "to-dir/file"), -ELOOP);
	assert_int_equal(resolve_pin(root, "../outside"), -EXDEV);
	assert_int_equal(resolve_pin(root, "dir/../../outside"), -EXDEV);
	assert_int_equal(resolve_pin(root, "/etc/passwd"), -EXDEV);
	assert_int_equal(resolve_pin(root, "dir/file/x"), -ENOTDIR);
}

static void a_file_is_made_where_there_is_none(void **state)
{
	int fd = resolve_create(root, "new", O_RDWR, 0640);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, "x", 1), 1);
	assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
	close_fd(fd);
	assert_int_equal(resolve_create(root, "new", O_RDWR, 0640), -EEXIST);
	/* Nor what a link leads to, be it there or not. */
	assert_int_equal(resolve_create(root, "to-file", O_RDWR, 0640), -EEXIST);
	assert_int_equal(symlink("gone", scratch_path("root/to-none")), 0);
	assert_int_equal(resolve_create(root, "to-none", O_RDWR, 0640), -EEXIST);
	assert_int_equal(access(scratch_path("root/gone"), F_OK), -1);
	assert_int_equal(resolve_create(root, "../new", O_RDWR, 0640), -EXDEV);
}

static void a_file_without_a_name_is_made(void **state)
{
	int fd = resolve_create_unnamed(root, O_RDWR, 0600);
	struct stat st;

	if (fd == -EOPNOTSUPP)
		skip(); /* this file system has none */
	assert_true(fd >= 0);
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(st.st_nlink, 0);
	assert_true(S_ISREG(st.st_mode));
	close_fd(fd);
}

static int reopen(const char *name, int flags)
{
	_cleanup_close_ int pinned = resolve_pin(root, name);

	assert_true(pinned >= 0);
	return resolve_reopen(pinned, flags);
}

static void what_was_pinned_is_opened(void **state)
{
	char text[16] = "";
	int fd = reopen("dir/file", O_RDONLY);

	assert_true(fd >= 0);
	assert_int_equal(read(fd, text, sizeof(text)), 7);
	assert_string_equal(text, "content");
	close_fd(fd);
	fd = reopen("dir", O_RDONLY | O_DIRECTORY);
	assert_true(fd >= 0);
	close_fd(fd);
}

static void nothing_but_files_and_directories_is_opened(void **state)
{
	assert_int_equal(reopen("fifo", O_RDONLY), -ENXIO); /* and does not block */
	assert_int_equal(reopen("to-file", O_RDONLY), -ELOOP);
	assert_int_equal(reopen("to-dir", O_RDONLY), -ELOOP);
}

static void it_is_the_object_that_was_pinned_whatever_has_its_name(void **state)
{
	_cleanup_close_ int pinned = resolve_pin(root, "dir/file"), fd = -EBADF;
	char text[16] = "";

	assert_int_equal(rename(scratch_path("root/dir/file"), scratch_path("root/moved")), 0);
	assert_int_equal(symlink("../../outside", scratch_path("root/dir/file")), 0);
	fd = resolve_reopen(pinned, O_RDONLY);
	assert_true(fd >= 0);
	assert_int_equal(read(fd, text, sizeof(text)), 7);
	assert_string_equal(text, "content");
}

static void a_path_of_a_pinned_object_ends_at_itself(void **state)
{
	_cleanup_close_ int pinned = resolve_pin(root, "to-file");
	char path[RESOLVE_PATH_SIZE], target[64] = "";
	struct stat by_path, by_fd;

	assert_true(pinned >= 0);
	(void) resolve_path(pinned, path);
	assert_int_equal(stat(path, &by_path), 0);
	assert_int_equal(fstat(pinned, &by_fd), 0);
	assert_true(by_path.st_ino == by_fd.st_ino && S_ISLNK(by_path.st_mode));
	assert_int_equal(readlinkat(pinned, "", target, sizeof(target) - 1), 8);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(a_share_is_opened_by_a_path_without_links),
		CASE(a_name_is_pinned_as_what_it_is),
		CASE(no_name_leads_out_or_through_a_link),
		CASE(a_file_is_made_where_there_is_none),
		CASE(a_file_without_a_name_is_made),
		CASE(what_was_pinned_is_opened),
		CASE(nothing_but_files_and_directories_is_opened),
		CASE(it_is_the_object_that_was_pinned_whatever_has_its_name),
		CASE(a_path_of_a_pinned_object_ends_at_itself),
	};

	return cmocka_run_group_tests_name("resolve", tests, NULL, NULL);
}
