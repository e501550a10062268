/* SPDX-License-Identifier: Apache-2.0 */
/* The shares as they are mounted, and as they should be. */
#include "guest-fuse/agent/mounts.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <utlist.h>

#include "guest-fuse/agent/place.h"
#include "protocol/cleanup.h"
#include "protocol/document.h"
#include "protocol/log.h"
#include "protocol/paths.h"

enum { RETRY_LEAST_MS = 200, RETRY_MOST_MS = 10000 };

enum job { JOB_NONE, JOB_MAKE, JOB_UNDO };

struct mounts_entry {
	struct mounts *mounts;
	struct mounts_entry *prev, *next;
	struct link_share share; /* as the server told last */
	struct place place;
	enum binds_state state;
	bool wanted;       /* on the server's list */
	bool present;      /* something of it may be in the guest */
	bool stale;        /* to be made anew */
	bool identical;    /* mounted at its own path, too: the one of place is a thread's while there is a job */
	bool is_apart;     /* the same */
	bool tried, waits; /* waits: for the timer, before the next try */
	unsigned failures;
	char error[PLACE_ERROR_SIZE];

	enum job job;
	uv_work_t work;
	int result;
	uv_poll_t poll; /* of the FIFO, while it is open */
	uv_timer_t timer;
	unsigned handles; /* open ones of these two */
	bool polls, closing;
};

static void advance(struct mounts *mounts);

static void entry_free(struct mounts_entry *entry)
{
	free(entry->share.path);
	free(entry->share.canonical);
	place_done(&entry->place);
	free(entry);
}

static void on_closed(uv_handle_t *handle)
{
	struct mounts_entry *entry = handle->data;

	if (--entry->handles == 0 && entry->closing)
		entry_free(entry);
}

static void stop_polling(struct mounts_entry *entry)
{
	if (!entry->polls)
		return;
	entry->polls = false;
	uv_close((uv_handle_t *) &entry->poll, on_closed);
}

static void entry_close(struct mounts_entry *entry)
{
	DL_DELETE(entry->mounts->entries, entry);
	entry->closing = true;
	stop_polling(entry);
	uv_close((uv_handle_t *) &entry->timer, on_closed);
}

/* Where and how the share is to be mounted now. 0 or -ENOMEM. */
static int set_place(struct mounts_entry *entry)
{
	const struct guest_config *config = entry->mounts->config;

	return place_set(&entry->place, config, config->address_text, config->root, &entry->share);
}

static const char *mount_of(const struct mounts_entry *entry)
{
	return entry->is_apart ? entry->place.apart : entry->place.mount;
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

static void on_timer(uv_timer_t *timer)
{
	struct mounts_entry *entry = timer->data;

	entry->waits = false;
	advance(entry->mounts);
}

/* Of the server at address, beneath root. NULL: there is no memory for it. */
static struct mounts_entry *entry_new(struct mounts *mounts, const struct link_share *share, const char *address,
                                      const char *root)
{
	struct mounts_entry *entry = calloc(1, sizeof(*entry));

	if (entry == NULL)
		return NULL;
	entry->mounts = mounts;
	entry->place.fd = -EBADF;
	entry->share =
	        (struct link_share){ strdup(share->path), strdup(share->canonical), PROTO_SHARE_SERVED, share->flags };
	if (entry->share.path == NULL || entry->share.canonical == NULL ||
	    place_set(&entry->place, mounts->config, address, root, &entry->share) < 0 ||
	    uv_timer_init(mounts->loop, &entry->timer) < 0) {
		entry_free(entry);
		return NULL;
	}
	entry->timer.data = entry->work.data = entry;
	entry->handles = 1;
	DL_APPEND(mounts->entries, entry);
	return entry;
}

static bool serves(const struct mounts_entry *entry)
{
	return entry->wanted && entry->share.state == PROTO_SHARE_SERVED;
}

/* What there is of it is to be undone. */
static bool is_going(const struct mounts_entry *entry)
{
	return entry->present && (!serves(entry) || entry->stale);
}

/* The nearest share above that is mounted, may be, or will be; none that has failed, until it is tried again. */
static struct mounts_entry *above(const struct mounts_entry *entry)
{
	struct mounts_entry *other, *nearest = NULL;

	DL_FOREACH (entry->mounts->entries, other) {
		if (other == entry)
			break;
		if (paths_is_beneath(entry->share.path, other->share.path) &&
		    (other->job != JOB_NONE || is_going(other) || (serves(other) && other->state != BINDS_FAILED)))
			nearest = other;
	}
	return nearest;
}

/* mounted: only what this guestd has mounted, not what an earlier one left. */
static bool has_beneath(const struct mounts_entry *entry, bool mounted)
{
	const struct mounts_entry *other;

	for (other = entry->next; other != NULL; other = other->next)
		if (paths_is_beneath(other->share.path, entry->share.path) &&
		    (other->job != JOB_NONE || (other->present && (!mounted || other->state == BINDS_MOUNTED))))
			return true;
	return false;
}

static json_t *made_json(const struct place_made *made)
{
	json_t *list = json_array();

	for (size_t i = 0; i < made->count; i++)
		(void) json_array_append_new(list, json_string(made->paths[i]));
	return list;
}

static int record_path(const struct mounts *mounts, char path[PATH_MAX])
{
	return snprintf(path, PATH_MAX, "%s/state.json", mounts->config->run_directory) >= PATH_MAX ? -ENAMETOOLONG : 0;
}

/* What is in the guest, for a guestd after this one. */
static void record(const struct mounts *mounts)
{
	const struct mounts_entry *entry;
	_cleanup_json_ json_t *root = NULL;
	json_t *list = json_array();
	char path[PATH_MAX], error[PATH_MAX + 256];

	DL_FOREACH (mounts->entries, entry) {
		/* A job that is under way changes what it has made. */
		if (entry->present)
			(void) json_array_append_new(
			        list, json_pack("{s:s, s:s, s:i, s:o}", "path", entry->share.path, "canonical",
			                        entry->share.canonical, "flags", (int) entry->share.flags, "made",
			                        entry->job == JOB_NONE ? made_json(&entry->place.made) : json_array()));
	}
	root = json_pack("{s:s, s:s, s:o}", "address", mounts->config->address_text, "root", mounts->config->root,
	                 "shares", list);
	if (record_path(mounts, path) < 0 || document_write("record of mounts", path, root, error, sizeof(error)) < 0)
		log_warning("what is mounted cannot be recorded: %s", error);
}

static void tell(struct mounts *mounts)
{
	record(mounts);
	if (!mounts->stopping)
		mounts->changed(mounts->context);
}

static void back_off(struct mounts_entry *entry)
{
	uint64_t pause = (uint64_t) RETRY_LEAST_MS << (entry->failures < 8 ? entry->failures : 8);

	entry->failures++;
	entry->waits = true;
	(void) uv_timer_start(&entry->timer, on_timer, pause < RETRY_MOST_MS ? pause : RETRY_MOST_MS, 0);
}

/* The session is over, whoever ended it. */
static void on_alive(uv_poll_t *poll, int status, int events)
{
	struct mounts_entry *entry = poll->data;

	if (entry->job != JOB_NONE || (status >= 0 && place_is_alive(entry->place.fd)))
		return;
	log_peer_warning("the mount of %s has lost its server", entry->share.path);
	stop_polling(entry);
	entry->stale = true;
	entry->state = BINDS_PENDING;
	back_off(entry);
	tell(entry->mounts);
	advance(entry->mounts);
}

/* What lies in this mount was hidden or lost with it. */
static void make_stale_beneath(struct mounts_entry *entry)
{
	struct mounts_entry *other;

	for (other = entry->next; other != NULL; other = other->next)
		if (paths_is_beneath(other->share.path, entry->share.path) && other->present)
			other->stale = true;
}

static void made(struct mounts_entry *entry)
{
	entry->tried = true;
	if (entry->result < 0) {
		if (strcmp(entry->error, entry->place.error) != 0)
			log_peer_warning("%s is not mounted: %s", entry->share.path, entry->place.error);
		(void) snprintf(entry->error, sizeof(entry->error), "%s", entry->place.error);
		entry->state = BINDS_FAILED;
		back_off(entry);
		return;
	}
	entry->state = BINDS_MOUNTED;
	entry->identical = entry->place.identical;
	entry->is_apart = entry->place.is_apart;
	entry->failures = 0;
	entry->error[0] = '\0';
	log_peer_info("%s %s%s", entry->place.adopted ? "found" : "mounted", mount_of(entry),
	              entry->place.identical ? ", at its own path, too" : "");
	if (!entry->place.adopted)
		make_stale_beneath(entry);
	if (uv_poll_init(entry->mounts->loop, &entry->poll, entry->place.fd) == 0) {
		entry->poll.data = entry;
		entry->handles++;
		entry->polls = true;
		(void) uv_poll_start(&entry->poll, UV_READABLE, on_alive);
	}
}

static void undone(struct mounts_entry *entry)
{
	log_peer_info("unmounted %s", mount_of(entry));
	entry->present = entry->stale = entry->identical = entry->is_apart = false;
	entry->state = BINDS_PENDING;
	if (entry->wanted && set_place(entry) < 0)
		back_off(entry);
}

static void run_job(uv_work_t *work)
{
	struct mounts_entry *entry = work->data;

	entry->place.error[0] = '\0';
	entry->result = 0;
	if (entry->job == JOB_MAKE)
		entry->result = place_make(&entry->place);
	else
		place_undo(&entry->place);
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
	enum job job = entry->job;

	entry->job = JOB_NONE;
	mounts->busy--;
	if (job == JOB_MAKE)
		made(entry);
	else
		undone(entry);
	tell(mounts);
	if (mounts->stopping && !mounts->unmounting)
		close_all(mounts);
	else
		advance(mounts);
}

static void start_job(struct mounts_entry *entry, enum job job)
{
	entry->job = job;
	entry->present = true;
	if (uv_queue_work(entry->mounts->loop, &entry->work, run_job, on_job_done) < 0) {
		entry->job = JOB_NONE;
		back_off(entry);
		return;
	}
	entry->mounts->busy++;
}

/* What is to be done about one share now: made from the outside in, undone from the inside out. */
static void advance_entry(struct mounts_entry *entry)
{
	const struct mounts_entry *parent;

	if (entry->job != JOB_NONE)
		return;
	if (is_going(entry)) {
		if (has_beneath(entry, false)) {
			make_stale_beneath(entry);
			return;
		}
		stop_polling(entry);
		start_job(entry, JOB_UNDO);
		return;
	}
	if (!entry->wanted) {
		entry_close(entry);
		return;
	}
	if (!serves(entry) || entry->state == BINDS_MOUNTED || entry->waits || entry->mounts->stopping)
		return;
	parent = above(entry);
	if (parent != NULL && (parent->job != JOB_NONE || is_going(parent) || parent->state != BINDS_MOUNTED))
		return;
	if (has_beneath(entry, true)) {
		make_stale_beneath(entry); /* it would be hidden */
		return;
	}
	entry->place.covered = parent != NULL;
	entry->place.identical_covered = parent != NULL && parent->identical;
	start_job(entry, JOB_MAKE);
}

static void advance(struct mounts *mounts)
{
	struct mounts_entry *entry, *next;

	if (!mounts->known || (mounts->stopping && !mounts->unmounting))
		return;
	DL_FOREACH_SAFE(mounts->entries, entry, next)
	{
		advance_entry(entry);
	}
}

/* How a share is mounted has changed, or which directory it is. */
static bool differs(const struct mounts_entry *entry, const struct link_share *share)
{
	return entry->share.flags != share->flags || strcmp(entry->share.canonical, share->canonical) != 0;
}

static void take_share(struct mounts *mounts, const struct link_share *share)
{
	struct mounts_entry *entry = find(mounts, share->path);
	char *canonical;

	if (entry == NULL)
		entry = entry_new(mounts, share, mounts->config->address_text, mounts->config->root);
	canonical = entry == NULL ? NULL : strdup(share->canonical);
	if (canonical == NULL) {
		log_peer_warning("no memory for the share %s", share->path);
		return;
	}
	entry->wanted = true;
	if (differs(entry, share)) {
		entry->stale = entry->present || entry->job != JOB_NONE;
		if (entry->stale)
			make_stale_beneath(entry);
	}
	entry->share.state = share->state;
	entry->share.flags = share->flags;
	free(entry->share.canonical);
	entry->share.canonical = canonical;
	if (!entry->present && entry->job == JOB_NONE && set_place(entry) < 0)
		back_off(entry);
}

/* One share of the record, of a server and beneath a root that may not be today's: then it is undone there. */
static void recall(struct mounts *mounts, const json_t *recorded, const char *address, const char *root)
{
	const char *path = json_string_value(json_object_get(recorded, "path"));
	const char *canonical = json_string_value(json_object_get(recorded, "canonical"));
	const json_t *made = json_object_get(recorded, "made");
	struct link_share share = { .flags = (uint32_t) json_integer_value(json_object_get(recorded, "flags")) };
	struct mounts_entry *entry;

	if (path == NULL || canonical == NULL || path[0] != '/' || find(mounts, path) != NULL)
		return;
	share.path = (char *) path;
	share.canonical = (char *) canonical;
	entry = entry_new(mounts, &share, address, root);
	if (entry == NULL)
		return;
	entry->present = true;
	entry->stale = strcmp(address, mounts->config->address_text) != 0 || strcmp(root, mounts->config->root) != 0;
	for (size_t i = 0; i < json_array_size(made) && i < PLACE_MADE_MAX; i++) {
		const char *text = json_string_value(json_array_get(made, i));

		if (text != NULL && text[0] == '/' &&
		    (entry->place.made.paths[entry->place.made.count] = strdup(text)) != NULL)
			entry->place.made.count++;
	}
}

void mounts_recall(struct mounts *mounts)
{
	_cleanup_json_ json_t *root = NULL;
	char path[PATH_MAX], error[PATH_MAX + 256];
	const char *address, *beneath;
	json_t *shares, *share;
	size_t i;

	if (record_path(mounts, path) < 0 || document_read("record of mounts", path, &root, error, sizeof(error)) < 0)
		return;
	shares = json_object_get(root, "shares");
	address = json_string_value(json_object_get(root, "address"));
	beneath = json_string_value(json_object_get(root, "root"));
	if (address == NULL || beneath == NULL)
		return;
	json_array_foreach(shares, i, share)
	{
		recall(mounts, share, address, beneath);
	}
	DL_SORT(mounts->entries, by_path);
}

void mounts_set(struct mounts *mounts, const struct link_list *list)
{
	struct mounts_entry *entry;

	mounts->known = true;
	DL_FOREACH (mounts->entries, entry) {
		entry->wanted = false;
	}
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
		entry->waits = false;
		entry->failures = 0;
	}
	advance(mounts);
}

bool mounts_are_settled(const struct mounts *mounts)
{
	const struct mounts_entry *entry;

	DL_FOREACH (mounts->entries, entry) {
		if (entry->wanted && entry->share.state == PROTO_SHARE_SERVED && !entry->tried)
			return false;
	}
	return mounts->known;
}

static enum binds_state state_of(const struct mounts_entry *entry)
{
	if (entry->share.state == PROTO_SHARE_MISSING)
		return BINDS_MISSING;
	if (entry->share.state == PROTO_SHARE_REPLACED)
		return BINDS_REPLACED;
	return entry->stale ? BINDS_PENDING : entry->state;
}

int mounts_table(const struct mounts *mounts, struct binds_table *ret_table)
{
	struct binds_table table = { .known = mounts->known };
	const struct mounts_entry *entry;
	int count;

	DL_COUNT(mounts->entries, entry, count);
	table.shares = calloc((size_t) count + 1, sizeof(*table.shares));
	if (table.shares == NULL)
		return -ENOMEM;
	DL_FOREACH (mounts->entries, entry) {
		struct binds_share *share = &table.shares[table.count];

		if (!entry->wanted)
			continue;
		table.count++;
		*share = (struct binds_share){
			.path = strdup(entry->share.path),
			.canonical = strdup(entry->share.canonical),
			.mount = strdup(mount_of(entry)),
			.state = state_of(entry),
			.read_only = (entry->share.flags & PROTO_SHARE_READ_ONLY) != 0,
			.identical = entry->identical,
			.idmap = (entry->share.flags & PROTO_SHARE_PERMISSIONS_HOST) == 0,
			.error = entry->error[0] != '\0' ? strdup(entry->error) : NULL,
		};
		if (share->path == NULL || share->canonical == NULL || share->mount == NULL) {
			binds_table_done(&table);
			return -ENOMEM;
		}
	}
	*ret_table = table;
	return 0;
}

json_t *mounts_json(const struct mounts *mounts)
{
	const struct mounts_entry *entry;
	json_t *list = json_array();

	DL_FOREACH (mounts->entries, entry) {
		/* A path that is no UTF-8 JSON cannot carry: such a share is left out. */
		json_t *object = json_pack("{s:s, s:s, s:s, s:b, s:s, s:b, s:s?}", "path", entry->share.path,
		                           "canonical", entry->share.canonical, "mount", mount_of(entry), "identical",
		                           entry->identical, "state", binds_state_name(state_of(entry)), "readOnly",
		                           (entry->share.flags & PROTO_SHARE_READ_ONLY) != 0, "error",
		                           entry->error[0] != '\0' ? entry->error : NULL);

		if (object != NULL && entry->wanted)
			(void) json_array_append_new(list, object);
		else
			json_decref(object);
	}
	return list;
}

void mounts_stop(struct mounts *mounts, bool unmount)
{
	struct mounts_entry *entry;

	mounts->stopping = true;
	mounts->unmounting = unmount;
	if (!unmount) {
		close_all(mounts);
		return;
	}
	mounts->known = true;
	DL_FOREACH (mounts->entries, entry) {
		entry->wanted = false;
	}
	advance(mounts);
}
