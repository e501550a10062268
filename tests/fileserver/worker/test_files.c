/* SPDX-License-Identifier: Apache-2.0 */
/* Files with several names, which are watched themselves, and what the guest is told of them. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "fileserver/worker/leases/internal.h"
#include "fileserver/worker/nodes/stamps.h"
#include "protocol/cleanup.h"
#include "protocol/clock.h"
#include "tests/fileserver/worker/leasing.h"
#include "tests/support/scratch.h"

enum { BOTH = PROTO_INVALIDATE_ATTRIBUTES | PROTO_INVALIDATE_CONTENTS };

static struct leasing leasing;
static struct node *root, *store, *files[4];

/* store/N, each with a second name in far/. */
static int set_up(void **state)
{
	char path[16];

	if (scratch_set_up(state) < 0)
		return -1;
	scratch_directory("store");
	scratch_directory("far");
	for (unsigned i = 0; i < ARRAY_SIZE(files); i++) {
		(void) snprintf(path, sizeof(path), "store/%u", i);
		scratch_file(path, "text", 0644);
	}
	return 0;
}

static void begin(uint32_t most)
{
	char path[16];

	leasing_elsewhere("for i in 0 1 2 3; do ln store/$i far/$i; done");
	leasing_begin(&leasing, most);
	root = leasing_learn(&leasing, NULL, NULL, NULL, 0);
	store = leasing_learn(&leasing, root, "store", "store", 1);
	assert_true(leasing_hold(&leasing, store));
	for (unsigned i = 0; i < ARRAY_SIZE(files); i++) {
		(void) snprintf(path, sizeof(path), "store/%u", i);
		files[i] = leasing_learn(&leasing, store, path + 6, path, 1);
	}
}

static void end(void)
{
	for (unsigned i = 0; i < ARRAY_SIZE(files); i++)
		nodes_put(leasing.nodes, files[i]);
	nodes_put(leasing.nodes, store);
	nodes_put(leasing.nodes, root);
	leasing_end(&leasing);
}

static bool hold(struct node *file)
{
	struct node_fd fd;
	bool held;

	assert_int_equal(nodes_fd(leasing.nodes, file, &fd), 0);
	held = leases_hold_file(leasing.leases, file, fd.fd);
	nodes_fd_done(leasing.nodes, &fd);
	return held;
}

/* Waits until a message about this file alone, with all of these bits, has come. */
static void wait_for(const struct node *file, uint32_t what)
{
	int64_t until = clock_ms() + 10000;

	for (;;) {
		for (unsigned i = 0; i < leasing_count(&leasing); i++) {
			struct proto_invalidate_request told = leasing_told(&leasing, i);

			if (told.directory == 0 && told.node == nodes_id(file) && (told.what & what) == what)
				return;
		}
		assert_true(clock_ms() < until);
		(void) usleep(500);
	}
}

static unsigned count_of(const struct node *file)
{
	unsigned count = 0;

	for (unsigned i = 0; i < leasing_count(&leasing); i++)
		count += leasing_told(&leasing, i).node == nodes_id(file);
	return count;
}

static void a_file_is_watched_when_it_is_asked_about_again(void **state)
{
	begin(0);
	assert_false(leases_has(leasing.leases, files[1]));
	assert_false(hold(files[0]));
	assert_int_equal(leasing.counters.leases, 1);
	assert_true(hold(files[0]));
	assert_true(hold(files[0]));
	assert_true(leases_has(leasing.leases, files[0]));
	assert_int_equal(leasing.counters.leases, 2);
	/* A look by name counts. */
	assert_true(hold(files[1]));
	assert_false(leases_hold_file(NULL, files[2], -EBADF));
	assert_false(leases_has(NULL, files[2]));
	end();
}

static void a_change_by_another_name_is_told_with_the_file(void **state)
{
	begin(0);
	leasing_run(&leasing, true);
	for (unsigned i = 0; i < ARRAY_SIZE(files); i++) {
		(void) hold(files[i]);
		assert_true(hold(files[i]));
	}
	leasing_elsewhere("echo more >> far/0");
	wait_for(files[0], BOTH);
	leasing_elsewhere("chmod 600 far/1");
	wait_for(files[1], PROTO_INVALIDATE_ATTRIBUTES);
	leasing_elsewhere("rm far/2");
	wait_for(files[2], PROTO_INVALIDATE_ATTRIBUTES);
	/* One name is left, and then another one where nobody looks. */
	leasing_elsewhere("ln store/2 far/new");
	leasing_elsewhere("echo more >> far/new");
	wait_for(files[2], BOTH);
	assert_true(leases_has(leasing.leases, files[2]));
	assert_int_equal(count_of(files[3]), 0);
	end();
}

static void ones_own_changes_are_not_told(void **state)
{
	begin(0);
	leasing_run(&leasing, true);
	(void) hold(files[0]);
	(void) hold(files[1]);
	assert_true(hold(files[0]) && hold(files[1]));
	assert_int_equal(chmod(scratch_path("far/0"), 0600), 0);
	leasing_elsewhere("chmod 600 far/1");
	wait_for(files[1], PROTO_INVALIDATE_ATTRIBUTES);
	assert_int_equal(count_of(files[0]), 0);
	end();
}

static void a_file_that_is_gone_is_not_watched_any_more(void **state)
{
	int64_t until = clock_ms() + 10000;

	begin(0);
	leasing_run(&leasing, true);
	(void) hold(files[0]);
	assert_true(hold(files[0]));
	leasing_elsewhere("rm store/0 far/0");
	wait_for(files[0], PROTO_INVALIDATE_ATTRIBUTES);
	/* With the descriptors that nobody has used for a while. */
	while (leasing.counters.leases != 1) {
		assert_true(clock_ms() < until);
		nodes_tick(leasing.nodes);
		(void) usleep(1000);
	}
	assert_false(leases_has(leasing.leases, files[0]));
	end();
}

static void files_have_half_of_the_marks_and_push_out_no_directory(void **state)
{
	struct node *far;

	begin(4);
	leasing_run(&leasing, true);
	for (unsigned i = 0; i < ARRAY_SIZE(files); i++)
		(void) leases_has(leasing.leases, files[i]);
	assert_true(hold(files[0]));
	assert_true(hold(files[1]));
	assert_int_equal(leasing.counters.leases, 3);
	/* Nobody has asked about the second one since. */
	(void) nodes_was_asked(files[0]);
	(void) nodes_was_asked(files[1]);
	(void) leases_has(leasing.leases, files[0]);
	assert_true(hold(files[2]));
	assert_int_equal(leasing.counters.leases, 3);
	assert_false(leases_has(leasing.leases, files[1]));
	assert_true(leases_has(leasing.leases, files[0]));
	wait_for(files[1], BOTH);
	/* Directories take the place of files. */
	assert_true(leasing_hold(&leasing, root));
	far = leasing_learn(&leasing, root, "far", "far", 1);
	assert_true(leasing_hold(&leasing, far));
	assert_int_equal(leasing.counters.leases, 4);
	assert_int_equal(leases_has(leasing.leases, files[0]) + leases_has(leasing.leases, files[2]), 1);
	assert_true(nodes_is_watched(store) && nodes_is_watched(root));
	nodes_put(leasing.nodes, far);
	end();
}

static void with_one_mark_it_is_a_directory_s(void **state)
{
	begin(1);
	(void) hold(files[0]);
	assert_false(hold(files[0]));
	assert_true(nodes_is_watched(store));
	end();
}

static void a_restart_ends_the_watches_of_files(void **state)
{
	begin(0);
	leasing_run(&leasing, true);
	(void) hold(files[0]);
	assert_true(hold(files[0]));
	leases_restart(leasing.leases);
	assert_false(leases_has(leasing.leases, files[0]));
	assert_int_equal(leasing.counters.leases, 0);
	assert_true(hold(files[0]));
	leasing_elsewhere("echo more >> far/0");
	wait_for(files[0], BOTH);
	end();
}

static void a_file_that_the_guest_forgets_is_not_watched_any_more(void **state)
{
	struct node *node;

	begin(0);
	leasing_elsewhere("echo x >store/more && ln store/more far/more");
	node = leasing_learn(&leasing, store, "more", "store/more", 1);
	(void) hold(node);
	assert_true(hold(node));
	assert_int_equal(leasing.counters.leases, 2);
	nodes_put(leasing.nodes, node);
	nodes_forget(leasing.nodes, nodes_id(node), 1);
	assert_int_equal(leasing.counters.leases, 1);
	end();
}

/* What the guest was told of store/NAME now. */
static void tell(struct node *file, const char *path)
{
	struct statx stx;

	assert_int_equal(statx(AT_FDCWD, scratch_path(path), AT_SYMLINK_NOFOLLOW, NODES_STATX, &stx), 0);
	stamps_keep(file, &stx);
}

static void what_the_session_changes_itself_does_not_count(void **state)
{
	uint32_t before, now;

	begin(0);
	tell(files[0], "store/0");
	before = leases_before_change(files[0]);
	assert_int_not_equal(before, 0);
	leases_after_change(files[0], before);
	assert_int_not_equal(leases_before_change(files[0]), before);
	/* But what the guest was told meanwhile counts. */
	assert_int_equal(chmod(scratch_path("store/0"), 0600), 0);
	tell(files[0], "store/0");
	now = leases_before_change(files[0]);
	leases_after_change(files[0], before);
	leases_after_change(files[0], 0);
	assert_int_equal(leases_before_change(files[0]), now);
	end();
}

static void what_is_seen_on_the_way_is_told_at_once(void **state)
{
	struct statx stx;

	begin(0);
	leasing_run(&leasing, true);
	tell(files[0], "store/0");
	tell(files[1], "store/1");
	leasing_elsewhere("echo more >> far/0");
	for (unsigned i = 0; i < 3; i++) {
		char path[16];

		(void) snprintf(path, sizeof(path), "store/%u", i);
		assert_int_equal(statx(AT_FDCWD, scratch_path(path), 0, NODES_STATX, &stx), 0);
		leases_seen(leasing.leases, files[i], &stx);
		leases_seen(NULL, files[i], &stx);
	}
	wait_for(files[0], BOTH);
	assert_int_equal(stamps_of(files[0]), 0);
	assert_int_not_equal(stamps_of(files[1]), 0);
	assert_int_equal(count_of(files[1]) + count_of(files[2]), 0);
	end();
}

static void whoever_waits_for_changes_waits_for_those_without_an_event(void **state)
{
	int64_t until = clock_ms() + 10000;
	uint64_t synced = 0;

	begin(0);
	tell(files[0], "store/0");
	leasing_run(&leasing, true);
	leasing_elsewhere("echo more >> far/0");
	leases_sync(leasing.leases, 7);
	while (synced != 7) {
		assert_true(clock_ms() < until);
		(void) usleep(500);
		lock_take(&leasing.lock);
		synced = leasing.synced;
		lock_give(&leasing.lock);
	}
	assert_int_equal(count_of(files[0]), 1);
	end();
}

static void what_the_guest_was_told_of_a_file_is_kept_only_while_it_is_looked_at_again(void **state)
{
	struct statx stx;

	begin(0);
	assert_int_equal(statx(AT_FDCWD, scratch_path("store/0"), 0, NODES_STATX, &stx), 0);
	assert_false(leases_told(NULL, files[0], &stx));
	assert_false(leases_told(leasing.leases, files[0], &stx)); /* two names */
	assert_int_not_equal(stamps_of(files[0]), 0);
	leasing_elsewhere("rm far/0");
	assert_int_equal(statx(AT_FDCWD, scratch_path("store/0"), 0, NODES_STATX, &stx), 0);
	assert_true(leases_told(leasing.leases, files[0], &stx));
	end();
}

#define TEST(test) cmocka_unit_test_setup_teardown(test, set_up, scratch_tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_file_is_watched_when_it_is_asked_about_again),
		TEST(a_change_by_another_name_is_told_with_the_file),
		TEST(ones_own_changes_are_not_told),
		TEST(a_file_that_is_gone_is_not_watched_any_more),
		TEST(files_have_half_of_the_marks_and_push_out_no_directory),
		TEST(with_one_mark_it_is_a_directory_s),
		TEST(a_restart_ends_the_watches_of_files),
		TEST(a_file_that_the_guest_forgets_is_not_watched_any_more),
		TEST(what_the_session_changes_itself_does_not_count),
		TEST(what_is_seen_on_the_way_is_told_at_once),
		TEST(whoever_waits_for_changes_waits_for_those_without_an_event),
		TEST(what_the_guest_was_told_of_a_file_is_kept_only_while_it_is_looked_at_again),
	};

	return cmocka_run_group_tests_name("files", tests, NULL, NULL);
}
