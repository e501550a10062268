/* SPDX-License-Identifier: Apache-2.0 */
/* What the guest was told of files, and whether it still holds. */
#include "fileserver/worker/nodes/stamps.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <string.h>

#include "fileserver/common/resolve.h"
#include "fileserver/worker/nodes/fds.h"
#include "fileserver/worker/nodes/table.h"
#include "fileserver/worker/nodes/ways.h"
#include "protocol/cleanup.h"

enum {
	FILES = 32,  /* looked at in one go */
	SLOTS = 512, /* of the table that are read under its lock in one go: some 50 us */
	OWN = 1,     /* stamp of a file that the session has changed itself */
};

static uint32_t stamp_of(const struct statx *stx)
{
	const struct {
		int64_t changed, written;
		uint64_t size;
		uint32_t changed_ns, written_ns, links, mode;
	} told = { .changed = stx->stx_ctime.tv_sec,
		   .written = stx->stx_mtime.tv_sec,
		   .size = stx->stx_size,
		   .changed_ns = stx->stx_ctime.tv_nsec,
		   .written_ns = stx->stx_mtime.tv_nsec,
		   .links = stx->stx_nlink,
		   .mode = stx->stx_mode };
	uint32_t stamp = (uint32_t) XXH3_64bits(&told, sizeof(told));

	return stamp <= OWN ? OWN + 1 : stamp;
}

void stamps_keep(struct node *node, const struct statx *stx)
{
	atomic_store_explicit(&node->stamp, stamp_of(stx), memory_order_relaxed);
}

uint32_t stamps_of(const struct node *node)
{
	return atomic_load_explicit(&node->stamp, memory_order_relaxed);
}

void stamps_drop(struct node *node, uint32_t stamp)
{
	if (stamp != 0)
		(void) atomic_compare_exchange_strong(&node->stamp, &stamp, 0);
}

void stamps_own(struct node *node, uint32_t before)
{
	if (before != 0)
		(void) atomic_compare_exchange_strong(&node->stamp, &before, OWN);
}

void stamps_renamed(struct node *node, const struct statx *before, const struct statx *after)
{
	uint32_t stamp = stamp_of(before);
	struct statx expected = *before;

	expected.stx_ctime = after->stx_ctime;
	if (stamp_of(&expected) == stamp_of(after))
		(void) atomic_compare_exchange_strong(&node->stamp, &stamp, stamp_of(after));
}

bool stamps_are_of(const struct node *node, const struct statx *stx)
{
	return stamps_of(node) == stamp_of(stx);
}

bool stamps_differ(struct node *node, const struct statx *stx)
{
	uint32_t stamp = stamps_of(node);
	bool differ = stamp > OWN && stamp_of(stx) != stamp;

	if (differ)
		stamps_drop(node, stamp);
	return differ;
}

void stamps_leave(struct node *directory, const struct statx *stx)
{
	atomic_store_explicit(&directory->left, stamp_of(stx), memory_order_relaxed);
}

bool stamps_are_left(const struct node *directory, const struct statx *stx)
{
	return atomic_load_explicit(&directory->left, memory_order_relaxed) == stamp_of(stx);
}

/* Files of one directory. */
struct batch {
	struct node *directory; /* pinned; NULL: there is none */
	struct way way;         /* to the directory, unless that is the root */
	unsigned count;
	struct {
		struct node *node; /* pinned */
		uint32_t stamp;
		char name[PROTO_NAME_MAX + 1];
	} files[FILES];
};

static void add(struct batch *batch, struct node *node, uint32_t stamp)
{
	node->pins++;
	batch->files[batch->count].node = node;
	batch->files[batch->count].stamp = stamp;
	memcpy(batch->files[batch->count].name, node->place->name, strlen(node->place->name) + 1);
	batch->count++;
}

static bool gather(struct nodes *nodes, uint32_t *cursor, struct batch *batch) LOCK_HELD(nodes->lock);
/* The next files with a stamp, as long as they are of one directory. False: the table ends here. */
static bool gather(struct nodes *nodes, uint32_t *cursor, struct batch *batch)
{
	for (unsigned looked = 0; *cursor < nodes->slots.used && looked < SLOTS; looked++, (*cursor)++) {
		struct node *node = nodes->slots.slots[*cursor].object;
		uint32_t stamp = node == NULL ? 0 : stamps_of(node);

		/* Without a reference the guest keeps nothing; without a name nobody but the guest has the file. */
		if (stamp == 0 || node->lookups == 0 || node->place == NULL)
			continue;
		if (batch->count == FILES || (batch->directory != NULL && batch->directory != node->place->parent))
			return true;
		if (batch->directory == NULL) {
			batch->directory = node->place->parent;
			batch->directory->pins++;
			if (batch->directory != nodes->root && batch->directory->place != NULL)
				ways_find(nodes, batch->directory->place, &batch->way);
		}
		add(batch, node, stamp);
	}
	return *cursor < nodes->slots.used;
}

/* A descriptor of the directory that is not the table's, or a negative errno. */
static int open_directory(struct nodes *nodes, const struct batch *batch)
{
	_cleanup_close_ int fd = -EBADF;
	struct node_fd from;
	struct statx stx;
	int r = nodes_fd_in_place(nodes, batch->way.from == NULL ? nodes->root : batch->way.from, &from);

	if (r < 0)
		return r;
	fd = resolve_pin(from.fd, batch->way.from == NULL ? "." : batch->way.path);
	nodes_fd_done(nodes, &from);
	if (fd < 0)
		return fd;
	if (statx(fd, "", AT_EMPTY_PATH | AT_NO_AUTOMOUNT, NODES_STATX, &stx) < 0)
		return -errno;
	return nodes_same(nodes, batch->directory, &stx) ? TAKE_FD(fd) : -ESTALE;
}

/* Whether the file is as told; one that the session has changed itself is told as it is now. */
static bool is_as_told(struct nodes *nodes, int directory, struct node *node, uint32_t stamp, const char *name)
{
	struct statx stx;

	if (directory < 0 || statx(directory, name, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT, NODES_STATX, &stx) < 0 ||
	    !nodes_same(nodes, node, &stx))
		return false;
	if (stamp == OWN) {
		(void) atomic_compare_exchange_strong(&node->stamp, &stamp, stamp_of(&stx));
		return true;
	}
	return stamp_of(&stx) == stamp;
}

bool stamps_look_again(struct nodes *nodes, uint32_t *cursor, stamps_changed *changed, void *context)
{
	struct batch batch = { .count = 0 };
	_cleanup_close_ int directory = -EBADF;
	bool more;

	nodes_lock(nodes);
	more = gather(nodes, cursor, &batch);
	nodes_unlock(nodes);
	if (batch.directory != NULL)
		directory = open_directory(nodes, &batch);
	for (unsigned i = 0; i < batch.count; i++) {
		struct node *node = batch.files[i].node;
		uint32_t stamp = batch.files[i].stamp;

		/* What the guest was told anew meanwhile has a stamp of its own. */
		if (!is_as_told(nodes, directory, node, stamp, batch.files[i].name) && stamps_of(node) == stamp) {
			stamps_drop(node, stamp);
			changed(context, node);
		}
		nodes_put(nodes, node);
	}
	if (batch.way.from != NULL)
		nodes_put(nodes, batch.way.from);
	if (batch.directory != NULL)
		nodes_put(nodes, batch.directory);
	return more;
}
