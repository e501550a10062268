/* SPDX-License-Identifier: Apache-2.0 */
/* Descriptors of nodes within the budget: who keeps one, and in which order they leave. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <cmocka.h>

#include "fileserver/worker/nodes/fds.h"
#include "tests/fileserver/worker/inside.h"

/* Whatever a request does, nothing stays in use. */
static int tear_down(void **state)
{
	inside_is_idle(*state);
	return inside_tear_down(state);
}

static int set_up_small(void **state)
{
	*state = share_new(0, 4);
	return *state == NULL ? -1 : 0;
}

static void descriptors_stay_within_the_budget_and_names_bring_them_back(void **state)
{
	struct share *share = *state;
	struct proto_entry entries[20], deep;
	char name[16];

	for (int i = 0; i < 20; i++) {
		snprintf(name, sizeof(name), "d%d", i);
		assert_int_equal(mkdirat(share->host, name, 0755), 0);
		strcat(name, "/sub");
		assert_int_equal(mkdirat(share->host, name, 0755), 0);
	}
	for (int i = 0; i < 20; i++) {
		snprintf(name, sizeof(name), "d%d", i);
		assert_int_equal(share_lookup(share, share->root, name, &entries[i]), 0);
		assert_int_equal(share_lookup(share, entries[i].node, "sub", &entries[i]), 0);
		assert_true(proto_counter_get(&share->counters.descriptors) <= 4);
	}
	for (int i = 0; i < 20; i++)
		assert_int_equal(share_lookup(share, entries[i].node, "nothing", &deep), -ENOENT);
	assert_true(proto_counter_get(&share->counters.descriptors) <= 4);
}

static uint64_t make(struct share *share, const char *name)
{
	share_host_write(share, name, "x");
	return inside_look_up(share, share->root, name);
}

/* Uses a node, so that it has a descriptor and was used last. */
static void use(struct share *share, uint64_t id)
{
	struct pinned pinned;

	inside_take(share, id, &pinned);
	inside_put(share, &pinned);
}

/* With so many the budget is full: whether one more may come. */
static bool make_room(struct share *share, uint32_t most)
{
	struct nodes *nodes = inside_session(share)->nodes;
	bool room;

	nodes_lock(nodes);
	nodes->descriptors_max = most;
	room = fds_make_room(nodes, false);
	nodes_unlock(nodes);
	return room;
}

static uint64_t descriptors(struct share *share)
{
	return proto_counter_get(&share->counters.descriptors);
}

static void what_was_used_longest_ago_leaves_first(void **state)
{
	struct share *share = *state;
	uint64_t a = make(share, "a"), b = make(share, "b"), c = make(share, "c");

	use(share, a);
	use(share, b);
	use(share, c);
	use(share, a);
	assert_int_equal(descriptors(share), 3);
	assert_true(make_room(share, 4));
	assert_int_equal(descriptors(share), 3);
	assert_true(make_room(share, 3));
	assert_false(inside_has_descriptor(share, b));
	assert_true(make_room(share, 2));
	assert_false(inside_has_descriptor(share, c));
	assert_true(inside_has_descriptor(share, a));
	assert_int_equal(descriptors(share), 1);
}

static void what_was_opened_leaves_later_and_what_was_removed_last(void **state)
{
	struct share *share = *state;
	uint64_t removed = make(share, "removed"), opened = make(share, "opened"), plain = make(share, "plain");
	uint64_t handle;

	assert_int_equal(raw_unlink(&share->raw, &(struct proto_unlink_request){ share->root, raw_name("removed") },
	                            &(struct proto_unlink_reply){}),
	                 0);
	handle = inside_open(share, opened, PROTO_OPEN_READ);
	use(share, opened);
	raw_release(&share->raw, &(struct proto_release_request){ handle }, &(struct proto_release_reply){});
	assert_int_equal(share_lookup(share, share->root, "none", &(struct proto_entry){}), -ENOENT);
	use(share, plain);
	assert_int_equal(descriptors(share), 3);
	assert_true(make_room(share, 3));
	assert_false(inside_has_descriptor(share, plain));
	assert_true(make_room(share, 2));
	assert_false(inside_has_descriptor(share, opened));
	assert_true(inside_has_descriptor(share, removed));
	assert_true(make_room(share, 1));
	assert_int_equal(descriptors(share), 0);
}

static void what_was_removed_stays_while_the_guest_can_give_handles_back(void **state)
{
	struct share *share = *state;
	uint64_t removed = make(share, "removed"), kept = make(share, "kept"), more = make(share, "more");
	struct nodes *nodes = inside_session(share)->nodes;
	uint64_t handle, other;

	assert_int_equal(raw_unlink(&share->raw, &(struct proto_unlink_request){ share->root, raw_name("removed") },
	                            &(struct proto_unlink_reply){}),
	                 0);
	handle = inside_open(share, kept, PROTO_OPEN_READ);
	nodes_keeps(nodes, handle);
	nodes_lock(nodes);
	nodes->descriptors_max = 2;
	nodes_unlock(nodes);
	use(share, more);
	assert_true(inside_has_descriptor(share, removed));
	assert_int_equal(share_open(share, more, PROTO_OPEN_READ, &other), -ENFILE);
	assert_true(inside_has_descriptor(share, removed));
	/* It was given back, and there is room. */
	raw_release(&share->raw, &(struct proto_release_request){ handle }, &(struct proto_release_reply){});
	assert_int_equal(share_open(share, more, PROTO_OPEN_READ, &other), 0);
	assert_true(inside_has_descriptor(share, removed));
	/* Those that are kept are in use. */
	nodes_keeps(nodes, other);
	assert_int_equal(share_open(share, kept, PROTO_OPEN_READ, &handle), -ENFILE);
	assert_int_equal(share_open(share, kept, PROTO_OPEN_READ, &handle), 0);
	assert_false(inside_has_descriptor(share, removed));
}

static void what_is_removed_counts_at_once(void **state)
{
	struct share *share = *state;
	uint64_t open = make(share, "open"), first = make(share, "first"), second = make(share, "second");
	struct nodes *nodes = inside_session(share)->nodes;

	nodes_keeps(nodes, inside_open(share, open, PROTO_OPEN_READ));
	nodes_lock(nodes);
	nodes->descriptors_max = 2;
	nodes_unlock(nodes);
	assert_int_equal(raw_unlink(&share->raw, &(struct proto_unlink_request){ share->root, raw_name("first") },
	                            &(struct proto_unlink_reply){}),
	                 0);
	assert_true(inside_has_descriptor(share, first));
	assert_int_equal(raw_unlink(&share->raw, &(struct proto_unlink_request){ share->root, raw_name("second") },
	                            &(struct proto_unlink_reply){}),
	                 0);
	assert_true(inside_has_descriptor(share, second));
	assert_false(inside_has_descriptor(share, first));
	assert_int_equal(descriptors(share), 2);
}

static void what_is_in_use_does_not_leave(void **state)
{
	struct share *share = *state;
	uint64_t a = make(share, "a");
	struct pinned first, second;

	inside_take(share, a, &first);
	inside_take(share, a, &second);
	assert_false(make_room(share, 1));
	inside_put(share, &first);
	assert_false(make_room(share, 1));
	assert_true(inside_has_descriptor(share, a));
	inside_put(share, &second);
	assert_true(make_room(share, 1));
	assert_false(inside_has_descriptor(share, a));
}

static void an_operation_has_its_descriptor_though_the_budget_is_spent_and_gives_it_back(void **state)
{
	struct share *share = *state;
	uint64_t a = make(share, "a"), b = make(share, "b");
	struct pinned first, second;

	inside_session(share)->nodes->descriptors_max = 1;
	inside_take(share, a, &first);
	inside_take(share, b, &second);
	assert_int_equal(descriptors(share), 2);
	inside_put(share, &second);
	inside_put(share, &first);
	assert_true(descriptors(share) <= 1);
}

static void what_lies_deep_is_reopened_though_open_files_have_the_budget(void **state)
{
	struct share *share = *state;
	uint64_t open = make(share, "open"), at = share->root;
	char path[32] = "";

	for (int i = 0; i < 4; i++) {
		(void) strcat(path, i == 0 ? "d" : "/d");
		assert_int_equal(mkdirat(share->host, path, 0755), 0);
		at = inside_look_up(share, at, "d");
	}
	(void) inside_open(share, open, PROTO_OPEN_READ);
	assert_false(make_room(share, 1));
	assert_false(inside_has_descriptor(share, at));
	use(share, at);
	assert_int_equal(descriptors(share), 1);
}

static void the_root_keeps_its_own_which_does_not_count(void **state)
{
	struct share *share = *state;
	struct nodes *nodes = inside_session(share)->nodes;

	use(share, share->root);
	assert_int_equal(descriptors(share), 0);
	nodes_lock(nodes);
	fds_drop(nodes, nodes->root);
	nodes_unlock(nodes);
	assert_true(inside_has_descriptor(share, share->root));
	use(share, share->root);
}

static void descriptors_are_closed_when_the_table_is_unlocked(void **state)
{
	struct nodes *nodes = inside_session(*state)->nodes;
	int fds[CLOSING_MAX + 1];

	for (int i = 0; i <= CLOSING_MAX; i++)
		fds[i] = open("/dev/null", O_RDONLY | O_CLOEXEC);
	nodes_lock(nodes);
	for (int i = 0; i <= CLOSING_MAX; i++)
		nodes_close_later(nodes, fds[i]);
	assert_true(fcntl(fds[0], F_GETFD) >= 0);
	assert_true(fcntl(fds[CLOSING_MAX - 1], F_GETFD) >= 0);
	/* one more than can be noted */
	assert_true(fcntl(fds[CLOSING_MAX], F_GETFD) < 0);
	nodes_unlock(nodes);
	for (int i = 0; i <= CLOSING_MAX; i++)
		assert_true(fcntl(fds[i], F_GETFD) < 0);
}

static bool ticking(struct share *share)
{
	struct itimerspec when;

	assert_int_equal(timerfd_gettime(nodes_timer(inside_session(share)->nodes), &when), 0);
	return when.it_value.tv_sec != 0 || when.it_value.tv_nsec != 0;
}

static void what_nobody_uses_is_closed_after_three_ticks_and_the_clock_stops(void **state)
{
	struct share *share = *state;
	struct nodes *nodes = inside_session(share)->nodes;
	uint64_t a = make(share, "a"), b = make(share, "b");

	assert_false(ticking(share));
	use(share, a);
	use(share, b);
	assert_true(ticking(share));
	nodes_tick(nodes);
	nodes_tick(nodes);
	use(share, b);
	nodes_tick(nodes);
	assert_false(inside_has_descriptor(share, a));
	assert_true(inside_has_descriptor(share, b));
	assert_true(ticking(share));
	nodes_tick(nodes);
	nodes_tick(nodes);
	assert_false(inside_has_descriptor(share, b));
	assert_false(ticking(share));
}

static void a_node_has_one_descriptor(void **state)
{
	struct share *share = *state;
	struct nodes *nodes = inside_session(share)->nodes;
	uint64_t a = make(share, "a");
	int more = openat(share->host, "a", O_PATH | O_CLOEXEC);

	use(share, a);
	nodes_lock(nodes);
	fds_give(nodes, slots_find(&nodes->slots, a), more);
	nodes_unlock(nodes);
	assert_true(fcntl(more, F_GETFD) < 0);
	assert_int_equal(descriptors(share), 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, inside_set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(descriptors_stay_within_the_budget_and_names_bring_them_back,
		                                set_up_small, tear_down),
		TEST(what_was_used_longest_ago_leaves_first),
		TEST(what_was_opened_leaves_later_and_what_was_removed_last),
		TEST(what_was_removed_stays_while_the_guest_can_give_handles_back),
		TEST(what_is_removed_counts_at_once),
		TEST(what_is_in_use_does_not_leave),
		TEST(an_operation_has_its_descriptor_though_the_budget_is_spent_and_gives_it_back),
		TEST(what_lies_deep_is_reopened_though_open_files_have_the_budget),
		TEST(the_root_keeps_its_own_which_does_not_count),
		TEST(descriptors_are_closed_when_the_table_is_unlocked),
		TEST(what_nobody_uses_is_closed_after_three_ticks_and_the_clock_stops),
		TEST(a_node_has_one_descriptor),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
