/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which shares are mounted and undone when, and in which order. The mountpoint of a share (mountpoint.h) is played
 * here: it notes what it is told to do, and does it as a case wants.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "guest-fuse/agent/mounts.h"
#include "guest-fuse/agent/mountpoint.h"
#include "guest-fuse/agent/mounts-record.h"
#include "protocol/cleanup.h"
#include "protocol/clock.h"
#include "protocol/log.h"
#include "tests/support/scratch.h"

enum { LOOP_MS = 5000, PLACES = 8 };

/* What is mounted in the guest that is played, by the share's path. */
struct played {
	char path[64];
	int end; /* of the FIFO for writing: the client's, open as long as its session lives */
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct played played[PLACES];
static char done[1024];          /* what was done, in words */
static const char *failing = ""; /* the path whose mount fails */
static bool adopting;            /* mounts are found */

static uv_loop_t loop;
static struct guest_config config;
static struct mounts mounts;
static unsigned changes;

static void note(const char *verb, const char *path)
{
	size_t have = strlen(done);

	(void) snprintf(done + have, sizeof(done) - have, "%s%s %s", have > 0 ? ", " : "", verb, path);
}

int mountpoint_set(struct mountpoint *mountpoint, const struct guest_config *unused, const char *address,
                   const char *root, const struct share_list_entry *share)
{
	struct made made = mountpoint->made;

	mountpoint->made = (struct made){ 0 };
	mountpoint_done(mountpoint);
	*mountpoint = (struct mountpoint){ .fd = -EBADF, .path = strdup(share->path), .made = made };
	if (mountpoint->path == NULL || asprintf(&mountpoint->mount, "%s%s", root, share->path) < 0)
		return -ENOMEM;
	return 0;
}

static void play_mount(struct mountpoint *mountpoint)
{
	int ends[2];

	if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) < 0)
		abort();
	mountpoint->fd = ends[0];
	for (size_t i = 0; i < PLACES; i++)
		if (played[i].path[0] == '\0') {
			(void) snprintf(played[i].path, sizeof(played[i].path), "%s", mountpoint->path);
			played[i].end = ends[1];
			return;
		}
	abort();
}

int mountpoint_make(struct mountpoint *mountpoint)
{
	int r = 0;

	pthread_mutex_lock(&lock);
	mountpoint->adopted = adopting;
	mountpoint->identical = true;
	note(adopting ? "find" : mountpoint->covered ? "make-covered" : "make", mountpoint->path);
	if (strcmp(mountpoint->path, failing) == 0) {
		(void) snprintf(mountpoint->error, sizeof(mountpoint->error), "it does not please");
		mountpoint->fd = -EBADF;
		r = -EIO;
	} else {
		play_mount(mountpoint);
		if (mountpoint->made.count == 0)
			mountpoint->made.paths[mountpoint->made.count++] = strdup(mountpoint->mount);
	}
	pthread_mutex_unlock(&lock);
	return r;
}

void mountpoint_undo(struct mountpoint *mountpoint)
{
	pthread_mutex_lock(&lock);
	note("undo", mountpoint->path);
	for (size_t i = 0; i < PLACES; i++)
		if (strcmp(played[i].path, mountpoint->path) == 0) {
			played[i].path[0] = '\0';
			close_fd(played[i].end);
		}
	pthread_mutex_unlock(&lock);
	mountpoint->fd = close_fd(mountpoint->fd);
	while (mountpoint->made.count > 0)
		free(mountpoint->made.paths[--mountpoint->made.count]);
}

void mountpoint_done(struct mountpoint *mountpoint)
{
	mountpoint->fd = close_fd(mountpoint->fd);
	while (mountpoint->made.count > 0)
		free(mountpoint->made.paths[--mountpoint->made.count]);
	free(mountpoint->path);
	free(mountpoint->mount);
}

bool mountpoint_is_alive(int fd)
{
	char byte;

	return read(fd, &byte, 1) < 0 && errno == EAGAIN;
}

/* The session of this share's mount is over. */
static void lose(const char *path)
{
	for (size_t i = 0; i < PLACES; i++)
		if (strcmp(played[i].path, path) == 0)
			played[i].end = close_fd(played[i].end);
}

static void on_changed(void *context)
{
	changes++;
}

/* Until all that can be done is done; what a pause is waited for is not. */
static void settle(void)
{
	int64_t until = clock_ms() + LOOP_MS;

	do
		(void) uv_run(&loop, UV_RUN_NOWAIT);
	while (mounts.busy > 0 && clock_ms() < until);
	(void) uv_run(&loop, UV_RUN_NOWAIT);
	assert_int_equal(mounts.busy, 0);
}

/* Until this was done, pauses included. */
static void wait_until_done(const char *words)
{
	int64_t until = clock_ms() + LOOP_MS;

	while ((strcmp(done, words) != 0 || mounts.busy > 0) && clock_ms() < until)
		(void) uv_run(&loop, UV_RUN_ONCE);
	assert_string_equal(done, words);
}

static void start(void)
{
	mounts = (struct mounts){ .loop = &loop, .config = &config, .changed = on_changed };
}

static int set_up(void **state)
{
	(void) scratch_make();
	assert_int_equal(guest_config_default(&config), 0);
	free(config.run_directory);
	free(config.address_text);
	config.run_directory = strdup(scratch_directory("run"));
	config.address_text = strdup("unix:/s");
	assert_int_equal(uv_loop_init(&loop), 0);
	done[0] = '\0';
	failing = "";
	adopting = false;
	changes = 0;
	memset(played, 0, sizeof(played));
	start();
	return 0;
}

static int tear_down(void **state)
{
	if (mounts.phase < MOUNTS_STOPPING)
		mounts_stop(&mounts, false);
	(void) uv_run(&loop, UV_RUN_DEFAULT);
	assert_int_equal(uv_loop_close(&loop), 0);
	for (size_t i = 0; i < PLACES; i++)
		if (played[i].path[0] != '\0')
			close_fd(played[i].end);
	guest_config_done(&config);
	scratch_remove();
	return 0;
}

/* The server's list: paths that are apart by a blank; "!" before one: missing there, "%": read-only. Then all that
 * follows. */
static void set(const char *paths)
{
	struct share_list_entry shares[PLACES];
	struct share_list list = { shares, 0 };
	char *text = strdup(paths), *rest = NULL;

	for (char *path = strtok_r(text, " ", &rest); path != NULL; path = strtok_r(NULL, " ", &rest)) {
		uint32_t state = path[0] == '!' ? PROTO_SHARE_MISSING : PROTO_SHARE_SERVED;
		uint32_t flags = path[0] == '%' ? PROTO_SHARE_READ_ONLY : 0;

		path += path[0] != '/';
		shares[list.count++] = (struct share_list_entry){ path, path, state, flags };
	}
	done[0] = '\0';
	mounts_set(&mounts, &list);
	free(text);
}

/* What containers are told: each share's path and state. */
static const char *told(void)
{
	static char text[512];
	struct binds_table table;
	size_t have = 0;

	assert_int_equal(mounts_table(&mounts, &table), 0);
	text[0] = '\0';
	for (size_t i = 0; i < table.count; i++)
		have += (size_t) snprintf(text + have, sizeof(text) - have, "%s%s %s", i > 0 ? ", " : "",
		                          table.shares[i].path, binds_state_name(table.shares[i].state));
	binds_table_done(&table);
	return text;
}

static void shares_are_mounted_from_the_outside_in(void **state)
{
	assert_false(mounts_are_settled(&mounts));
	set("/a/b/c /z /a /a/b");
	assert_string_equal(told(), "/a pending, /a/b pending, /a/b/c pending, /z pending");
	assert_false(mounts_are_settled(&mounts));
	settle();
	/* /z is beside them, and so is mounted at the same time as any of them. */
	assert_non_null(strstr(done, "make /z"));
	assert_true(strstr(done, "make /a") < strstr(done, "make-covered /a/b"));
	assert_true(strstr(done, "make-covered /a/b") < strstr(done, "make-covered /a/b/c"));
	assert_string_equal(told(), "/a mounted, /a/b mounted, /a/b/c mounted, /z mounted");
	assert_true(mounts_are_settled(&mounts));
	assert_true(changes > 0);
}

static void shares_are_undone_from_the_inside_out(void **state)
{
	set("/a /a/b /a/b/c");
	settle();
	set("");
	settle();
	assert_string_equal(done, "undo /a/b/c, undo /a/b, undo /a");
	assert_string_equal(told(), "");
	assert_null(mounts.entries);
}

static void nothing_is_hidden_by_a_share_that_comes_above_it(void **state)
{
	set("/a/b");
	settle();
	set("/a /a/b");
	settle();
	assert_string_equal(done, "undo /a/b, make /a, make-covered /a/b");
}

static void what_lies_in_a_share_that_goes_is_made_anew_without_it(void **state)
{
	set("/a /a/b");
	settle();
	set("/a/b");
	settle();
	assert_string_equal(done, "undo /a/b, undo /a, make /a/b");
}

static void a_share_with_other_options_is_made_anew_with_all_in_it(void **state)
{
	set("/a /a/b /c");
	settle();
	set("%/a /a/b /c");
	assert_string_equal(told(), "/a pending, /a/b pending, /c mounted");
	settle();
	assert_string_equal(done, "undo /a/b, undo /a, make /a, make-covered /a/b");
	set("%/a /a/b /c");
	settle();
	assert_string_equal(done, "");
}

static void options_that_change_while_it_is_mounted_spoil_the_mount(void **state)
{
	pthread_mutex_lock(&lock);
	set("/a");
	set("%/a");
	pthread_mutex_unlock(&lock);
	settle();
	assert_string_equal(done, "make /a, undo /a, make /a");
}

static void a_share_that_comes_back_while_it_is_undone_is_made_after_that(void **state)
{
	set("/a");
	settle();
	pthread_mutex_lock(&lock);
	set("");
	set("/a");
	assert_string_equal(told(), "/a pending");
	pthread_mutex_unlock(&lock);
	settle();
	assert_string_equal(done, "undo /a, make /a");
}

static void a_share_that_is_missing_on_the_host_is_undone_and_told(void **state)
{
	set("/a");
	settle();
	set("!/a");
	settle();
	assert_string_equal(done, "undo /a");
	assert_string_equal(told(), "/a missing");
	set("/a");
	settle();
	assert_string_equal(done, "make /a");
}

static void one_that_fails_is_tried_again_after_a_pause_and_keeps_nobody_in_it_waiting(void **state)
{
	failing = "/a";
	set("/a /a/b");
	settle();
	assert_string_equal(done, "make /a, make /a/b");
	assert_string_equal(told(), "/a failed, /a/b mounted");
	assert_true(mounts_are_settled(&mounts));
	failing = "";
	/* Once more, with what it would hide out of the way. */
	wait_until_done("make /a, make /a/b, undo /a/b, make /a, make-covered /a/b");
	assert_string_equal(told(), "/a mounted, /a/b mounted");
}

static void a_retry_comes_at_once_when_the_server_is_there_again(void **state)
{
	failing = "/a";
	set("/a");
	settle();
	(void) uv_run(&loop, UV_RUN_NOWAIT);
	assert_string_equal(done, "make /a");
	mounts_retry(&mounts);
	assert_string_equal(told(), "/a failed"); /* until it succeeds */
	settle();
	assert_string_equal(done, "make /a, make /a");
	failing = "";
	mounts_retry(&mounts);
	settle();
	assert_string_equal(told(), "/a mounted");
}

static void a_mount_that_has_lost_its_server_is_undone_and_made_after_a_pause(void **state)
{
	set("/a /a/b");
	settle();
	done[0] = '\0';
	lose("/a");
	while (strcmp(told(), "/a pending, /a/b pending") != 0)
		(void) uv_run(&loop, UV_RUN_ONCE);
	settle();
	assert_string_equal(done, "undo /a/b, undo /a");
	wait_until_done("undo /a/b, undo /a, make /a, make-covered /a/b");
}

/* What a guestd leaves behind when it stops. */
static void stop_and_start(void)
{
	mounts_stop(&mounts, false);
	(void) uv_run(&loop, UV_RUN_DEFAULT);
	done[0] = '\0';
	start();
	mounts_recall(&mounts);
}

static void what_an_earlier_one_left_is_taken_up_when_the_list_has_it_still(void **state)
{
	set("/a /a/b /gone");
	settle();
	stop_and_start();
	settle();
	assert_string_equal(done, ""); /* not before there is a list */
	assert_string_equal(told(), "");
	adopting = true;
	set("/a /a/b");
	settle();
	assert_non_null(strstr(done, "undo /gone"));
	assert_true(strstr(done, "find /a") < strstr(done, "find /a/b"));
	assert_null(strstr(done, "undo /a"));
}

static void what_an_earlier_one_left_elsewhere_is_undone_and_made_anew(void **state)
{
	set("/a");
	settle();
	free(config.root);
	config.root = strdup("/elsewhere");
	stop_and_start();
	set("/a");
	settle();
	assert_string_equal(done, "undo /a, make /a");
}

static void the_record_tells_what_is_in_the_guest(void **state)
{
	struct mounts_record record;
	char error[1024];

	failing = "/f";
	set("/a /f !/m");
	settle();
	assert_int_equal(mounts_record_read(config.run_directory, &record, error, sizeof(error)), 0);
	assert_int_equal(record.count, 2);
	assert_string_equal(record.shares[0].path, "/a");
	assert_int_equal(record.shares[0].made_count, 1);
	assert_string_equal(record.shares[1].path, "/f"); /* its FIFO may be left */
	mounts_record_done(&record);
	set("");
	settle();
	assert_int_equal(mounts_record_read(config.run_directory, &record, error, sizeof(error)), 0);
	assert_int_equal(record.count, 0);
	mounts_record_done(&record);
}

static void one_that_stops_leaves_all_as_it_is(void **state)
{
	set("/a /b");
	settle();
	done[0] = '\0';
	changes = 0;
	mounts_stop(&mounts, false);
	(void) uv_run(&loop, UV_RUN_DEFAULT);
	assert_string_equal(done, "");
	assert_int_equal(changes, 0);
	assert_null(mounts.entries);
}

static void unmounting_undoes_what_the_record_tells_of(void **state)
{
	set("/a /a/b");
	settle();
	stop_and_start();
	mounts_stop(&mounts, true);
	(void) uv_run(&loop, UV_RUN_DEFAULT);
	assert_string_equal(done, "undo /a/b, undo /a");
	assert_null(mounts.entries);
}

static void a_broken_record_stops_nobody(void **state)
{
	(void) scratch_file("run/state.json", "{\"shares\":", 0600);
	mounts_recall(&mounts);
	assert_null(mounts.entries);
	set("/a");
	settle();
	assert_string_equal(told(), "/a mounted");
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(shares_are_mounted_from_the_outside_in),
		CASE(shares_are_undone_from_the_inside_out),
		CASE(nothing_is_hidden_by_a_share_that_comes_above_it),
		CASE(what_lies_in_a_share_that_goes_is_made_anew_without_it),
		CASE(a_share_with_other_options_is_made_anew_with_all_in_it),
		CASE(options_that_change_while_it_is_mounted_spoil_the_mount),
		CASE(a_share_that_comes_back_while_it_is_undone_is_made_after_that),
		CASE(a_share_that_is_missing_on_the_host_is_undone_and_told),
		CASE(one_that_fails_is_tried_again_after_a_pause_and_keeps_nobody_in_it_waiting),
		CASE(a_retry_comes_at_once_when_the_server_is_there_again),
		CASE(a_mount_that_has_lost_its_server_is_undone_and_made_after_a_pause),
		CASE(what_an_earlier_one_left_is_taken_up_when_the_list_has_it_still),
		CASE(what_an_earlier_one_left_elsewhere_is_undone_and_made_anew),
		CASE(the_record_tells_what_is_in_the_guest),
		CASE(one_that_stops_leaves_all_as_it_is),
		CASE(unmounting_undoes_what_the_record_tells_of),
		CASE(a_broken_record_stops_nobody),
	};

	log_init("test-agent-mounts", LOG_LEVEL_ERROR);
	return cmocka_run_group_tests_name("mounts", tests, NULL, NULL);
}
