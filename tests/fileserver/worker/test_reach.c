/* SPDX-License-Identifier: Apache-2.0 */
/* Getting at objects on the host: no link is followed, and only the owner's own mode bits are lifted. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "fileserver/worker/host/reach.h"
#include "tests/fileserver/worker/inside.h"

static void a_name_is_looked_at_without_following_it(void **state)
{
	struct share *share = *state;
	struct session *session = inside_session(share);
	struct stat wanted;
	struct statx stx;

	assert_int_equal(symlinkat("/etc/passwd", share->host, "link"), 0);
	wanted = inside_stat(share, "link");
	assert_int_equal(reach_stat_name(session, share->host, "link", &stx), 0);
	assert_true(S_ISLNK(stx.stx_mode));
	assert_true(stx.stx_ino == wanted.st_ino);
	assert_int_equal(reach_stat_name(session, share->host, "nothing", &stx), -ENOENT);
	assert_int_equal(reach_stat_name(session, share->host, "link/a", &stx), -ENOTDIR);
	assert_int_equal(reach_stat(session, -EBADF, &stx), -EBADF);
	assert_int_equal(reach_stat(session, share->host, &stx), 0);
	assert_true(S_ISDIR(stx.stx_mode));
	assert_true((stx.stx_mask & STATX_BASIC_STATS) == STATX_BASIC_STATS);
}

static void a_name_is_pinned_whatever_it_is_and_never_opened(void **state)
{
	struct share *share = *state;
	struct session *session = inside_session(share);
	static const char *const names[] = { "file", "link", "fifo", "directory" };

	share_host_write(share, "file", "x");
	assert_int_equal(symlinkat("file", share->host, "link"), 0);
	assert_int_equal(mkfifoat(share->host, "fifo", 0600), 0);
	assert_int_equal(mkdirat(share->host, "directory", 0700), 0);
	for (size_t i = 0; i < 4; i++) {
		struct stat wanted = inside_stat(share, names[i]), found;
		int fd = reach_pin(session, share->host, names[i]);

		assert_true(fd >= 0);
		assert_true((fcntl(fd, F_GETFL) & O_PATH) != 0);
		assert_true((fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0);
		assert_int_equal(fstat(fd, &found), 0);
		assert_true(found.st_ino == wanted.st_ino);
		close(fd);
	}
	assert_int_equal(reach_pin(session, share->host, "nothing"), -ENOENT);
	assert_int_equal(reach_pin(session, share->host, ".."), -EXDEV);
}

static void flags_of_the_protocol_are_those_of_open(void **state)
{
	assert_int_equal(reach_flags(PROTO_OPEN_READ), O_RDONLY);
	assert_int_equal(reach_flags(PROTO_OPEN_WRITE), O_WRONLY);
	assert_int_equal(reach_flags(PROTO_OPEN_READ | PROTO_OPEN_WRITE), O_RDWR);
	assert_int_equal(reach_flags(PROTO_OPEN_WRITE | PROTO_OPEN_TRUNCATE), O_WRONLY | O_TRUNC);
	assert_int_equal(reach_flags(PROTO_OPEN_READ | PROTO_OPEN_SYNC), O_RDONLY | O_SYNC);
	assert_int_equal(reach_flags(PROTO_OPEN_READ | PROTO_OPEN_DSYNC), O_RDONLY | O_DSYNC);
	assert_int_equal(reach_flags(PROTO_OPEN_READ | PROTO_OPEN_NOATIME), O_RDONLY | O_NOATIME);
	/* decided elsewhere: whether it must be new */
	assert_int_equal(reach_flags(PROTO_OPEN_READ | PROTO_OPEN_EXCLUSIVE), O_RDONLY);
}

static int open_name(struct share *share, const char *name, uint32_t flags)
{
	int pinned = reach_pin(inside_session(share), share->host, name), fd;

	assert_true(pinned >= 0);
	fd = reach_open(inside_session(share), pinned, flags);
	close(pinned);
	return fd;
}

static void only_regular_files_and_directories_are_opened(void **state)
{
	struct share *share = *state;
	int fd;

	share_host_write(share, "file", "x");
	assert_int_equal(symlinkat("file", share->host, "link"), 0);
	assert_int_equal(mkfifoat(share->host, "fifo", 0600), 0);
	fd = open_name(share, "file", PROTO_OPEN_READ | PROTO_OPEN_WRITE | PROTO_OPEN_NOATIME);
	assert_true(fd >= 0);
	assert_int_equal(fcntl(fd, F_GETFL) & (O_ACCMODE | O_NOATIME), O_RDWR | O_NOATIME);
	close(fd);
	assert_int_equal(open_name(share, "link", PROTO_OPEN_READ), -ELOOP);
	assert_int_equal(open_name(share, "fifo", PROTO_OPEN_READ), -ENXIO);
}

static void a_file_is_made_new_or_not_at_all(void **state)
{
	struct share *share = *state;
	struct session *session = inside_session(share);
	int fd = reach_create(session, share->host, "new", O_WRONLY | O_SYNC, 06751);

	assert_true(fd >= 0);
	assert_int_equal(fcntl(fd, F_GETFL) & (O_ACCMODE | O_SYNC), O_WRONLY | O_SYNC);
	assert_int_equal(inside_stat(share, "new").st_mode, S_IFREG | 0751);
	close(fd);
	assert_int_equal(reach_create(session, share->host, "new", O_WRONLY, 0600), -EEXIST);
	assert_int_equal(symlinkat("/nothing", share->host, "link"), 0);
	assert_int_equal(reach_create(session, share->host, "link", O_WRONLY, 0600), -EEXIST);
	assert_int_equal(reach_create(session, share->host, "none/new", O_WRONLY, 0600), -ENOENT);
}

/* Everything that the mode bits of closed/ and of closed are in the way of; 0, or what it answers. */
static void try_closed(struct share *share, int wanted)
{
	struct session *session = inside_session(share);
	int directory = openat(share->host, "closed", O_PATH | O_CLOEXEC), fd;
	struct statx stx;

	assert_int_equal(reach_stat_name(session, directory, "file", &stx), wanted);
	fd = reach_pin(session, directory, "file");
	assert_int_equal(fd < 0 ? fd : 0, wanted);
	if (fd >= 0)
		close(fd);
	fd = reach_create(session, directory, "new", O_WRONLY, 0600);
	assert_int_equal(fd < 0 ? fd : 0, wanted);
	if (fd >= 0)
		close(fd);
	fd = open_name(share, "unreadable", PROTO_OPEN_READ | PROTO_OPEN_WRITE);
	assert_int_equal(fd < 0 ? fd : 0, wanted);
	if (fd >= 0)
		close(fd);
	close(directory);
}

static void close_something(struct share *share)
{
	assert_int_equal(mkdirat(share->host, "closed", 0700), 0);
	share_host_write(share, "closed/file", "x");
	share_host_write(share, "unreadable", "x");
	assert_int_equal(fchmodat(share->host, "unreadable", 0, 0), 0);
	assert_int_equal(fchmodat(share->host, "closed", 0, 0), 0);
}

static void the_owners_own_bits_are_not_in_the_way(void **state)
{
	struct share *share = *state;

	if (!inside_session(share)->may_lift)
		skip(); /* the machine has no user namespaces */
	close_something(share);
	try_closed(share, 0);
	assert_int_equal(inside_stat(share, "unreadable").st_mode & 0777, 0);
}

static void under_permissions_host_they_are(void **state)
{
	struct share *share = *state;

	close_something(share);
	inside_session(share)->config.flags |= PROTO_HELLO_PERMISSIONS_HOST;
	try_closed(share, -EACCES);
	inside_session(share)->config.flags = 0;
	atomic_store(&inside_session(share)->read_only, true);
	try_closed(share, -EACCES);
}

/* A directory of root's that is closed to others; negative when this machine has none. */
static int open_closed(void)
{
	static const char *const paths[] = { "/var/cache/ldconfig", "/root", "/lost+found" };
	struct stat st;

	for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++)
		if (stat(paths[i], &st) == 0 && st.st_uid != geteuid() && (st.st_mode & 0077) == 0)
			return open(paths[i], O_PATH | O_DIRECTORY | O_CLOEXEC);
	return -1;
}

static void what_others_closed_stays_closed(void **state)
{
	struct session *session = inside_session(*state);
	int closed = open_closed(), pinned, fd;
	struct statx stx;

	if (closed < 0)
		skip();
	/* What root keeps while he is somebody else counts for files of everybody. */
	if (getuid() == 0)
		session->may_lift = false;
	assert_int_equal(reach_stat_name(session, closed, "x", &stx), -EACCES);
	assert_int_equal(reach_pin(session, closed, "x"), -EACCES);
	assert_int_equal(reach_create(session, closed, "x", O_WRONLY, 0600), -EACCES);
	close(closed);
	/* Another user's file is read, though its times cannot be left alone. */
	pinned = open("/etc/passwd", O_PATH | O_CLOEXEC);
	assert_true(pinned >= 0);
	fd = reach_open(session, pinned, PROTO_OPEN_READ | PROTO_OPEN_NOATIME);
	assert_true(fd >= 0);
	assert_int_equal(fcntl(fd, F_GETFL) & O_NOATIME, 0);
	close(fd);
	assert_int_equal(reach_open(session, pinned, PROTO_OPEN_WRITE), -EACCES);
	close(pinned);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, inside_set_up, inside_tear_down)
#define TEST_UNPRIVILEGED(name)                                                                                        \
	cmocka_unit_test_setup_teardown(name, inside_set_up_unprivileged, share_tear_down_unprivileged)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_name_is_looked_at_without_following_it),
		TEST(a_name_is_pinned_whatever_it_is_and_never_opened),
		TEST(flags_of_the_protocol_are_those_of_open),
		TEST(only_regular_files_and_directories_are_opened),
		TEST(a_file_is_made_new_or_not_at_all),
		TEST_UNPRIVILEGED(the_owners_own_bits_are_not_in_the_way),
		TEST_UNPRIVILEGED(under_permissions_host_they_are),
		TEST_UNPRIVILEGED(what_others_closed_stays_closed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
