/* SPDX-License-Identifier: Apache-2.0 */
/* Which directories and files are watched. */
#include "fileserver/worker/leases/leases.h"

#include <errno.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include "fileserver/worker/leases/internal.h"
#include "fileserver/worker/nodes/ids.h"
#include "fileserver/worker/nodes/nodes.h"
#include "fileserver/worker/nodes/stamps.h"
#include "protocol/cleanup.h"
#include "protocol/faults.h"

/* Ids are the table's own: slots of this process, nothing that a guest can choose. */
#define HASH_NONFATAL_OOM 1
#define uthash_nonfatal_oom(element)                                                                                   \
	do {                                                                                                           \
		(element)->id = 0;                                                                                     \
	} while (0)
#include <uthash.h>

enum {
	MOST = 65536,
	SHARE_OF_MARKS = 4,
	FILES_PART = 2, /* files may have one part in so many of the marks */
	EVICT_TRIES = 64,
	REFUSALS = 8, /* a file that is opened displaces another one at every such refusal for want of room */
};

struct lease {
	uint64_t id; /* of the node */
	enum lease_kind kind;
	UT_hash_handle hh;
	uint64_t batch; /* the batch that changes counts */
	uint32_t changes;
};

/*
 * File systems that nobody but this kernel writes to: statfs(2). On any other, a change that another machine makes, or
 * that is made beneath the file system, raises no event here.
 */
static bool is_local(int fd)
{
	static const uint32_t local[] = {
		EXT4_SUPER_MAGIC,          XFS_SUPER_MAGIC,      BTRFS_SUPER_MAGIC,
		F2FS_SUPER_MAGIC,          TMPFS_MAGIC,          MSDOS_SUPER_MAGIC,
		0xca451a4e /* bcachefs */, 0x2fc12fc1 /* ZFS */, 0x2011bab0 /* exfat */,
		0x7366746e /* ntfs3 */,
	};
	struct statfs st;

	if (fstatfs(fd, &st) < 0)
		return false;
	for (size_t i = 0; i < ARRAY_SIZE(local); i++)
		if ((uint32_t) st.f_type == local[i])
			return true;
	return false;
}

bool leases_is_local(struct leases *leases, const struct node *node, int fd)
{
	uint64_t device = nodes_device(node);
	bool known = false, local = false;

	lock_take(&leases->lock);
	for (unsigned i = 0; i < leases->devices_count && !known; i++) {
		known = leases->devices[i].device == device;
		local = known && leases->devices[i].local;
	}
	lock_give(&leases->lock);
	if (known)
		return local;
	local = is_local(fd);
	lock_take(&leases->lock);
	if (leases->devices_count < DEVICES_KNOWN) {
		leases->devices[leases->devices_count].device = device;
		leases->devices[leases->devices_count++].local = local;
	}
	lock_give(&leases->lock);
	return local;
}

void leases_show_state(struct leases *leases, enum leases_state state)
{
	if (leases->counters != NULL)
		atomic_store_explicit(&leases->counters->leases_state, state, memory_order_relaxed);
}

static struct lease *find(struct leases *leases, uint64_t id) LOCK_HELD(leases->lock);
static struct lease *find(struct leases *leases, uint64_t id)
{
	struct lease *lease = NULL;

	for (int kind = 0; kind < LEASE_KINDS && lease == NULL; kind++)
		HASH_FIND(hh, leases->tables[kind], &id, sizeof(id), lease);
	return lease;
}

static uint32_t count_all(const struct leases *leases)
{
	return leases->counts[LEASE_DIRECTORY] + leases->counts[LEASE_FILE];
}

static void show_count(struct leases *leases) LOCK_HELD(leases->lock);
static void show_count(struct leases *leases)
{
	if (leases->counters == NULL)
		return;
	atomic_store_explicit(&leases->counters->leases, count_all(leases), memory_order_relaxed);
	atomic_store_explicit(&leases->counters->leases_most, leases->most, memory_order_relaxed);
}

static bool add(struct leases *leases, uint64_t id, enum lease_kind kind) LOCK_HELD(leases->lock);
static bool add(struct leases *leases, uint64_t id, enum lease_kind kind)
{
	struct lease *lease;

	if (find(leases, id) != NULL)
		return true;
	lease = FAULT_NULL(WORKER_LEASE, calloc(1, sizeof(*lease)));
	if (lease == NULL)
		return false;
	lease->id = id;
	lease->kind = kind;
	HASH_ADD(hh, leases->tables[kind], id, sizeof(lease->id), lease);
	if (lease->id == 0) {
		free(lease);
		return false;
	}
	leases->counts[kind]++;
	show_count(leases);
	return true;
}

static bool drop(struct leases *leases, uint64_t id) LOCK_HELD(leases->lock);
/* False: there was none. */
static bool drop(struct leases *leases, uint64_t id)
{
	struct lease *lease = find(leases, id);

	enum lease_kind kind;

	if (lease == NULL)
		return false;
	kind = lease->kind;
	if (leases->hands[kind] == lease)
		leases->hands[kind] = lease->hh.prev;
	HASH_DELETE(hh, leases->tables[kind], lease);
	free(lease);
	leases->counts[kind]--;
	show_count(leases);
	return true;
}

static void lose(struct leases *leases, uint64_t id, enum lease_kind kind) LOCK_HELD(leases->lock);
/* The guest is to be told that it has no lease on this object any more. */
static void lose(struct leases *leases, uint64_t id, enum lease_kind kind)
{
	if (leases->lost_count == leases->lost_size) {
		size_t size = leases->lost_size == 0 ? 64 : 2 * leases->lost_size;
		struct lost *lost = FAULT_NULL(WORKER_LEASE, realloc(leases->lost, size * sizeof(*lost)));

		if (lost == NULL) {
			leases->lost_all = PROTO_INVALIDATE_ALL | PROTO_INVALIDATE_CONTENTS;
			return;
		}
		leases->lost = lost;
		leases->lost_size = size;
	}
	leases->lost[leases->lost_count++] = (struct lost){ .id = id, .kind = kind };
	(void) eventfd_write(leases->wake, 1);
}

void leases_lose_file(struct leases *leases, uint64_t id)
{
	lock_take(&leases->lock);
	lose(leases, id, LEASE_FILE);
	lock_give(&leases->lock);
}

static enum lease_kind kind_of(const struct node *node)
{
	return S_ISDIR(nodes_type(node)) ? LEASE_DIRECTORY : LEASE_FILE;
}

static void remove_watch(struct leases *leases, enum lease_kind kind, uint64_t id, int fd)
{
	struct hostwatch *watch = atomic_load(&leases->watches[kind]);

	if (watch != NULL)
		hostwatch_remove(watch, id, fd);
}

/* The table of nodes frees a watched one, under its lock. told: the guest still refers to it. */
static void on_freed(void *context, uint64_t id, int fd, bool told)
{
	struct leases *leases = context;
	const struct lease *lease;

	lock_take(&leases->lock);
	lease = find(leases, id);
	if (lease != NULL && told)
		lose(leases, id, lease->kind);
	(void) drop(leases, id);
	lock_give(&leases->lock);
	for (int kind = 0; kind < LEASE_KINDS; kind++)
		remove_watch(leases, kind, id, fd);
}

static void unwatch(struct leases *leases, struct node *node)
{
	enum lease_kind kind = kind_of(node);
	uint64_t id = nodes_id(node);
	struct node_fd fd;
	bool opened = nodes_fd_in_place(leases->nodes, node, &fd) == 0;

	nodes_set_watched(node, false);
	remove_watch(leases, kind, id, opened ? fd.fd : -EBADF);
	if (opened)
		nodes_fd_done(leases->nodes, &fd);
	lock_take(&leases->lock);
	if (drop(leases, id))
		lose(leases, id, kind);
	lock_give(&leases->lock);
	if (kind == LEASE_FILE)
		leases_look_soon(leases);
}

static bool has_room(const struct leases *leases, enum lease_kind kind)
{
	return count_all(leases) < leases->most &&
	       (kind != LEASE_FILE || leases->counts[LEASE_FILE] < leases->most / FILES_PART);
}

/*
 * The id of the lease whose turn it is to be looked at, or 0: there is room, or nothing to end. Files never push out
 * directories, whose leases cover more.
 */
static uint64_t next_victim(struct leases *leases, enum lease_kind kind)
{
	uint64_t id = 0;

	lock_take(&leases->lock);
	if (!has_room(leases, kind)) {
		enum lease_kind of = leases->tables[LEASE_FILE] != NULL ? LEASE_FILE : kind;
		struct lease **hand = &leases->hands[of];

		*hand = *hand == NULL ? NULL : (*hand)->hh.next;
		if (*hand == NULL)
			*hand = leases->tables[of];
		id = *hand == NULL ? 0 : (*hand)->id;
	}
	lock_give(&leases->lock);
	return id;
}

/* At the limit: ends the lease of an object that nobody has asked about for the longest. */
static void make_room(struct leases *leases, enum lease_kind kind)
{
	for (int tries = 0; tries < EVICT_TRIES; tries++) {
		uint64_t id = next_victim(leases, kind);
		struct node *node;

		if (id == 0)
			return;
		if (nodes_get(leases->nodes, id, &node) < 0)
			continue;
		if (!nodes_was_asked(node) || tries == EVICT_TRIES - 1)
			unwatch(leases, node);
		nodes_put(leases->nodes, node);
	}
}

static bool begin(struct leases *leases, uint64_t id, enum lease_kind kind, uint64_t *ret_restarts)
{
	bool added;

	lock_take(&leases->lock);
	*ret_restarts = leases->restarts;
	added = has_room(leases, kind) && add(leases, id, kind);
	lock_give(&leases->lock);
	return added;
}

/* The watch of this kind, or NULL. */
static struct hostwatch *watch_of(struct leases *leases, enum lease_kind kind)
{
	struct hostwatch *watch = atomic_load(&leases->watches[kind]);

	if (watch != NULL)
		return watch;
	lock_take(&leases->lock);
	watch = atomic_load(&leases->watches[kind]);
	if (watch == NULL && !leases->files_failed) {
		leases->files_failed = hostwatch_new(leases->files_kind, &watch) < 0;
		if (!leases->files_failed)
			atomic_store(&leases->watches[kind], watch);
	}
	lock_give(&leases->lock);
	/* For leases_run() to look at it. */
	(void) eventfd_write(leases->wake, 1);
	return watch;
}

static bool watch(struct leases *leases, struct node *node, int object)
{
	enum lease_kind kind = kind_of(node);
	struct hostwatch *hostwatch;
	uint64_t id = nodes_id(node), restarts;
	bool watched;
	int r;

	if (!leases_is_local(leases, node, object))
		return false;
	hostwatch = watch_of(leases, kind);
	if (hostwatch == NULL)
		return false;
	make_room(leases, kind);
	if (!begin(leases, id, kind, &restarts))
		return false;
	r = hostwatch_add(hostwatch, object, id);
	/* Who has opened it before has raised no event. Not with the lock held: on_freed() takes it under the nodes'
	 * own. */
	if (r == 0 && kind == LEASE_FILE)
		nodes_ask_again(leases->nodes, node);
	lock_take(&leases->lock);
	/* A restart, or the end of the object, may have come in between. */
	watched = r == 0 && restarts == leases->restarts && find(leases, id) != NULL;
	if (watched) {
		nodes_set_watched(node, true);
	} else {
		(void) drop(leases, id);
		/* Other programs of the user have taken the marks: this many fit. */
		if (r == -ENOSPC)
			leases->most = count_all(leases);
		show_count(leases);
	}
	lock_give(&leases->lock);
	if (r == -ENOSPC)
		leases_show_state(leases, LEASES_NO_MARKS);
	return watched;
}

bool leases_hold(struct leases *leases, struct node *node, int directory)
{
	if (leases == NULL || atomic_load_explicit(&leases->behind, memory_order_relaxed))
		return false;
	return nodes_is_watched(node) || watch(leases, node, directory);
}

bool leases_hold_file(struct leases *leases, struct node *node, int file)
{
	bool again = nodes_is_asked(node), held;
	uint32_t told = stamps_of(node);

	if (leases == NULL || atomic_load_explicit(&leases->behind, memory_order_relaxed))
		return false;
	held = nodes_is_watched(node) || (again && watch(leases, node, file));
	/* What the guest was told before needs no second look any more. */
	if (held)
		stamps_drop(node, told);
	return held;
}

/*
 * Ends the watch of a file that nobody has asked about for the longest, so that others take their turn. Guests do not
 * ask about a file that they have kept open: which of these they use is not known.
 */
static void displace(struct leases *leases)
{
	struct node *node;
	uint64_t id;

	lock_take(&leases->lock);
	leases->hands[LEASE_FILE] = leases->hands[LEASE_FILE] == NULL ? NULL : leases->hands[LEASE_FILE]->hh.next;
	if (leases->hands[LEASE_FILE] == NULL)
		leases->hands[LEASE_FILE] = leases->tables[LEASE_FILE];
	id = leases->hands[LEASE_FILE] == NULL ? 0 : leases->hands[LEASE_FILE]->id;
	lock_give(&leases->lock);
	if (id == 0 || nodes_get(leases->nodes, id, &node) < 0)
		return;
	if (!nodes_was_asked(node))
		unwatch(leases, node);
	nodes_put(leases->nodes, node);
}

/* A walk that opens each file once is to displace few of those that were there before. */
static bool has_room_for_contents(struct leases *leases)
{
	bool room = nodes_may_keep_handles(leases->nodes), turn = false;

	lock_take(&leases->lock);
	room = room && has_room(leases, LEASE_FILE);
	if (!room)
		turn = ++leases->refused % REFUSALS == 0;
	lock_give(&leases->lock);
	if (turn)
		displace(leases);
	return room;
}

bool leases_hold_contents(struct leases *leases, struct node *node, int fd)
{
	if (leases == NULL || atomic_load_explicit(&leases->behind, memory_order_relaxed))
		return false;
	return nodes_is_watched(node) ? nodes_may_keep_handles(leases->nodes)
	                              : has_room_for_contents(leases) && watch(leases, node, fd);
}

bool leases_has(struct leases *leases, struct node *node)
{
	return leases != NULL && !atomic_load_explicit(&leases->behind, memory_order_relaxed) && nodes_is_watched(node);
}

uint32_t leases_take_lost(struct leases *leases, struct lost **ret_lost, size_t *ret_count)
{
	uint32_t all;

	lock_take(&leases->lock);
	*ret_lost = leases->lost;
	*ret_count = leases->lost_count;
	all = leases->lost_all;
	leases->lost = NULL;
	leases->lost_count = leases->lost_size = 0;
	leases->lost_all = 0;
	lock_give(&leases->lock);
	return all;
}

void leases_lose_all(struct leases *leases, uint32_t more)
{
	lock_take(&leases->lock);
	leases->lost_all |= PROTO_INVALIDATE_ALL | more;
	lock_give(&leases->lock);
	(void) eventfd_write(leases->wake, 1);
}

void leases_watch_gone(struct leases *leases, uint64_t id)
{
	struct node *node;

	lock_take(&leases->lock);
	(void) drop(leases, id);
	lock_give(&leases->lock);
	if (nodes_get(leases->nodes, id, &node) < 0)
		return;
	nodes_set_watched(node, false);
	nodes_put(leases->nodes, node);
	leases_look_soon(leases);
}

/* Any lease's id; 0: there is none. */
static uint64_t first_lease(struct leases *leases)
{
	uint64_t id = 0;

	lock_take(&leases->lock);
	for (int kind = 0; kind < LEASE_KINDS && id == 0; kind++)
		id = leases->tables[kind] == NULL ? 0 : leases->tables[kind]->id;
	lock_give(&leases->lock);
	return id;
}

void leases_restart(struct leases *leases)
{
	uint64_t id;

	/* Before the number changes: who began with the older one may have a mark that is gone. */
	for (int kind = 0; kind < LEASE_KINDS; kind++)
		if (atomic_load(&leases->watches[kind]) != NULL)
			(void) hostwatch_flush(atomic_load(&leases->watches[kind]));
	lock_take(&leases->lock);
	leases->restarts++;
	leases->lost_all = PROTO_INVALIDATE_ALL | PROTO_INVALIDATE_CONTENTS;
	lock_give(&leases->lock);
	while ((id = first_lease(leases)) != 0)
		leases_watch_gone(leases, id);
}

uint32_t leases_count_change(struct leases *leases, uint64_t id)
{
	struct lease *lease;
	uint32_t changes = 1;

	lock_take(&leases->lock);
	lease = find(leases, id);
	if (lease != NULL) {
		lease->changes = lease->batch == leases->batch ? lease->changes + 1 : 1;
		lease->batch = leases->batch;
		changes = lease->changes;
	}
	lock_give(&leases->lock);
	return changes;
}

static int new_watch(struct hostwatch **ret_watch, enum hostwatch_kind *ret_kind)
{
	int r;

	*ret_kind = HOSTWATCH_FANOTIFY;
	r = hostwatch_new(*ret_kind, ret_watch);
	if (r < 0) {
		*ret_kind = HOSTWATCH_INOTIFY;
		r = hostwatch_new(*ret_kind, ret_watch);
	}
	return r;
}

/* The user's other programs watch files, too: editors, for instance. */
static uint32_t limit(enum hostwatch_kind kind)
{
	uint32_t quarter = hostwatch_limit(kind) / SHARE_OF_MARKS;

	return quarter < MOST ? quarter : MOST;
}

int leases_new(struct nodes *nodes, int root, uint32_t most, const struct leases_sink *sink,
               struct proto_counters *counters, struct leases **ret_leases)
{
	struct leases *leases = FAULT_NULL(WORKER_LEASES, calloc(1, sizeof(*leases)));
	enum hostwatch_kind kind = HOSTWATCH_FANOTIFY;
	struct hostwatch *watch;
	int r;

	*ret_leases = NULL;
	if (leases == NULL)
		return -ENOMEM;
	leases->nodes = nodes;
	leases->sink = *sink;
	leases->counters = counters;
	lock_init(&leases->lock);
	lock_init(&leases->looks);
	leases->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	leases->look = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	r = leases->wake < 0 || leases->look < 0 ? -errno : mounts_new(root, &leases->mounts);
	if (r == 0)
		r = new_watch(&watch, &kind);
	if (r < 0) {
		leases_free(leases);
		return r;
	}
	atomic_store(&leases->watches[LEASE_DIRECTORY], watch);
	leases->files_kind = kind == HOSTWATCH_FANOTIFY ? HOSTWATCH_FANOTIFY_FILES : HOSTWATCH_INOTIFY_FILES;
	leases->most = most > 0 ? most : limit(kind);
	lock_take(&leases->lock);
	show_count(leases);
	lock_give(&leases->lock);
	leases_show_state(leases, is_local(root) ? LEASES_GIVEN : LEASES_FILE_SYSTEM);
	nodes_set_freed(nodes, on_freed, leases);
	*ret_leases = leases;
	return 0;
}

void leases_free(struct leases *leases)
{
	struct lease *lease, *next;

	if (leases == NULL)
		return;
	for (int kind = 0; kind < LEASE_KINDS; kind++) {
		HASH_ITER (hh, leases->tables[kind], lease, next) {
			HASH_DELETE(hh, leases->tables[kind], lease);
			free(lease);
		}
		hostwatch_free(atomic_load(&leases->watches[kind]));
	}
	mounts_free(leases->mounts);
	close_fd(leases->wake);
	close_fd(leases->look);
	free(leases->lost);
	lock_done(&leases->looks);
	lock_done(&leases->lock);
	free(leases);
}
