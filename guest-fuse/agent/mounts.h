/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The shares as they are mounted, and as they should be: keeps the one like the other. All in the loop's thread; what
 * may block is done by place.h in others.
 */
#pragma once

#include <jansson.h>
#include <uv.h>

#include "guest-fuse/agent/share-list.h"
#include "guest-fuse/binds/decide.h"

enum mounts_phase {
	MOUNTS_UNKNOWN, /* the server has not said yet what it shares: nothing is done */
	MOUNTS_FOLLOWING,
	MOUNTS_STOPPING, /* ends when the threads have, and leaves mounts as they are */
	MOUNTS_UNDOING,  /* all is unmounted */
};

struct mounts {
	uv_loop_t *loop;
	const struct guest_config *config;
	/* Something of the table has changed. */
	void (*changed)(void *context);
	void *context;

	struct mounts_entry *entries; /* kept by mounts.c: by path, so that a directory comes before what lies in it */
	enum mounts_phase phase;
	unsigned busy; /* threads that are at one of the entries */
};

/* Takes up what an earlier guestd left: it is kept or undone when the server's list is there. */
void mounts_recall(struct mounts *mounts);
/* The server's list: everything follows. */
void mounts_set(struct mounts *mounts, const struct share_list *list);
/* The server is there again: what failed is tried at once. */
void mounts_retry(struct mounts *mounts);
/* Nothing that can be mounted is still to be tried for the first time. */
bool mounts_are_settled(const struct mounts *mounts);

/* A copy for threads. 0 or -ENOMEM. */
int mounts_table(const struct mounts *mounts, struct binds_table *ret_table);
/* For status: a list of objects. */
json_t *mounts_json(const struct mounts *mounts);

/* Closes every handle; mounts stay. unmount: they do not. The memory must live until the loop has run to its end. */
void mounts_stop(struct mounts *mounts, bool unmount);
