/* SPDX-License-Identifier: Apache-2.0 */
/* The shares as they are mounted, and as they should be: what lies in what, and the actions of mount-state.h. */
#include "guest-fuse/agent/mounts-internal.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <utlist.h>

#include "guest-fuse/agent/mounts-record.h"
#include "protocol/cleanup.h"
#include "protocol/log.h"
#include "protocol/paths.h"

enum { RETRY_LEAST_MS = 200, RETRY_MOST_MS = 10000 };

static void advance(struct mounts *mounts);

static void entry_free(struct mounts_entry *entry)
{
	free(entry->share.path);
	free(entry->share.canonical);
	mountpoint_done(&entry->mountpoint);
	free(entry);
}

static void on_closed(uv_handle_t *handle)
{
	struct mounts_entry *entry = handle->data;

	/* The timer is closed with the entry only. */
	if (--entry->handles == 0)
		entry_free(entry);
}

static void end_poll(struct mounts_entry *entry)
{
	if (uv_is_active((uv_handle_t *) &entry->poll))
		uv_close((uv_handle_t *) &entry->poll, on_closed);
}

static void entry_close(struct mounts_entry *entry)
{
	DL_DELETE(entry->mounts->entries, entry);
	end_poll(entry);
	uv_close((uv_handle_t *) &entry->timer, on_closed);
}

/* Where and how the share is to be mounted now. 0 or -ENOMEM. */
static int set_mountpoint(struct mounts_entry *entry)
{
	const struct guest_config *config = entry->mounts->config;

	return mountpoint_set(&entry->mountpoint, config, config->address_text, config->root, &entry->share);
}

static struct mounts_entry *find(const struct mounts *mounts, const char *path)
{
	struct mounts_entry *entry;

	DL_FOREACH (mounts->entries, entry) {
		if (strcmp(entry->share.path, path) == 0)
			return entry;
	}
	return NULL;
}

static int by_path(const struct mounts_entry *left, const struct mounts_entry *right)
{
	return strcmp(left->share.path, right->share.path);
}

/* The pause is over. */
static void on_timer(uv_timer_t *timer)
{
	struct mounts_entry *entry = timer->data;

	advance(entry->mounts);
}

/* Of the server at address, beneath root. NULL: there is no memory for it. */
static struct mounts_entry *entry_new(struct mounts *mounts, const struct share_list_entry *share, const char *address,
                                      const char *root)
{
	struct mounts_entry *entry = calloc(1, sizeof(*entry));

	if (entry == NULL)
		return NULL;
	entry->mounts = mounts;
	entry->wish = MOUNT_WISH_DROPPED; /* until the server's list has it */
	entry->mountpoint.fd = -EBADF;
	entry->share = (struct share_list_entry){ strdup(share->path), strdup(share->canonical), PROTO_SHARE_SERVED,
		                                  share->flags };
	if (entry->share.path == NULL || entry->share.canonical == NULL ||
	    mountpoint_set(&entry->mountpoint, mounts->config, address, root, &entry->share) < 0 ||
	    uv_timer_init(mounts->loop, &entry->timer) < 0) {
		entry_free(entry);
		return NULL;
	}
	entry->timer.data = entry->work.data = entry;
	entry->handles = 1;
	DL_APPEND(mounts->entries, entry);
	return entry;
}

static enum mount_goal goal_of(const struct mounts_entry *entry)
{
	return mount_state_goal(entry->state, entry->wish);
}

/* The nearest share above that is mounted, may be, or will be; none that has failed, until it is tried again. */
static struct mounts_entry *above(const struct mounts_entry *entry)
{
	struct mounts_entry *other, *nearest = NULL;

	DL_FOREACH (entry->mounts->entries, other) {
		if (other == entry)
			break;
		if (paths_is_beneath(entry->share.path, other->share.path) &&
		    (mount_state_is_busy(other->state) || goal_of(other) == MOUNT_GOAL_UNDO ||
		     (other->wish == MOUNT_WISH_SERVED && other->state != MOUNT_FAILED)))
			nearest = other;
	}
	return nearest;
}

/* A share in this one is in a state of which that is true. */
static bool has_beneath(const struct mounts_entry *entry, bool (*matches)(enum mount_state state))
{
	const struct mounts_entry *other;

	for (other = entry->next; other != NULL; other = other->next)
		if (paths_is_beneath(other->share.path, entry->share.path) && matches(other->state))
			return true;
	return false;
}

static void tell(struct mounts *mounts)
{
	mounts_keep_record(mounts);
	if (mounts->phase <= MOUNTS_FOLLOWING)
		mounts->changed(mounts->context);
}

static void back_off(struct mounts_entry *entry)
{
	uint64_t pause = (uint64_t) RETRY_LEAST_MS << (entry->failures < 8 ? entry->failures : 8);

	entry->failures++;
	(void) uv_timer_start(&entry->timer, on_timer, pause < RETRY_MOST_MS ? pause : RETRY_MOST_MS, 0);
}

static void take(struct mounts_entry *entry, enum mount_event event);

/* The session is over, whoever ended it. */
static void on_alive(uv_poll_t *poll, int status, int events)
{
	struct mounts_entry *entry = poll->data;

	if (status >= 0 && mountpoint_is_alive(entry->mountpoint.fd))
		return;
	log_peer_warning("the mount of %s has lost its server", entry->share.path);
	take(entry, MOUNT_EVENT_LOST);
	tell(entry->mounts);
	advance(entry->mounts);
}

static void start_poll(struct mounts_entry *entry)
{
	if (uv_poll_init(entry->mounts->loop, &entry->poll, entry->mountpoint.fd) < 0)
		return;
	entry->poll.data = entry;
	entry->handles++;
	if (uv_poll_start(&entry->poll, UV_READABLE, on_alive) < 0)
		uv_close((uv_handle_t *) &entry->poll, on_closed);
}

/* What of the shares in this one is in the guest is hidden by its mount, or lost with it. */
static void hide_below(struct mounts_entry *entry)
{
	struct mounts_entry *other;

	for (other = entry->next; other != NULL; other = other->next)
		if (paths_is_beneath(other->share.path, entry->share.path) && mount_state_is_present(other->state))
			take(other, MOUNT_EVENT_HIDDEN);
}

/* What has happened to a share: its next state, and what follows from that. */
static void take(struct mounts_entry *entry, enum mount_event event)
{
	const struct mount_edge *edge = mount_state_edge(entry->state, event);

	assert(edge != NULL);
	entry->state = edge->next;
	if ((edge->actions & MOUNT_ACTION_END_POLL) != 0)
		end_poll(entry);
	/* Without memory it stays as it was, and is determined once more before it is made. */
	if ((edge->actions & MOUNT_ACTION_MOUNTPOINT) != 0)
		(void) set_mountpoint(entry);
	if ((edge->actions & MOUNT_ACTION_POLL) != 0)
		start_poll(entry);
	if ((edge->actions & MOUNT_ACTION_HIDE_BELOW) != 0)
		hide_below(entry);
	if ((edge->actions & MOUNT_ACTION_BACK_OFF) != 0)
		back_off(entry);
	if ((edge->actions & MOUNT_ACTION_END_PAUSES) != 0)
		entry->failures = 0;
}

/* A thread's report of what it has mounted, or why not. */
static void made(struct mounts_entry *entry)
{
	const struct mountpoint *mountpoint = &entry->mountpoint;

	entry->tried = true;
	if (entry->result < 0) {
		if (strcmp(entry->error, mountpoint->error) != 0)
			log_peer_warning("%s is not mounted: %s", entry->share.path, mountpoint->error);
		(void) snprintf(entry->error, sizeof(entry->error), "%s", mountpoint->error);
		take(entry, MOUNT_EVENT_NOT_MADE);
		return;
	}
	entry->identical = mountpoint->identical;
	entry->is_apart = mountpoint->is_apart;
	entry->error[0] = '\0';
	log_peer_info("%s %s%s", mountpoint->adopted ? "found" : "mounted", mounts_entry_mount(entry),
	              mountpoint->identical ? ", at its own path, too" : "");
	take(entry, mountpoint->adopted ? MOUNT_EVENT_ADOPTED : MOUNT_EVENT_MADE);
}

static void undone(struct mounts_entry *entry)
{
	log_peer_info("unmounted %s", mounts_entry_mount(entry));
	entry->identical = entry->is_apart = false;
	take(entry, MOUNT_EVENT_UNDONE);
}

static void run_job(uv_work_t *work)
{
	struct mounts_entry *entry = work->data;

	entry->mountpoint.error[0] = '\0';
	entry->result = 0;
	if (entry->undoes)
		mountpoint_undo(&entry->mountpoint);
	else
		entry->result = mountpoint_make(&entry->mountpoint);
}

/* Not before the last job has ended: what it did is recorded with all the rest. */
static void close_all(struct mounts *mounts)
{
	struct mounts_entry *entry, *next;

	if (mounts->busy > 0)
		return;
	DL_FOREACH_SAFE(mounts->entries, entry, next)
	{
		entry_close(entry);
	}
}

static void on_job_done(uv_work_t *work, int status)
{
	struct mounts_entry *entry = work->data;
	struct mounts *mounts = entry->mounts;

	mounts->busy--;
	if (status < 0)
		take(entry, MOUNT_EVENT_CANCELLED);
	else if (entry->undoes)
		undone(entry);
	else
		made(entry);
	/* A try that left nothing behind changes no record, and there may be a thousand of them. */
	if (status == 0 && (entry->undoes || entry->result == 0 || entry->mountpoint.made.count > 0))
		tell(mounts);
	else if (mounts->phase <= MOUNTS_FOLLOWING)
		mounts->changed(mounts->context);
	if (mounts->phase == MOUNTS_STOPPING)
		close_all(mounts);
	else
		advance(mounts);
}

static void start_job(struct mounts_entry *entry, enum mount_event event)
{
	take(entry, event);
	entry->undoes = event == MOUNT_EVENT_UNDO;
	if (uv_queue_work(entry->mounts->loop, &entry->work, run_job, on_job_done) < 0) {
		take(entry, MOUNT_EVENT_CANCELLED);
		back_off(entry);
		return;
	}
	entry->mounts->busy++;
}

static void undo(struct mounts_entry *entry)
{
	if (has_beneath(entry, mount_state_is_present))
		hide_below(entry);
	else
		start_job(entry, MOUNT_EVENT_UNDO);
}

static void make(struct mounts_entry *entry)
{
	const struct mounts_entry *parent;

	/* First: there may be a thousand that have failed, and this is asked of each whenever something has happened.
	 */
	if (uv_is_active((uv_handle_t *) &entry->timer))
		return;
	parent = above(entry);
	if (parent != NULL && (parent->state != MOUNT_MOUNTED || goal_of(parent) != MOUNT_GOAL_STAY))
		return;
	if (has_beneath(entry, mount_state_would_be_hidden)) {
		hide_below(entry);
		return;
	}
	if (entry->state == MOUNT_ABSENT && set_mountpoint(entry) < 0) {
		back_off(entry);
		return;
	}
	entry->mountpoint.covered = parent != NULL;
	entry->mountpoint.identical_covered = parent != NULL && parent->identical;
	start_job(entry, MOUNT_EVENT_MAKE);
}

/* What is to be done about one share now: made from the outside in, undone from the inside out. */
static void advance_entry(struct mounts_entry *entry)
{
	switch (goal_of(entry)) {
	case MOUNT_GOAL_STAY:
		break;
	case MOUNT_GOAL_MAKE:
		make(entry);
		break;
	case MOUNT_GOAL_UNDO:
		undo(entry);
		break;
	case MOUNT_GOAL_FORGET:
		entry_close(entry);
		break;
	}
}

static void advance(struct mounts *mounts)
{
	struct mounts_entry *entry, *next;

	if (mounts->phase != MOUNTS_FOLLOWING && mounts->phase != MOUNTS_UNDOING)
		return;
	DL_FOREACH_SAFE(mounts->entries, entry, next)
	{
		advance_entry(entry);
	}
}

/* How a share is mounted has changed, or which directory it is. */
static bool differs(const struct mounts_entry *entry, const struct share_list_entry *share)
{
	return entry->share.flags != share->flags || strcmp(entry->share.canonical, share->canonical) != 0;
}

static void take_share(struct mounts *mounts, const struct share_list_entry *share)
{
	struct mounts_entry *entry = find(mounts, share->path);
	char *canonical;
	bool changed;

	if (entry == NULL)
		entry = entry_new(mounts, share, mounts->config->address_text, mounts->config->root);
	canonical = entry == NULL ? NULL : strdup(share->canonical);
	if (canonical == NULL) {
		log_peer_warning("no memory for the share %s", share->path);
		return;
	}
	changed = differs(entry, share);
	entry->wish = share->state == PROTO_SHARE_SERVED ? MOUNT_WISH_SERVED : MOUNT_WISH_WITHHELD;
	entry->share.state = share->state;
	entry->share.flags = share->flags;
	free(entry->share.canonical);
	entry->share.canonical = canonical;
	if (changed)
		take(entry, MOUNT_EVENT_CHANGED);
}

/* One share of the record, of a server and beneath a root that may not be today's: then it is undone there. */
static void recall(struct mounts *mounts, const struct mounts_record *record, struct mounts_record_share *recorded)
{
	const struct share_list_entry share = { recorded->path, recorded->canonical, PROTO_SHARE_SERVED,
		                                recorded->flags };
	struct mounts_entry *entry;
	struct made *made;

	if (find(mounts, share.path) != NULL)
		return;
	entry = entry_new(mounts, &share, record->address, record->root);
	if (entry == NULL)
		return;
	take(entry, MOUNT_EVENT_FOUND);
	if (strcmp(record->address, mounts->config->address_text) != 0 ||
	    strcmp(record->root, mounts->config->root) != 0)
		take(entry, MOUNT_EVENT_CHANGED);
	made = &entry->mountpoint.made;
	for (; made->count < recorded->made_count && made->count < MADE_MAX; made->count++)
		made->paths[made->count] = TAKE_PTR(recorded->made[made->count]);
}

void mounts_recall(struct mounts *mounts)
{
	char error[PATH_MAX + 256];
	struct mounts_record record;
	int r = mounts_record_read(mounts->config->run_directory, &record, error, sizeof(error));

	if (r == -ENOENT)
		return;
	if (r < 0) {
		log_warning("what an earlier bindshare-guestd left mounted is not known: %s", error);
		return;
	}
	if (record.left_out > 0)
		log_warning("%zu shares in the record of mounts in %s make no sense, and are left as they are",
		            record.left_out, mounts->config->run_directory);
	for (size_t i = 0; i < record.count; i++)
		recall(mounts, &record, &record.shares[i]);
	mounts_record_done(&record);
	DL_SORT(mounts->entries, by_path);
}

static void drop_all(struct mounts *mounts)
{
	struct mounts_entry *entry;

	DL_FOREACH (mounts->entries, entry) {
		entry->wish = MOUNT_WISH_DROPPED;
	}
}

void mounts_set(struct mounts *mounts, const struct share_list *list)
{
	mounts->phase = MOUNTS_FOLLOWING;
	drop_all(mounts);
	for (size_t i = 0; i < list->count; i++)
		take_share(mounts, &list->shares[i]);
	DL_SORT(mounts->entries, by_path);
	tell(mounts);
	advance(mounts);
}

void mounts_retry(struct mounts *mounts)
{
	struct mounts_entry *entry;

	DL_FOREACH (mounts->entries, entry) {
		(void) uv_timer_stop(&entry->timer);
		entry->failures = 0;
	}
	advance(mounts);
}

void mounts_stop(struct mounts *mounts, bool unmount)
{
	struct mounts_entry *entry;

	mounts->phase = unmount ? MOUNTS_UNDOING : MOUNTS_STOPPING;
	if (!unmount) {
		/* What no thread has begun is left to a guestd after this one. */
		DL_FOREACH (mounts->entries, entry)
			(void) (mount_state_is_busy(entry->state) ? uv_cancel((uv_req_t *) &entry->work) : 0);
		close_all(mounts);
		return;
	}
	drop_all(mounts);
	advance(mounts);
}
