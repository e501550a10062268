/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What becomes of one share's mount in the guest: a state machine as two tables, without any input or output. The first
 * says which state and which actions follow from an event, the second what is to be done next about a share in a state.
 * mounts.c looks at the shares around this one, carries out the actions and lets threads do the work.
 */
#pragma once

#include <stdbool.h>

#include "guest-fuse/binds/decide.h"

enum mount_state {
	MOUNT_ABSENT,   /* nothing of it is in the guest */
	MOUNT_LEFT,     /* the record tells of it: an earlier guestd's, may live or not */
	MOUNT_MAKING,   /* a thread mounts it, or takes up what was left */
	MOUNT_RETRYING, /* the same after a try that failed: until it succeeds the share counts as failed */
	MOUNT_SPOILED,  /* a thread mounts it, and what comes of that is of no use any more */
	MOUNT_MOUNTED,
	MOUNT_FAILED,   /* the last try failed; a FIFO and directories may be left of it */
	MOUNT_OUTDATED, /* what there is of it is to be undone, and then made anew if the share is served still */
	MOUNT_UNDOING,  /* a thread undoes it */
	MOUNT_STATES
};

enum mount_event {
	MOUNT_EVENT_FOUND,     /* in the record */
	MOUNT_EVENT_CHANGED,   /* the server tells of another directory or other options */
	MOUNT_EVENT_HIDDEN,    /* a mount that it lies in is made anew or goes */
	MOUNT_EVENT_MAKE,      /* a thread is to mount it */
	MOUNT_EVENT_UNDO,      /* a thread is to undo it */
	MOUNT_EVENT_MADE,      /* the thread has mounted it */
	MOUNT_EVENT_ADOPTED,   /* the thread has found a living mount of an earlier guestd */
	MOUNT_EVENT_NOT_MADE,  /* the thread could not mount it */
	MOUNT_EVENT_UNDONE,    /* the thread has undone it */
	MOUNT_EVENT_CANCELLED, /* no thread has begun with it, and none will */
	MOUNT_EVENT_LOST,      /* the mount's session with the server is over */
	MOUNT_EVENTS
};

/* In the order in which they are carried out. */
enum mount_action {
	MOUNT_ACTION_END_POLL = 1 << 0,   /* the FIFO that tells that the mount lives is not polled any more */
	MOUNT_ACTION_MOUNTPOINT = 1 << 1, /* where and how the share is to be mounted is determined anew */
	MOUNT_ACTION_POLL = 1 << 2,       /* the FIFO is polled from now on */
	MOUNT_ACTION_HIDE_BELOW = 1 << 3, /* MOUNT_EVENT_HIDDEN to what is in the guest of shares in this one */
	MOUNT_ACTION_BACK_OFF = 1 << 4,   /* it is not made before a pause, each longer than the one before */
	MOUNT_ACTION_END_PAUSES = 1 << 5, /* the next pause is the shortest again */
};

struct mount_edge {
	enum mount_state next;
	unsigned actions; /* enum mount_action */
};

/* NULL: this event cannot happen in this state. */
const struct mount_edge *mount_state_edge(enum mount_state state, enum mount_event event);

/* What the server's list says of the share. */
enum mount_wish {
	MOUNT_WISH_SERVED,
	MOUNT_WISH_WITHHELD, /* on the list, but missing or replaced on the host */
	MOUNT_WISH_DROPPED,  /* not on the list */
	MOUNT_WISHES
};

enum mount_goal {
	MOUNT_GOAL_STAY,   /* nothing: it is as it should be, or a thread is at it */
	MOUNT_GOAL_MAKE,   /* once what it lies in is mounted, and nothing would be hidden by it */
	MOUNT_GOAL_UNDO,   /* once nothing lies in it */
	MOUNT_GOAL_FORGET, /* the share is nobody's business any more */
};

enum mount_goal mount_state_goal(enum mount_state state, enum mount_wish wish);

/* A thread is at it. */
bool mount_state_is_busy(enum mount_state state);
/* Something of it may be in the guest: it belongs into the record, and what it lies in cannot be undone. */
bool mount_state_is_present(enum mount_state state);
/* What lies at it would be hidden by a mount above it, and lost. */
bool mount_state_would_be_hidden(enum mount_state state);
/* What containers are told of it: BINDS_PENDING, BINDS_MOUNTED or BINDS_FAILED. */
enum binds_state mount_state_for_binds(enum mount_state state);
