/* SPDX-License-Identifier: Apache-2.0 */
/* What the guest is told of changes, and what becomes of one that does not answer. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "fileserver/worker/leases/internal.h"
#include "protocol/clock.h"
#include "tests/fileserver/worker/leasing.h"
#include "tests/support/scratch.h"

static struct leasing leasing;
static struct node *root, *directory;

static int set_up(void **state)
{
	if (scratch_set_up(state) < 0)
		return -1;
	scratch_directory("d");
	scratch_file("d/file", "text", 0644);
	return 0;
}

static void begin(bool acknowledges)
{
	leasing_begin(&leasing, 0);
	root = leasing_learn(&leasing, NULL, NULL, NULL, 0);
	directory = leasing_learn(&leasing, root, "d", "d", 1);
	assert_true(leasing_hold(&leasing, root));
	assert_true(leasing_hold(&leasing, directory));
	leasing_run(&leasing, acknowledges);
}

static void end(void)
{
	nodes_put(leasing.nodes, directory);
	nodes_put(leasing.nodes, root);
	leasing_end(&leasing);
}

static void each_change_is_told_by_directory_and_name(void **state)
{
	uint64_t id;

	begin(true);
	id = nodes_id(directory);
	leasing_elsewhere("echo more >> d/file");
	(void) leasing_wait(&leasing, id, "file", PROTO_INVALIDATE_CONTENTS);
	leasing_elsewhere("chmod 600 d/file");
	(void) leasing_wait(&leasing, id, "file", PROTO_INVALIDATE_ATTRIBUTES);
	leasing_elsewhere("mv d/file moved");
	(void) leasing_wait(&leasing, id, "file", PROTO_INVALIDATE_NAME);
	(void) leasing_wait(&leasing, nodes_id(root), "moved", PROTO_INVALIDATE_NAME);
	leasing_elsewhere("chmod 700 d");
	(void) leasing_wait(&leasing, id, "", PROTO_INVALIDATE_ATTRIBUTES | PROTO_INVALIDATE_DIRECTORY);
	for (unsigned i = 0; i < leasing_count(&leasing); i++)
		assert_int_equal(leasing_told(&leasing, i).sequence, i + 1);
	end();
}

static void ones_own_changes_are_not_told(void **state)
{
	begin(true);
	scratch_file("d/own", "text", 0600);
	assert_int_equal(unlink(scratch_path("d/file")), 0);
	leasing_elsewhere("mkdir d/foreign");
	(void) leasing_wait(&leasing, nodes_id(directory), "foreign", PROTO_INVALIDATE_NAME);
	for (unsigned i = 0; i < leasing_count(&leasing); i++)
		assert_string_equal(leasing_told(&leasing, i).name.text, "foreign");
	end();
}

static void a_second_name_is_told_where_the_first_one_is(void **state)
{
	struct node *file;

	begin(true);
	file = leasing_learn(&leasing, directory, "file", "d/file", 1);
	leasing_elsewhere("ln d/file second");
	assert_int_equal(
	        leasing_told(&leasing, leasing_wait(&leasing, nodes_id(root), "second", PROTO_INVALIDATE_NAME)).node,
	        nodes_id(file));
	nodes_put(leasing.nodes, file);
	end();
}

static void a_directory_that_is_gone_is_told_before_what_was_in_it(void **state)
{
	unsigned in_it, itself;

	leasing_begin(&leasing, 0);
	root = leasing_learn(&leasing, NULL, NULL, NULL, 0);
	directory = leasing_learn(&leasing, root, "d", "d", 1);
	assert_true(leasing_hold(&leasing, root));
	assert_true(leasing_hold(&leasing, directory));
	/* All of it has happened when the first event is read. */
	leasing_elsewhere("rm -r d && mkdir d");
	leasing_run(&leasing, true);
	in_it = leasing_wait(&leasing, nodes_id(directory), "file", PROTO_INVALIDATE_NAME);
	itself = leasing_wait(&leasing, nodes_id(root), "d", PROTO_INVALIDATE_NAME);
	assert_true(itself < in_it);
	end();
}

static void many_changes_of_one_directory_are_one_message(void **state)
{
	leasing_begin(&leasing, 0);
	root = leasing_learn(&leasing, NULL, NULL, NULL, 0);
	directory = leasing_learn(&leasing, root, "d", "d", 1);
	assert_true(leasing_hold(&leasing, directory));
	leasing_elsewhere("for i in $(seq 500); do : > d/n$i; done");
	leasing_run(&leasing, true);
	(void) leasing_wait(&leasing, nodes_id(directory), "", PROTO_INVALIDATE_DIRECTORY | PROTO_INVALIDATE_CONTENTS);
	assert_true(leasing_count(&leasing) < 100);
	end();
}

static void who_does_not_answer_gets_nothing_more_until_it_does(void **state)
{
	int64_t until = clock_ms() + 20000;
	uint64_t last;

	begin(false);
	/* More names than the window has room for, in more directories than are gathered. */
	leasing_elsewhere("for i in $(seq 20); do mkdir e$i; done");
	for (unsigned i = 1; i <= 20; i++) {
		char name[8];

		(void) snprintf(name, sizeof(name), "e%u", i);
		assert_true(leasing_hold(&leasing, leasing_learn(&leasing, root, name, name, 1)));
	}
	leasing_elsewhere("for i in $(seq 20); do for n in $(seq 30); do : > e$i/$n; done; done");
	while (leasing.counters.leases_state != LEASES_BEHIND) {
		assert_true(clock_ms() < until);
		(void) usleep(2000);
	}
	assert_true(leasing_count(&leasing) <= WINDOW);
	assert_false(leasing_hold(&leasing, directory));
	last = leasing_told(&leasing, leasing_count(&leasing) - 1).sequence;
	/* A number that was never sent is none. */
	leases_acknowledged(leasing.leases, last + 1);
	assert_false(leasing_hold(&leasing, directory));
	leasing.acknowledges = true;
	leases_acknowledged(leasing.leases, last);
	(void) leasing_wait(&leasing, 0, "", PROTO_INVALIDATE_ALL | PROTO_INVALIDATE_CONTENTS);
	while (!leasing_hold(&leasing, directory))
		assert_true(clock_ms() < until);
	leasing_elsewhere("mkdir d/afterwards");
	(void) leasing_wait(&leasing, nodes_id(directory), "afterwards", PROTO_INVALIDATE_NAME);
	for (unsigned i = 1; i <= 20; i++) {
		char name[8];
		struct statx stx;

		(void) snprintf(name, sizeof(name), "e%u", i);
		assert_int_equal(statx(AT_FDCWD, scratch_path(name), 0, NODES_STATX, &stx), 0);
		nodes_put(leasing.nodes, leasing_learn(&leasing, root, name, name, 0));
	}
	leasing_end(&leasing);
}

static uint64_t synced(void)
{
	uint64_t ticket;

	lock_take(&leasing.lock);
	ticket = leasing.synced;
	lock_give(&leasing.lock);
	return ticket;
}

static void wait_synced(uint64_t ticket)
{
	int64_t until = clock_ms() + 10000;

	while (synced() != ticket) {
		assert_true(clock_ms() < until);
		(void) usleep(1000);
	}
}

static void acknowledge_all(void)
{
	leases_acknowledged(leasing.leases, leasing_told(&leasing, leasing_count(&leasing) - 1).sequence);
}

/* The ticket waits for an acknowledgement. */
static void wait_begun(uint64_t ticket)
{
	struct leases *leases = leasing.leases;
	int64_t until = clock_ms() + 10000;

	for (bool begun = false; !begun; (void) usleep(500)) {
		lock_take(&leases->lock);
		begun = leases->syncs_count > 0 && leases->syncs[leases->syncs_count - 1].ticket == ticket;
		lock_give(&leases->lock);
		assert_true(clock_ms() < until);
	}
}

/* Each waits for a change of its own, so that none is answered before the guest has answered. */
static void no_ticket_is_lost_when_there_are_many(void **state)
{
	enum { MANY = 3 * SYNCS_MAX };
	int64_t until;

	begin(false);
	for (unsigned i = 1; i <= MANY; i++) {
		char command[64], name[16];

		(void) snprintf(name, sizeof(name), "n%u", i);
		(void) snprintf(command, sizeof(command), "mkdir d/%s", name);
		leasing_elsewhere(command);
		leases_sync(leasing.leases, i);
		(void) leasing_wait(&leasing, nodes_id(directory), name, PROTO_INVALIDATE_NAME);
		/* Else it would be begun together with the next one. */
		wait_begun(i);
	}
	assert_int_equal(synced(), 0);
	/* The first one waits for no later one. */
	until = clock_ms() + 10000;
	while (synced() == 0) {
		assert_true(clock_ms() < until);
		leases_acknowledged(leasing.leases, 1);
		(void) usleep(1000);
	}
	assert_int_equal(synced(), 1);
	acknowledge_all();
	wait_synced(MANY);
	assert_true(leasing.synced_count <= SYNCS_MAX);
	end();
}

static void a_ticket_outlives_a_restart_and_a_guest_that_is_behind(void **state)
{
	int64_t until = clock_ms() + 20000;
	uint64_t last;

	begin(false);
	leasing_elsewhere("mkdir d/first");
	leases_sync(leasing.leases, 1);
	(void) leasing_wait(&leasing, nodes_id(directory), "first", PROTO_INVALIDATE_NAME);
	leases_restart(leasing.leases);
	leases_sync(leasing.leases, 2);
	(void) leasing_wait(&leasing, 0, "", PROTO_INVALIDATE_ALL | PROTO_INVALIDATE_CONTENTS);
	assert_int_equal(synced(), 0);
	acknowledge_all();
	wait_synced(2);
	assert_true(leasing_hold(&leasing, root));
	/* More than the window has room for: a message for each, since a round is over before the next begins. */
	for (unsigned i = 0; leasing.counters.leases_state != LEASES_BEHIND; i++) {
		char command[64];

		(void) snprintf(command, sizeof(command), "for n in $(seq 60); do : > m%u_$n; done", i);
		leasing_elsewhere(command);
		assert_true(clock_ms() < until);
	}
	leases_sync(leasing.leases, 3);
	(void) usleep(20000);
	last = leasing_told(&leasing, leasing_count(&leasing) - 1).sequence;
	leases_acknowledged(leasing.leases, last);
	/* All that it knew does not hold: it is told so, and has to answer that. */
	while (leasing_told(&leasing, leasing_count(&leasing) - 1).sequence == last)
		assert_true(clock_ms() < until);
	assert_int_equal(synced(), 2);
	acknowledge_all();
	wait_synced(3);
	end();
}

static void what_is_kept_without_a_lease_runs_out(void **state)
{
	begin(true);
	assert_int_equal(leases_kept_for(leasing.leases), 0);
	leases_kept(leasing.leases, 60000);
	leases_kept(leasing.leases, 10); /* the longer one counts */
	assert_in_range(leases_kept_for(leasing.leases), 50000, 60000);
	end();
	begin(true);
	leases_kept(leasing.leases, 20);
	(void) usleep(25000);
	assert_int_equal(leases_kept_for(leasing.leases), 0);
	end();
}

static void sync_waits_for_what_came_before_it(void **state)
{
	int64_t until = clock_ms() + 10000;
	unsigned index;

	begin(false);
	leasing_elsewhere("echo more >> d/file");
	leases_sync(leasing.leases, 7);
	index = leasing_wait(&leasing, nodes_id(directory), "file", PROTO_INVALIDATE_CONTENTS);
	(void) usleep(20000);
	assert_int_equal(synced(), 0);
	while (synced() == 0) {
		assert_true(clock_ms() < until);
		leases_acknowledged(leasing.leases, leasing_told(&leasing, leasing_count(&leasing) - 1).sequence);
		(void) usleep(1000);
	}
	assert_int_equal(synced(), 7);
	assert_true(index < leasing_count(&leasing));
	/* With nothing to wait for it is answered at once. */
	leases_sync(leasing.leases, 8);
	while (synced() != 8) {
		assert_true(clock_ms() < until);
		(void) usleep(1000);
	}
	end();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(each_change_is_told_by_directory_and_name, set_up, scratch_tear_down),
		cmocka_unit_test_setup_teardown(ones_own_changes_are_not_told, set_up, scratch_tear_down),
		cmocka_unit_test_setup_teardown(a_second_name_is_told_where_the_first_one_is, set_up,
		                                scratch_tear_down),
		cmocka_unit_test_setup_teardown(a_directory_that_is_gone_is_told_before_what_was_in_it, set_up,
		                                scratch_tear_down),
		cmocka_unit_test_setup_teardown(many_changes_of_one_directory_are_one_message, set_up,
		                                scratch_tear_down),
		cmocka_unit_test_setup_teardown(who_does_not_answer_gets_nothing_more_until_it_does, set_up,
		                                scratch_tear_down),
		cmocka_unit_test_setup_teardown(sync_waits_for_what_came_before_it, set_up, scratch_tear_down),
		cmocka_unit_test_setup_teardown(no_ticket_is_lost_when_there_are_many, set_up, scratch_tear_down),
		cmocka_unit_test_setup_teardown(a_ticket_outlives_a_restart_and_a_guest_that_is_behind, set_up,
		                                scratch_tear_down),
		cmocka_unit_test_setup_teardown(what_is_kept_without_a_lease_runs_out, set_up, scratch_tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
