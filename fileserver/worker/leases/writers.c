/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whether others have a file open for writing. The kernel says so when it is asked for a lease of fcntl(2) for reading:
 * EAGAIN as long as there is a descriptor that is open for writing, or a writable shared mapping. This takes 1 us, and
 * works for the user's own files.
 *
 * If it gives the lease, that is given back at once. A program that opens the file for writing in between waits for so
 * long, or fails with EWOULDBLOCK if it opens it with O_NONBLOCK. So a file that somebody has changed a moment ago is
 * not asked for, but taken for one that is written to, until there has been a while of rest.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <xxhash.h>

#include "fileserver/common/resolve.h"
#include "fileserver/worker/leases/internal.h"
#include "fileserver/worker/nodes/ids.h"
#include "fileserver/worker/nodes/nodes.h"
#include "protocol/cleanup.h"
#include "protocol/clock.h"
#include "protocol/faults.h"

enum {
	LOOK_MS = 900,      /* a change is seen within a second */
	LOOK_AT_ONCE = 256, /* files, before events are read again */
	REST_MS = 500,
};

/* False also if the kernel does not say, as for somebody else's file. */
static bool ask(struct leases *leases, const struct node *node, int fd)
{
	/* What a file system over a network says is about its server. */
	if (!leases_is_local(leases, node, fd))
		return false;
	if (FAULT(WORKER_OTHERS, fcntl(fd, F_SETLEASE, F_RDLCK)) < 0)
		return errno == EAGAIN;
	(void) fcntl(fd, F_SETLEASE, F_UNLCK);
	return false;
}

static int64_t nanoseconds(int64_t seconds, int64_t rest)
{
	return seconds * INT64_C(1000000000) + rest;
}

/* By the clock of files' times. */
static int64_t real_now(void)
{
	struct timespec now;

	(void) clock_gettime(CLOCK_REALTIME, &now);
	return nanoseconds(now.tv_sec, now.tv_nsec);
}

static unsigned slot_of(uint64_t directory, const char *name)
{
	return (unsigned) (XXH3_64bits_withSeed(name, strlen(name), directory) % TOUCHED);
}

void leases_note_touched(struct leases *leases, uint64_t directory, const char *name, bool own)
{
	unsigned slot = slot_of(directory, name);

	atomic_store_explicit(&leases->touched[slot].any, real_now(), memory_order_relaxed);
	if (!own)
		atomic_store_explicit(&leases->touched[slot].foreign, clock_ms(), memory_order_relaxed);
}

void leases_note_missed(struct leases *leases)
{
	leases->missed = real_now();
}

static bool was_touched(struct leases *leases, uint64_t directory, const char *name)
{
	unsigned slot = slot_of(directory, name);
	int64_t at = atomic_load_explicit(&leases->touched[slot].foreign, memory_order_relaxed);

	return at != 0 && clock_ms() - at < REST_MS;
}

/* Whether somebody has changed it a moment ago: by its name, or by an event of its own. */
static bool was_changed(struct leases *leases, struct node *node)
{
	char name[PROTO_NAME_MAX + 1];
	struct node *parent;
	bool changed = was_touched(leases, nodes_id(node), "");

	if (changed || nodes_place(leases->nodes, node, &parent, name) < 0)
		return changed;
	changed = was_touched(leases, nodes_id(parent), name);
	nodes_put(leases->nodes, parent);
	return changed;
}

bool leases_others_write(struct leases *leases, struct node *node, int fd)
{
	enum nodes_others others;

	if (leases == NULL)
		return false;
	if (nodes_writes(leases->nodes, node, &others))
		return others != NODES_OTHERS_NONE;
	return nodes_note_others(leases->nodes, node, was_changed(leases, node) || ask(leases, node, fd), false);
}

bool leases_others_were(struct leases *leases, const struct node *near, int pinned)
{
	_cleanup_close_ int fd = leases == NULL ? -EBADF : resolve_reopen(pinned, O_RDONLY | O_NONBLOCK);

	return fd >= 0 && ask(leases, near, fd);
}

bool leases_write_begun(struct leases *leases, struct node *node, bool others)
{
	enum nodes_others known;

	if (leases == NULL)
		return false;
	if (nodes_write_begin(leases->nodes, node))
		return nodes_note_others(leases->nodes, node, others, true);
	(void) nodes_writes(leases->nodes, node, &known);
	return known != NODES_OTHERS_NONE;
}

/* The kernel is asked also after a change: the answer counts for as long as this session has the file open so. */
bool leases_write_begin(struct leases *leases, struct node *node, int pinned)
{
	enum nodes_others others;

	if (leases == NULL)
		return false;
	if (nodes_write_begin(leases->nodes, node))
		return nodes_note_others(leases->nodes, node, leases_others_were(leases, node, pinned), true);
	(void) nodes_writes(leases->nodes, node, &others);
	return others != NODES_OTHERS_NONE;
}

void leases_write_end(struct leases *leases, struct node *node)
{
	if (leases != NULL)
		nodes_write_end(leases->nodes, node);
}

bool leases_has_contents(struct leases *leases, struct node *node)
{
	return leases != NULL && !atomic_load_explicit(&leases->behind, memory_order_relaxed) &&
	       nodes_has_watch(node) && nodes_nobody_writes(leases->nodes, node);
}

void leases_look_soon(struct leases *leases)
{
	if (!atomic_load_explicit(&leases->any_open, memory_order_relaxed) && !atomic_exchange(&leases->any_open, true))
		(void) eventfd_write(leases->wake, 1);
}

void leases_opened(struct leases *leases, struct handle *handle, const struct proto_time *mtime)
{
	if (leases == NULL)
		return;
	atomic_store(&handle->mtime, nanoseconds(mtime->seconds, mtime->nanoseconds));
	if (!leases_has_contents(leases, handle->node))
		leases_look_soon(leases);
}

bool leases_opened_by_others(struct leases *leases, uint64_t id)
{
	struct handle *reader = NULL;
	enum nodes_others others;
	struct node *node;
	bool lost = false;

	if (nodes_get(leases->nodes, id, &node) < 0)
		return false;
	reader = nodes_reader(leases->nodes, node);
	/* It may be about to be opened by the guest, which then finds that this is not known any more. */
	if (reader == NULL)
		nodes_ask_again(leases->nodes, node);
	/* The guest was told of that change, and may keep no handle so soon after it. */
	else if (was_changed(leases, node))
		nodes_ask_again(leases->nodes, node);
	/* While the session writes itself, the kernel cannot be asked. */
	else
		lost = nodes_writes(leases->nodes, node, &others) ||
		       nodes_note_others(leases->nodes, node, ask(leases, node, reader->fd), false);
	nodes_handle_put(leases->nodes, reader);
	if (!leases_has_contents(leases, node))
		leases_look_soon(leases);
	nodes_put(leases->nodes, node);
	return lost;
}

/* When the last event of the file was read. False: not all of its changes come as events. */
static bool last_event(struct leases *leases, struct node *node, int64_t *ret_at)
{
	char name[PROTO_NAME_MAX + 1];
	struct node *directory;

	if (nodes_watched_name(leases->nodes, node, &directory, name) < 0)
		return false;
	*ret_at = atomic_load(&leases->touched[slot_of(nodes_id(directory), name)].any);
	if (*ret_at < leases->missed)
		*ret_at = leases->missed;
	nodes_put(leases->nodes, directory);
	return true;
}

static void suspect(struct leases *leases, struct handle *handle, int64_t since)
{
	handle->suspect = since;
	(void) nodes_note_others(leases->nodes, handle->node, since != 0, true);
}

/*
 * While the session writes itself, the kernel cannot be asked. But the first store into a page sets the file's time,
 * and every other change of that is told by an event, which is younger: a time that is younger than the last event
 * means a store, and who stores once may go on. An event that comes later ends that: it was a write(2) that had only
 * begun, or the mapping has ended.
 */
static bool is_stored_into(struct leases *leases, struct handle *handle)
{
	int64_t before = atomic_load(&handle->mtime), mtime, event;
	struct stat st;

	if (before == 0 || fstat(handle->fd, &st) < 0 || st.st_nlink != 1 || !last_event(leases, handle->node, &event))
		return false;
	mtime = nanoseconds(st.st_mtim.tv_sec, st.st_mtim.tv_nsec);
	if (handle->suspect != 0) {
		if (event > handle->suspect) {
			atomic_store(&handle->mtime, mtime);
			suspect(leases, handle, 0);
		}
		return true;
	}
	if (mtime == before)
		return false;
	atomic_store(&handle->mtime, mtime);
	if (event >= mtime)
		return false;
	suspect(leases, handle, real_now());
	return true;
}

/* Whether its contents do not hold: others write to it, or did so until now. */
static bool is_lost(struct leases *leases, struct handle *handle)
{
	struct node *node = handle->node;
	enum nodes_others before;

	if (nodes_writes(leases->nodes, node, &before))
		return (before == NODES_OTHERS_WRITE && handle->suspect == 0) || is_stored_into(leases, handle);
	handle->suspect = 0;
	return nodes_note_others(leases->nodes, node, was_changed(leases, node) || ask(leases, node, handle->fd),
	                         false) ||
	       before == NODES_OTHERS_WRITE;
}

/* If not, the next file that is opened wakes the thread. */
static bool is_any_open(struct leases *leases)
{
	struct handle *handle;
	uint32_t place = 0;
	bool any;

	atomic_store(&leases->any_open, false);
	do {
		handle = nodes_next_open_file(leases->nodes, &place);
		any = handle != NULL && !leases_has_contents(leases, handle->node);
		nodes_handle_put(leases->nodes, handle);
	} while (handle != NULL && !any);
	if (any)
		atomic_store(&leases->any_open, true);
	return any;
}

int leases_look_at_open(struct leases *leases, void (*lost)(struct leases *leases, uint64_t id))
{
	int64_t now = clock_ms();
	struct handle *handle = NULL;

	if (!atomic_load(&leases->any_open))
		return -1;
	if (leases->look_at == 0)
		leases->look_at = now + LOOK_MS;
	if (now < leases->look_at)
		return (int) (leases->look_at - now);
	for (int i = 0; i < LOOK_AT_ONCE; i++) {
		handle = nodes_next_open_file(leases->nodes, &leases->look_place);
		if (handle == NULL)
			break;
		if (!leases_has_contents(leases, handle->node) && is_lost(leases, handle))
			lost(leases, nodes_id(handle->node));
		nodes_handle_put(leases->nodes, handle);
	}
	if (handle != NULL)
		return 0;
	leases->look_place = 0;
	leases->look_at = is_any_open(leases) ? now + LOOK_MS : 0;
	return leases->look_at == 0 ? -1 : LOOK_MS;
}
