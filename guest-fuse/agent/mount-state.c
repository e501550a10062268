/* SPDX-License-Identifier: Apache-2.0 */
/* What becomes of one share's mount in the guest. */
#include "guest-fuse/agent/mount-state.h"

#include <assert.h>
#include <stddef.h>

/* A row that is not there has no bit: an edge's state may be 0. */
struct row {
	bool allowed;
	struct mount_edge edge;
};

#define TO(state, ...)                                                                                                 \
	{                                                                                                              \
		.allowed = true, .edge = {.next = MOUNT_##state, .actions = 0 __VA_ARGS__ }                            \
	}
#define AND(action) | MOUNT_ACTION_##action
#define ON(event)   [MOUNT_EVENT_##event]

static const struct row rows[MOUNT_STATES][MOUNT_EVENTS] = {
	[MOUNT_ABSENT] = {
		ON(FOUND) = TO(LEFT),
		ON(CHANGED) = TO(ABSENT, AND(MOUNTPOINT)),
		ON(HIDDEN) = TO(ABSENT),
		ON(MAKE) = TO(MAKING),
	},
	[MOUNT_LEFT] = {
		ON(CHANGED) = TO(OUTDATED, AND(HIDE_BELOW)),
		ON(HIDDEN) = TO(OUTDATED),
		ON(MAKE) = TO(MAKING),
		ON(UNDO) = TO(UNDOING),
	},
	[MOUNT_MAKING] = {
		ON(CHANGED) = TO(SPOILED, AND(HIDE_BELOW)),
		ON(HIDDEN) = TO(SPOILED),
		ON(MADE) = TO(MOUNTED, AND(POLL) AND(HIDE_BELOW) AND(END_PAUSES)),
		ON(ADOPTED) = TO(MOUNTED, AND(POLL) AND(END_PAUSES)),
		ON(NOT_MADE) = TO(FAILED, AND(BACK_OFF)),
		ON(CANCELLED) = TO(LEFT),
	},
	[MOUNT_RETRYING] = {
		ON(CHANGED) = TO(SPOILED, AND(HIDE_BELOW)),
		ON(HIDDEN) = TO(SPOILED),
		ON(MADE) = TO(MOUNTED, AND(POLL) AND(HIDE_BELOW) AND(END_PAUSES)),
		ON(ADOPTED) = TO(MOUNTED, AND(POLL) AND(END_PAUSES)),
		ON(NOT_MADE) = TO(FAILED, AND(BACK_OFF)),
		ON(CANCELLED) = TO(FAILED),
	},
	[MOUNT_SPOILED] = {
		ON(CHANGED) = TO(SPOILED, AND(HIDE_BELOW)),
		ON(HIDDEN) = TO(SPOILED),
		ON(MADE) = TO(OUTDATED, AND(HIDE_BELOW) AND(END_PAUSES)),
		ON(ADOPTED) = TO(OUTDATED, AND(END_PAUSES)),
		ON(NOT_MADE) = TO(OUTDATED, AND(BACK_OFF)),
		ON(CANCELLED) = TO(OUTDATED),
	},
	[MOUNT_MOUNTED] = {
		ON(CHANGED) = TO(OUTDATED, AND(HIDE_BELOW)),
		ON(HIDDEN) = TO(OUTDATED),
		ON(UNDO) = TO(UNDOING, AND(END_POLL)),
		ON(LOST) = TO(OUTDATED, AND(END_POLL) AND(BACK_OFF)),
	},
	[MOUNT_FAILED] = {
		ON(CHANGED) = TO(OUTDATED, AND(HIDE_BELOW)),
		ON(HIDDEN) = TO(OUTDATED),
		ON(MAKE) = TO(RETRYING),
		ON(UNDO) = TO(UNDOING),
	},
	[MOUNT_OUTDATED] = {
		ON(CHANGED) = TO(OUTDATED, AND(HIDE_BELOW)),
		ON(HIDDEN) = TO(OUTDATED),
		ON(UNDO) = TO(UNDOING, AND(END_POLL)),
		ON(LOST) = TO(OUTDATED, AND(END_POLL) AND(BACK_OFF)),
	},
	[MOUNT_UNDOING] = {
		ON(CHANGED) = TO(UNDOING),
		ON(HIDDEN) = TO(UNDOING),
		ON(UNDONE) = TO(ABSENT, AND(MOUNTPOINT)),
		ON(CANCELLED) = TO(OUTDATED),
	},
};

#undef TO
#undef AND
#undef ON

static const struct {
	enum mount_goal goals[MOUNT_WISHES]; /* served, withheld, dropped */
	bool busy, present, would_be_hidden;
	enum binds_state for_binds;
} states[MOUNT_STATES] = {
	[MOUNT_ABSENT] = { { MOUNT_GOAL_MAKE, MOUNT_GOAL_STAY, MOUNT_GOAL_FORGET },
	                   false,
	                   false,
	                   false,
	                   BINDS_PENDING },
	[MOUNT_LEFT] = { { MOUNT_GOAL_MAKE, MOUNT_GOAL_UNDO, MOUNT_GOAL_UNDO }, false, true, false, BINDS_PENDING },
	[MOUNT_MAKING] = { { MOUNT_GOAL_STAY, MOUNT_GOAL_STAY, MOUNT_GOAL_STAY }, true, true, true, BINDS_PENDING },
	[MOUNT_RETRYING] = { { MOUNT_GOAL_STAY, MOUNT_GOAL_STAY, MOUNT_GOAL_STAY }, true, true, true, BINDS_FAILED },
	[MOUNT_SPOILED] = { { MOUNT_GOAL_STAY, MOUNT_GOAL_STAY, MOUNT_GOAL_STAY }, true, true, true, BINDS_PENDING },
	[MOUNT_MOUNTED] = { { MOUNT_GOAL_STAY, MOUNT_GOAL_UNDO, MOUNT_GOAL_UNDO }, false, true, true, BINDS_MOUNTED },
	[MOUNT_FAILED] = { { MOUNT_GOAL_MAKE, MOUNT_GOAL_UNDO, MOUNT_GOAL_UNDO }, false, true, false, BINDS_FAILED },
	[MOUNT_OUTDATED] = { { MOUNT_GOAL_UNDO, MOUNT_GOAL_UNDO, MOUNT_GOAL_UNDO }, false, true, true, BINDS_PENDING },
	[MOUNT_UNDOING] = { { MOUNT_GOAL_STAY, MOUNT_GOAL_STAY, MOUNT_GOAL_STAY }, true, true, true, BINDS_PENDING },
};

const struct mount_edge *mount_state_edge(enum mount_state state, enum mount_event event)
{
	const struct row *row;

	assert(state < MOUNT_STATES && event < MOUNT_EVENTS);
	row = &rows[state][event];
	return row->allowed ? &row->edge : NULL;
}

enum mount_goal mount_state_goal(enum mount_state state, enum mount_wish wish)
{
	return states[state].goals[wish];
}

bool mount_state_is_busy(enum mount_state state)
{
	return states[state].busy;
}

bool mount_state_is_present(enum mount_state state)
{
	return states[state].present;
}

bool mount_state_would_be_hidden(enum mount_state state)
{
	return states[state].would_be_hidden;
}

enum binds_state mount_state_for_binds(enum mount_state state)
{
	return states[state].for_binds;
}
