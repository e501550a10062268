/* SPDX-License-Identifier: Apache-2.0 */
/* From names to descriptors: no link is followed, nothing above is reached, and only files and directories are opened.
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "fileserver/common/resolve.h"
#include "tests/support/scratch.h"

static int directory; /* the scratch directory */

static int set_up(void **state)
{
	umask(0);
	directory = open(scratch_make(), O_PATH | O_DIRECTORY | O_CLOEXEC);
	(void) scratch_file("file", "content", 0640);
	(void) scratch_directory("d");
	(void) scratch_file("d/inner", "inner", 0600);
	assert_int_equal(symlinkat("file", directory, "link"), 0);
	assert_int_equal(symlinkat("d", directory, "dlink"), 0);
	return directory < 0 ? -1 : 0;
}

static int tear_down(void **state)
{
	close(directory);
	scratch_remove();
	return 0;
}

/* fd is of this name, closed over exec; it is closed. */
static void leads_to(int fd, const char *name)
{
	struct stat found, wanted;

	assert_true(fd >= 0);
	assert_int_equal(fstatat(directory, name, &wanted, AT_SYMLINK_NOFOLLOW), 0);
	assert_int_equal(fstat(fd, &found), 0);
	assert_true(found.st_ino == wanted.st_ino && found.st_dev == wanted.st_dev);
	assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
	close(fd);
}

static void a_root_is_a_directory_without_a_link_on_the_way(void **state)
{
	int fd = resolve_open_root(scratch_path("d"));

	assert_true(fd >= 0 && (fcntl(fd, F_GETFL) & O_PATH) != 0);
	leads_to(fd, "d");
	assert_int_equal(resolve_open_root(scratch_path("dlink")), -ENOTDIR);
	assert_int_equal(resolve_open_root(scratch_path("dlink/../d")), -ELOOP);
	assert_int_equal(resolve_open_root(scratch_path("file")), -ENOTDIR);
	assert_int_equal(resolve_open_root(scratch_path("none")), -ENOENT);
	/* /proc's links lead anywhere */
	assert_int_equal(resolve_open_root("/proc/self/root"), -ELOOP);
}

static void a_name_is_pinned_as_what_it_is(void **state)
{
	int fd = resolve_pin(directory, "link");

	assert_true((fcntl(fd, F_GETFL) & O_PATH) != 0);
	leads_to(fd, "link");
	leads_to(resolve_pin(directory, "file"), "file");
	leads_to(resolve_pin(directory, "d"), "d");
	leads_to(resolve_pin(directory, "d/inner"), "d/inner");
	assert_int_equal(resolve_pin(directory, "none"), -ENOENT);
	assert_int_equal(resolve_pin(directory, "file/none"), -ENOTDIR);
}

static void nothing_leads_out_of_the_directory(void **state)
{
	assert_int_equal(symlinkat("/", directory, "root"), 0);
	assert_int_equal(resolve_pin(directory, ".."), -EXDEV);
	assert_int_equal(resolve_pin(directory, "d/../.."), -EXDEV);
	assert_int_equal(resolve_pin(directory, "/etc"), -EXDEV);
	assert_int_equal(resolve_pin(directory, "root/etc"), -ELOOP);
	assert_int_equal(resolve_pin(directory, "dlink/inner"), -ELOOP);
	assert_int_equal(resolve_create(directory, "../new", O_WRONLY, 0600), -EXDEV);
	assert_int_equal(resolve_create(directory, "dlink/new", O_WRONLY, 0600), -ELOOP);
	assert_int_equal(faccessat(directory, "d/new", F_OK, 0), -1);
}

static void what_is_made_is_new_and_has_permission_bits_alone(void **state)
{
	struct stat st;
	int fd = resolve_create(directory, "new", O_RDWR | O_DSYNC, 07751);

	assert_true(fd >= 0);
	assert_int_equal(fcntl(fd, F_GETFL) & (O_ACCMODE | O_DSYNC), O_RDWR | O_DSYNC);
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(st.st_mode, S_IFREG | 0751);
	leads_to(fd, "new");
	assert_int_equal(resolve_create(directory, "new", O_WRONLY, 0600), -EEXIST);
	assert_int_equal(resolve_create(directory, "link", O_WRONLY, 0600), -EEXIST);
	assert_int_equal(resolve_create(directory, "d", O_WRONLY, 0600), -EEXIST);
}

static void what_is_made_without_a_name_has_none(void **state)
{
	int fd = resolve_create_unnamed(directory, O_RDWR, 06640);
	struct stat st;

	if (fd == -EOPNOTSUPP)
		skip();
	assert_true(fd >= 0);
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(st.st_nlink, 0);
	assert_int_equal(st.st_mode, S_IFREG | 0640);
	assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
	close(fd);
}

static int reopen(const char *name, int flags)
{
	int pinned = resolve_pin(directory, name), fd;

	assert_true(pinned >= 0);
	fd = resolve_reopen(pinned, flags);
	close(pinned);
	return fd;
}

static void files_and_directories_are_opened_and_nothing_else(void **state)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int sock = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), fd, pinned;
	char bytes[16];

	fd = reopen("file", O_RDONLY);
	assert_int_equal(read(fd, bytes, sizeof(bytes)), 7);
	leads_to(fd, "file");
	leads_to(reopen("d", O_RDONLY | O_DIRECTORY), "d");
	assert_int_equal(reopen("d", O_WRONLY), -EISDIR);
	assert_int_equal(reopen("link", O_RDONLY), -ELOOP);
	assert_int_equal(mkfifoat(directory, "fifo", 0600), 0);
	assert_int_equal(reopen("fifo", O_RDONLY), -ENXIO);
	(void) snprintf(address.sun_path, sizeof(address.sun_path), "%s", scratch_path("socket"));
	assert_int_equal(bind(sock, (struct sockaddr *) &address, sizeof(address)), 0);
	assert_int_equal(reopen("socket", O_RDWR), -ENXIO);
	close(sock);
	pinned = open("/dev/null", O_PATH | O_CLOEXEC);
	assert_int_equal(resolve_reopen(pinned, O_RDONLY), -ENXIO);
	close(pinned);
	assert_int_equal(resolve_reopen(-EBADF, O_RDONLY), -EBADF);
}

static void what_was_pinned_is_opened_whatever_is_at_its_name_now(void **state)
{
	int pinned = resolve_pin(directory, "file"), fd;
	char bytes[16];

	assert_int_equal(unlinkat(directory, "file", 0), 0);
	assert_int_equal(mkfifoat(directory, "file", 0600), 0);
	fd = resolve_reopen(pinned, O_RDONLY);
	assert_int_equal(read(fd, bytes, sizeof(bytes)), 7);
	close(fd);
	close(pinned);
}

static void a_descriptor_has_a_path_that_fits(void **state)
{
	char path[RESOLVE_PATH_SIZE];

	assert_string_equal(resolve_path(7, path), "/proc/self/fd/7");
	assert_string_equal(resolve_path(2147483647, path), "/proc/self/fd/2147483647");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_root_is_a_directory_without_a_link_on_the_way),
		TEST(a_name_is_pinned_as_what_it_is),
		TEST(nothing_leads_out_of_the_directory),
		TEST(what_is_made_is_new_and_has_permission_bits_alone),
		TEST(what_is_made_without_a_name_has_none),
		TEST(files_and_directories_are_opened_and_nothing_else),
		TEST(what_was_pinned_is_opened_whatever_is_at_its_name_now),
		TEST(a_descriptor_has_a_path_that_fits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
