/* SPDX-License-Identifier: Apache-2.0 */
/* Changes of what a path leads to are told, others are not. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "fileserver/broker/watch.h"
#include "tests/support/scratch.h"

enum { PATIENCE_MS = 5000, QUIET_MS = 300 };

static uv_loop_t loop;
static struct watch watch;
static unsigned changes;

static void on_changed(void *context)
{
	changes++;
}

static int set_up(void **state)
{
	changes = 0;
	(void) scratch_make();
	(void) scratch_directory("top");
	(void) scratch_directory("top/middle");
	(void) scratch_file("top/middle/file", "old", 0600);
	assert_int_equal(uv_loop_init(&loop), 0);
	return watch_open(&watch, &loop, on_changed, NULL);
}

static int tear_down(void **state)
{
	watch_close(&watch);
	(void) uv_run(&loop, UV_RUN_DEFAULT);
	scratch_remove();
	return uv_loop_close(&loop);
}

static void on_tick(uv_timer_t *timer)
{
}

/* Runs the loop until there was a change, or for ms. */
static unsigned changes_within(uint64_t ms)
{
	uv_timer_t tick;
	uint64_t end;

	changes = 0;
	assert_int_equal(uv_timer_init(&loop, &tick), 0);
	assert_int_equal(uv_timer_start(&tick, on_tick, 1, 5), 0);
	end = uv_now(&loop) + ms;
	while (changes == 0 && uv_now(&loop) < end)
		(void) uv_run(&loop, UV_RUN_ONCE);
	uv_close((uv_handle_t *) &tick, NULL);
	(void) uv_run(&loop, UV_RUN_NOWAIT);
	return changes;
}

/* Watches the path anew and takes what is there to be told. */
static void watch_path(const char *path, bool content)
{
	watch_begin(&watch);
	watch_add(&watch, path, content);
	watch_end(&watch);
	(void) changes_within(50);
}

static void a_file_that_is_written_or_replaced_is_told(void **state)
{
	const char *path = scratch_path("top/middle/file");

	watch_path(path, true);
	(void) scratch_file("top/middle/file", "new", 0600);
	assert_int_equal(changes_within(PATIENCE_MS), 1);
	(void) scratch_file("top/middle/next", "next", 0600);
	assert_int_equal(rename(scratch_path("top/middle/next"), path), 0);
	assert_int_equal(changes_within(PATIENCE_MS), 1);
	watch_path(path, true);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(changes_within(PATIENCE_MS), 1);
	watch_path(path, true);
	(void) scratch_file("top/middle/file", "back", 0600);
	assert_int_equal(changes_within(PATIENCE_MS), 1);
}

static void what_happens_beside_and_beneath_the_way_is_not_told(void **state)
{
	watch_path(scratch_path("top/middle"), false);
	(void) scratch_file("top/other", "x", 0600);
	(void) scratch_file("top/middle/file", "new", 0600);
	(void) scratch_directory("top/middle/deep");
	assert_int_equal(changes_within(QUIET_MS), 0);
}

static void a_directory_of_the_way_that_moves_is_told(void **state)
{
	watch_path(scratch_path("top/middle"), false);
	assert_int_equal(rename(scratch_path("top"), scratch_path("away")), 0);
	assert_int_equal(changes_within(PATIENCE_MS), 1);
	watch_path(scratch_path("top/middle"), false);
	assert_int_equal(rename(scratch_path("away"), scratch_path("top")), 0);
	assert_int_equal(changes_within(PATIENCE_MS), 1);
}

static void a_link_of_the_way_and_what_it_leads_to_are_watched(void **state)
{
	(void) scratch_directory("second");
	assert_int_equal(symlink("top/./middle/../middle", scratch_path("link")), 0);
	watch_path(scratch_path("link/file"), true);
	(void) scratch_file("top/middle/file", "new", 0600);
	assert_int_equal(changes_within(PATIENCE_MS), 1);
	assert_int_equal(symlink("second", scratch_path("new-link")), 0);
	assert_int_equal(rename(scratch_path("new-link"), scratch_path("link")), 0);
	assert_int_equal(changes_within(PATIENCE_MS), 1);
	/* A link to itself has an end. */
	assert_int_equal(symlink("loop", scratch_path("loop")), 0);
	watch_path(scratch_path("loop/x"), true);
	assert_int_equal(changes_within(50), 0);
}

static void paths_that_are_forgotten_are_not_watched(void **state)
{
	watch_path(scratch_path("top/middle/file"), true);
	assert_true(watch.count >= 3);
	watch_begin(&watch);
	watch_end(&watch);
	assert_int_equal(watch.count, 0);
	(void) scratch_file("top/middle/file", "new", 0600);
	assert_int_equal(changes_within(QUIET_MS), 0);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(a_file_that_is_written_or_replaced_is_told),
		CASE(what_happens_beside_and_beneath_the_way_is_not_told),
		CASE(a_directory_of_the_way_that_moves_is_told),
		CASE(a_link_of_the_way_and_what_it_leads_to_are_watched),
		CASE(paths_that_are_forgotten_are_not_watched),
	};

	return cmocka_run_group_tests_name("watch", tests, NULL, NULL);
}
