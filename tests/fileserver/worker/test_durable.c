/* SPDX-License-Identifier: Apache-2.0 */
/* What is on the disk before the guest has its answer: which calls are made, of what, and when none is. */
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

#include "fileserver/worker/host/durable.h"
#include "tests/fileserver/worker/inside.h"

/* In place of the C library's: what was asked for, and what they answer. */
static struct {
	unsigned whole, data_only;
	ino_t ino;
	unsigned interrupted; /* so many times first */
	int error;
} made;

static int answer(int fd)
{
	struct stat st;

	made.ino = fstat(fd, &st) == 0 ? st.st_ino : 0;
	errno = made.interrupted > 0 ? EINTR : made.error;
	if (made.interrupted > 0)
		made.interrupted--;
	return errno == 0 ? 0 : -1;
}

int fsync(int fd)
{
	made.whole++;
	errno = 0;
	return answer(fd);
}

int fdatasync(int fd)
{
	made.data_only++;
	errno = 0;
	return answer(fd);
}

/* That these calls were made since the last time. */
static void calls(unsigned whole, unsigned data_only)
{
	assert_int_equal(made.whole, whole);
	assert_int_equal(made.data_only, data_only);
	made.whole = made.data_only = 0;
}

static int set_up(void **state)
{
	memset(&made, 0, sizeof(made));
	return inside_set_up(state);
}

static void nothing_is_synced_that_nobody_asked_for(void **state)
{
	struct share *share = *state;
	struct session *session = inside_session(share);

	assert_int_equal(durable_names(session, share->host), 0);
	assert_int_equal(durable_contents(session, share->host), 0);
	assert_int_equal(durable_attributes(session, share->host), 0);
	assert_int_equal(durable_write(share->host, 0), 0);
	assert_int_equal(durable_write(share->host, PROTO_WRITE_APPEND | PROTO_WRITE_KILL_PRIVILEGES), 0);
	calls(0, 0);
	session->config.flags = PROTO_HELLO_DIRSYNC;
	assert_int_equal(durable_contents(session, share->host), 0);
	assert_int_equal(durable_attributes(session, share->host), 0);
	calls(0, 0);
	session->config.flags = PROTO_HELLO_SYNC;
	assert_int_equal(durable_names(session, share->host), 0);
	calls(0, 0);
}

static void names_and_attributes_go_by_a_descriptor_of_their_own(void **state)
{
	struct share *share = *state;
	struct session *session = inside_session(share);
	int pinned = open(share->directory, O_PATH | O_CLOEXEC);

	session->config.flags = PROTO_HELLO_DIRSYNC;
	assert_int_equal(durable_names(session, pinned), 0);
	calls(1, 0);
	assert_true(made.ino == inside_stat(share, ".").st_ino);
	session->config.flags = PROTO_HELLO_SYNC;
	assert_int_equal(durable_attributes(session, pinned), 0);
	calls(1, 0);
	made.error = EIO;
	assert_int_equal(durable_attributes(session, pinned), -EIO);
	close(pinned);
}

static void contents_are_enough_where_only_they_have_changed(void **state)
{
	struct share *share = *state;

	inside_session(share)->config.flags = PROTO_HELLO_SYNC;
	assert_int_equal(durable_contents(inside_session(share), share->host), 0);
	calls(0, 1);
	assert_int_equal(durable_write(share->host, PROTO_WRITE_DSYNC), 0);
	calls(0, 1);
	assert_int_equal(durable_write(share->host, PROTO_WRITE_SYNC), 0);
	calls(1, 0);
	assert_int_equal(durable_write(share->host, PROTO_WRITE_SYNC | PROTO_WRITE_DSYNC), 0);
	calls(1, 0);
}

static void an_interrupted_call_is_made_again_and_an_error_is_told(void **state)
{
	struct share *share = *state;

	made.interrupted = 2;
	assert_int_equal(durable_write(share->host, PROTO_WRITE_SYNC), 0);
	calls(3, 0);
	made.error = ENOSPC;
	assert_int_equal(durable_write(share->host, PROTO_WRITE_DSYNC), -ENOSPC);
	calls(0, 1);
}

static void a_link_has_nothing_that_could_be_synced(void **state)
{
	struct share *share = *state;
	struct session *session = inside_session(share);
	int pinned;

	session->config.flags = PROTO_HELLO_SYNC;
	assert_int_equal(symlinkat("x", share->host, "link"), 0);
	assert_int_equal(mkfifoat(share->host, "fifo", 0600), 0);
	pinned = openat(share->host, "link", O_PATH | O_NOFOLLOW | O_CLOEXEC);
	assert_int_equal(durable_attributes(session, pinned), 0);
	close(pinned);
	pinned = openat(share->host, "fifo", O_PATH | O_CLOEXEC);
	assert_int_equal(durable_attributes(session, pinned), 0);
	close(pinned);
	calls(0, 0);
	assert_int_equal(durable_attributes(session, -EBADF), -EBADF);
}

/* Also under permissions=host: it is the server's own business. */
static void a_file_that_nobody_may_read_is_synced_all_the_same(void **state)
{
	struct share *share = *state;
	struct session *session = inside_session(share);
	int pinned;

	if (!session->may_lift)
		skip(); /* the machine has no user namespaces */
	session->config.flags = PROTO_HELLO_SYNC | PROTO_HELLO_PERMISSIONS_HOST;
	share_host_write(share, "a", "x");
	assert_int_equal(fchmodat(share->host, "a", 0, 0), 0);
	pinned = openat(share->host, "a", O_PATH | O_CLOEXEC);
	assert_int_equal(durable_attributes(session, pinned), 0);
	calls(1, 0);
	close(pinned);
}

static int set_up_unprivileged(void **state)
{
	return share_become_unprivileged() < 0 ? -1 : set_up(state);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, inside_tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(nothing_is_synced_that_nobody_asked_for),
		TEST(names_and_attributes_go_by_a_descriptor_of_their_own),
		TEST(contents_are_enough_where_only_they_have_changed),
		TEST(an_interrupted_call_is_made_again_and_an_error_is_told),
		TEST(a_link_has_nothing_that_could_be_synced),
		cmocka_unit_test_setup_teardown(a_file_that_nobody_may_read_is_synced_all_the_same, set_up_unprivileged,
		                                share_tear_down_unprivileged),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
