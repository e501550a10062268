/* SPDX-License-Identifier: Apache-2.0 */
/* The state machine of a share's mount: every edge, every pair without one, and where they lead to in the end. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "guest-fuse/agent/mount-state.h"
#include "protocol/cleanup.h"

enum {
	UNWATCH = MOUNT_ACTION_END_POLL,
	PLACE = MOUNT_ACTION_MOUNTPOINT,
	WATCH = MOUNT_ACTION_POLL,
	HIDE = MOUNT_ACTION_HIDE_BELOW,
	PAUSE = MOUNT_ACTION_BACK_OFF,
	FRESH = MOUNT_ACTION_END_PAUSES,
};

static const struct {
	enum mount_state state;
	enum mount_event event;
	enum mount_state next;
	unsigned actions;
} edges[] = {
	{ MOUNT_ABSENT, MOUNT_EVENT_FOUND, MOUNT_LEFT, 0 },
	{ MOUNT_ABSENT, MOUNT_EVENT_CHANGED, MOUNT_ABSENT, PLACE },
	{ MOUNT_ABSENT, MOUNT_EVENT_HIDDEN, MOUNT_ABSENT, 0 },
	{ MOUNT_ABSENT, MOUNT_EVENT_MAKE, MOUNT_MAKING, 0 },

	{ MOUNT_LEFT, MOUNT_EVENT_CHANGED, MOUNT_OUTDATED, HIDE },
	{ MOUNT_LEFT, MOUNT_EVENT_HIDDEN, MOUNT_OUTDATED, 0 },
	{ MOUNT_LEFT, MOUNT_EVENT_MAKE, MOUNT_MAKING, 0 },
	{ MOUNT_LEFT, MOUNT_EVENT_UNDO, MOUNT_UNDOING, 0 },

	{ MOUNT_MAKING, MOUNT_EVENT_CHANGED, MOUNT_SPOILED, HIDE },
	{ MOUNT_MAKING, MOUNT_EVENT_HIDDEN, MOUNT_SPOILED, 0 },
	{ MOUNT_MAKING, MOUNT_EVENT_MADE, MOUNT_MOUNTED, WATCH | HIDE | FRESH },
	{ MOUNT_MAKING, MOUNT_EVENT_ADOPTED, MOUNT_MOUNTED, WATCH | FRESH },
	{ MOUNT_MAKING, MOUNT_EVENT_NOT_MADE, MOUNT_FAILED, PAUSE },
	{ MOUNT_MAKING, MOUNT_EVENT_CANCELLED, MOUNT_LEFT, 0 },

	{ MOUNT_RETRYING, MOUNT_EVENT_CHANGED, MOUNT_SPOILED, HIDE },
	{ MOUNT_RETRYING, MOUNT_EVENT_HIDDEN, MOUNT_SPOILED, 0 },
	{ MOUNT_RETRYING, MOUNT_EVENT_MADE, MOUNT_MOUNTED, WATCH | HIDE | FRESH },
	{ MOUNT_RETRYING, MOUNT_EVENT_ADOPTED, MOUNT_MOUNTED, WATCH | FRESH },
	{ MOUNT_RETRYING, MOUNT_EVENT_NOT_MADE, MOUNT_FAILED, PAUSE },
	{ MOUNT_RETRYING, MOUNT_EVENT_CANCELLED, MOUNT_FAILED, 0 },

	{ MOUNT_SPOILED, MOUNT_EVENT_CHANGED, MOUNT_SPOILED, HIDE },
	{ MOUNT_SPOILED, MOUNT_EVENT_HIDDEN, MOUNT_SPOILED, 0 },
	{ MOUNT_SPOILED, MOUNT_EVENT_MADE, MOUNT_OUTDATED, HIDE | FRESH },
	{ MOUNT_SPOILED, MOUNT_EVENT_ADOPTED, MOUNT_OUTDATED, FRESH },
	{ MOUNT_SPOILED, MOUNT_EVENT_NOT_MADE, MOUNT_OUTDATED, PAUSE },
	{ MOUNT_SPOILED, MOUNT_EVENT_CANCELLED, MOUNT_OUTDATED, 0 },

	{ MOUNT_MOUNTED, MOUNT_EVENT_CHANGED, MOUNT_OUTDATED, HIDE },
	{ MOUNT_MOUNTED, MOUNT_EVENT_HIDDEN, MOUNT_OUTDATED, 0 },
	{ MOUNT_MOUNTED, MOUNT_EVENT_UNDO, MOUNT_UNDOING, UNWATCH },
	{ MOUNT_MOUNTED, MOUNT_EVENT_LOST, MOUNT_OUTDATED, UNWATCH | PAUSE },

	{ MOUNT_FAILED, MOUNT_EVENT_CHANGED, MOUNT_OUTDATED, HIDE },
	{ MOUNT_FAILED, MOUNT_EVENT_HIDDEN, MOUNT_OUTDATED, 0 },
	{ MOUNT_FAILED, MOUNT_EVENT_MAKE, MOUNT_RETRYING, 0 },
	{ MOUNT_FAILED, MOUNT_EVENT_UNDO, MOUNT_UNDOING, 0 },

	{ MOUNT_OUTDATED, MOUNT_EVENT_CHANGED, MOUNT_OUTDATED, HIDE },
	{ MOUNT_OUTDATED, MOUNT_EVENT_HIDDEN, MOUNT_OUTDATED, 0 },
	{ MOUNT_OUTDATED, MOUNT_EVENT_UNDO, MOUNT_UNDOING, UNWATCH },
	{ MOUNT_OUTDATED, MOUNT_EVENT_LOST, MOUNT_OUTDATED, UNWATCH | PAUSE },

	{ MOUNT_UNDOING, MOUNT_EVENT_CHANGED, MOUNT_UNDOING, 0 },
	{ MOUNT_UNDOING, MOUNT_EVENT_HIDDEN, MOUNT_UNDOING, 0 },
	{ MOUNT_UNDOING, MOUNT_EVENT_UNDONE, MOUNT_ABSENT, PLACE },
	{ MOUNT_UNDOING, MOUNT_EVENT_CANCELLED, MOUNT_OUTDATED, 0 },
};

static void every_event_in_every_state_does_what_is_written_here(void **state)
{
	for (unsigned s = 0; s < MOUNT_STATES; s++)
		for (unsigned e = 0; e < MOUNT_EVENTS; e++) {
			const struct mount_edge *edge = mount_state_edge(s, e);
			size_t i = 0;

			while (i < ARRAY_SIZE(edges) && (edges[i].state != s || edges[i].event != e))
				i++;
			if ((edge != NULL) != (i < ARRAY_SIZE(edges)))
				fail_msg("state %u, event %u: %s", s, e, edge != NULL ? "allowed" : "forbidden");
			if (edge != NULL && (edge->next != edges[i].next || edge->actions != edges[i].actions))
				fail_msg("state %u, event %u: to %u with %#x", s, e, edge->next, edge->actions);
		}
}

static bool is_of_a_thread(unsigned event)
{
	return event == MOUNT_EVENT_MADE || event == MOUNT_EVENT_ADOPTED || event == MOUNT_EVENT_NOT_MADE ||
	       event == MOUNT_EVENT_UNDONE || event == MOUNT_EVENT_CANCELLED;
}

static void threads_report_when_one_is_at_it_and_start_when_none_is(void **state)
{
	for (unsigned s = 0; s < MOUNT_STATES; s++)
		for (unsigned e = 0; e < MOUNT_EVENTS; e++) {
			bool starts = e == MOUNT_EVENT_MAKE || e == MOUNT_EVENT_UNDO;
			const struct mount_edge *edge = mount_state_edge(s, e);

			if (edge == NULL)
				continue;
			assert_false(mount_state_is_busy(s) && starts);
			assert_false(!mount_state_is_busy(s) && is_of_a_thread(e));
			assert_int_equal(mount_state_is_busy(edge->next),
			                 starts || (mount_state_is_busy(s) && !is_of_a_thread(e)));
		}
}

static void what_a_list_or_a_mount_above_does_can_come_at_any_time(void **state)
{
	for (unsigned s = 0; s < MOUNT_STATES; s++) {
		assert_non_null(mount_state_edge(s, MOUNT_EVENT_CHANGED));
		assert_non_null(mount_state_edge(s, MOUNT_EVENT_HIDDEN));
	}
}

static void a_goal_can_be_begun(void **state)
{
	for (unsigned s = 0; s < MOUNT_STATES; s++)
		for (unsigned wish = 0; wish < MOUNT_WISHES; wish++) {
			enum mount_goal goal = mount_state_goal(s, wish);

			assert_true(goal != MOUNT_GOAL_MAKE || mount_state_edge(s, MOUNT_EVENT_MAKE) != NULL);
			assert_true(goal != MOUNT_GOAL_UNDO || mount_state_edge(s, MOUNT_EVENT_UNDO) != NULL);
			assert_true(goal != MOUNT_GOAL_FORGET || !mount_state_is_present(s));
			assert_true(goal != MOUNT_GOAL_MAKE || wish == MOUNT_WISH_SERVED);
			assert_true(!mount_state_is_busy(s) || goal == MOUNT_GOAL_STAY);
		}
}

/* What a thread that has no trouble reports. */
static enum mount_event success(enum mount_state state)
{
	return state == MOUNT_UNDOING ? MOUNT_EVENT_UNDONE : MOUNT_EVENT_MADE;
}

/* Follows the goals. The last state; *ret_forgotten: there is nothing of the share left. */
static enum mount_state settle(enum mount_state state, enum mount_wish wish, bool *ret_forgotten)
{
	*ret_forgotten = false;
	for (unsigned steps = 0; steps < 8; steps++) {
		enum mount_goal goal = mount_state_goal(state, wish);

		if (mount_state_is_busy(state))
			state = mount_state_edge(state, success(state))->next;
		else if (goal == MOUNT_GOAL_FORGET)
			*ret_forgotten = true;
		else if (goal != MOUNT_GOAL_STAY)
			state = mount_state_edge(state, goal == MOUNT_GOAL_MAKE ? MOUNT_EVENT_MAKE : MOUNT_EVENT_UNDO)
			                ->next;
	}
	return state;
}

static void from_every_state_the_goals_lead_to_what_the_server_wishes(void **state)
{
	for (unsigned s = 0; s < MOUNT_STATES; s++) {
		bool forgotten;

		assert_int_equal(settle(s, MOUNT_WISH_SERVED, &forgotten), MOUNT_MOUNTED);
		assert_int_equal(settle(s, MOUNT_WISH_WITHHELD, &forgotten), MOUNT_ABSENT);
		assert_false(forgotten);
		assert_int_equal(settle(s, MOUNT_WISH_DROPPED, &forgotten), MOUNT_ABSENT);
		assert_true(forgotten);
	}
}

static void a_mount_that_is_watched_is_mounted_or_stale(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(edges); i++) {
		const struct mount_edge *edge = mount_state_edge(edges[i].state, edges[i].event);

		assert_true((edge->actions & MOUNT_ACTION_POLL) == 0 || edge->next == MOUNT_MOUNTED);
		/* Nothing goes on with a descriptor that a thread may close. */
		if ((edges[i].state == MOUNT_MOUNTED || edges[i].state == MOUNT_OUTDATED) &&
		    mount_state_is_busy(edge->next))
			assert_true((edge->actions & MOUNT_ACTION_END_POLL) != 0);
	}
}

static void containers_are_told_of_it_as_it_is(void **state)
{
	static const enum binds_state told[MOUNT_STATES] = {
		[MOUNT_ABSENT] = BINDS_PENDING,  [MOUNT_LEFT] = BINDS_PENDING,     [MOUNT_MAKING] = BINDS_PENDING,
		[MOUNT_RETRYING] = BINDS_FAILED, [MOUNT_SPOILED] = BINDS_PENDING,  [MOUNT_MOUNTED] = BINDS_MOUNTED,
		[MOUNT_FAILED] = BINDS_FAILED,   [MOUNT_OUTDATED] = BINDS_PENDING, [MOUNT_UNDOING] = BINDS_PENDING,
	};

	for (unsigned s = 0; s < MOUNT_STATES; s++)
		assert_int_equal(mount_state_for_binds(s), told[s]);
}

static void only_what_is_mounted_or_going_is_lost_beneath_a_new_mount(void **state)
{
	for (unsigned s = 0; s < MOUNT_STATES; s++) {
		bool none = s == MOUNT_ABSENT || s == MOUNT_LEFT || s == MOUNT_FAILED;

		assert_int_equal(mount_state_is_present(s), s != MOUNT_ABSENT);
		assert_int_equal(mount_state_would_be_hidden(s), !none);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_event_in_every_state_does_what_is_written_here),
		cmocka_unit_test(threads_report_when_one_is_at_it_and_start_when_none_is),
		cmocka_unit_test(what_a_list_or_a_mount_above_does_can_come_at_any_time),
		cmocka_unit_test(a_goal_can_be_begun),
		cmocka_unit_test(from_every_state_the_goals_lead_to_what_the_server_wishes),
		cmocka_unit_test(a_mount_that_is_watched_is_mounted_or_stale),
		cmocka_unit_test(containers_are_told_of_it_as_it_is),
		cmocka_unit_test(only_what_is_mounted_or_going_is_lost_beneath_a_new_mount),
	};

	return cmocka_run_group_tests_name("mount-state", tests, NULL, NULL);
}
