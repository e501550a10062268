/* SPDX-License-Identifier: Apache-2.0 */
/* A share as guestd knows it: for mounts.c, which changes it, and mounts-show.c, which tells of it. */
#pragma once

#include "guest-fuse/agent/mount-state.h"
#include "guest-fuse/agent/mounts.h"
#include "guest-fuse/agent/mountpoint.h"

struct mounts_entry {
	struct mounts *mounts;
	struct mounts_entry *prev, *next;
	struct share_list_entry share; /* as the server told last */
	struct mountpoint mountpoint;  /* a thread's while the state is a busy one */
	enum mount_state state;
	bool undoes; /* the thread's job; it does not read state, which may change meanwhile */
	enum mount_wish wish;
	bool tried;               /* once, with whatever result: guestd is ready when all are */
	bool identical, is_apart; /* of mountpoint, as it was when a thread had it last */
	unsigned failures;        /* since the last success, for the length of the pause */
	char error[MOUNTPOINT_ERROR_SIZE];

	uv_work_t work;
	int result;
	uv_poll_t poll;   /* of the FIFO; active while it is polled */
	uv_timer_t timer; /* of the pause before the next try; active while there is one */
	unsigned handles; /* that are not closed, of these two */
};

/* Where it is mounted, or would be. */
const char *mounts_entry_mount(const struct mounts_entry *entry);

/* Writes down what is in the guest, for a guestd after this one. */
void mounts_keep_record(const struct mounts *mounts);
