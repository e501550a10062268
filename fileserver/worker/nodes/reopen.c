/* SPDX-License-Identifier: Apache-2.0 */
/* Reopens nodes that have no descriptor. */
#include "fileserver/worker/nodes/reopen.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "fileserver/common/resolve.h"
#include "fileserver/worker/nodes/fds.h"
#include "fileserver/worker/nodes/places.h"
#include "fileserver/worker/nodes/search.h"
#include "fileserver/worker/nodes/table.h"
#include "protocol/cleanup.h"
#include "protocol/clock.h"
#include "protocol/faults.h"

/* A chain of ancestors without descriptors is reopened from the top. A deeper one than this is refused. */
enum { DEPTH_MAX = 4096 };

/* Limits of the search for a directory that has left its place. */
enum { SEARCH_ENTRIES = 20000, SEARCH_DEPTH = 24 };

enum { NAMES_MOVE_MS = 2000 };

static bool borrow(struct nodes *nodes, struct node *node, struct node_fd *ret_fd) LOCK_HELD(nodes->lock);
/* Returns a descriptor that the node has already, or false. */
static bool borrow(struct nodes *nodes, struct node *node, struct node_fd *ret_fd)
{
	*ret_fd = (struct node_fd){ .fd = -EBADF, .node = node };
	if (node->fd >= 0) {
		fds_unlist(nodes, node);
		node->fd_users++;
		ret_fd->fd = node->fd;
	} else if (node->handles != NULL) {
		node->handles->users++;
		ret_fd->handle = node->handles;
		ret_fd->fd = node->handles->fd;
	} else {
		return false;
	}
	node->pins++;
	return true;
}

void nodes_fd_done(struct nodes *nodes, struct node_fd *fd)
{
	struct node *node = fd->node;

	if (fd->fd < 0)
		return;
	fd->fd = -EBADF;
	if (fd->handle != NULL) {
		nodes_handle_put(nodes, fd->handle);
		nodes_put(nodes, node);
		return;
	}
	nodes_lock(nodes);
	assert(node->fd_users > 0);
	if (--node->fd_users == 0 && node != nodes->root) {
		fds_list(nodes, node);
		if (nodes->descriptors > nodes->descriptors_max)
			(void) fds_make_room(nodes, false);
	}
	node->pins--;
	nodes_release(nodes, node);
	nodes_unlock(nodes);
}

void reopen_name_moved(struct nodes *nodes)
{
	atomic_store_explicit(&nodes->stale_at, clock_coarse_ms(), memory_order_relaxed);
}

bool nodes_names_move(const struct nodes *nodes)
{
	int64_t stale = atomic_load_explicit(&nodes->stale_at, memory_order_relaxed);

	return stale != INT64_MIN && clock_coarse_ms() - stale < NAMES_MOVE_MS;
}

struct wanted {
	struct nodes *nodes;
	const struct node *node;
};

static bool is_node(const void *context, const struct statx *stx)
{
	const struct wanted *wanted = context;

	return nodes_same(wanted->nodes, wanted->node, stx);
}

static void give(struct nodes *nodes, struct node *node, int fd, struct node_fd *ret_fd) LOCK_HELD(nodes->lock);
/* The node gets the descriptor, and is using it: where the budget is spent, it would lose it again at once. */
static void give(struct nodes *nodes, struct node *node, int fd, struct node_fd *ret_fd)
{
	fds_give(nodes, node, fd);
	(void) borrow(nodes, node, ret_fd);
}

/* Searches for a directory that the host has moved: in the directory above, or anywhere beneath it. */
static int find_again(struct nodes *nodes, struct node *node, const struct node_fd *above, int depth,
                      struct node_fd *ret_fd)
{
	const struct wanted wanted = { .nodes = nodes, .node = node };
	struct search search = { .ino = node->key.ino, .is = is_node, .context = &wanted, .left = SEARCH_ENTRIES };
	int fd;

	if (!S_ISDIR(node->type) || node->orphan) {
		reopen_name_moved(nodes);
		return -ESTALE;
	}
	fd = search_below(&search, above->fd, depth);
	if (fd < 0)
		return -ESTALE;
	nodes_lock(nodes);
	/* Without memory the next caller searches again. */
	if (depth == 0 && places_parent(node) != NULL)
		(void) places_note(nodes, node, places_parent(node), search.name);
	give(nodes, node, fd, ret_fd);
	nodes_unlock(nodes);
	return 0;
}

/*
 * Reopens node from its parent, which has a descriptor. The table is not locked during the system calls, since they can
 * block for ever; if the guest renames the node meanwhile, it is tried again.
 */
static int reopen_below(struct nodes *nodes, struct node *node, struct node_fd *parent, bool search,
                        struct node_fd *ret_fd)
{
	char name[PROTO_NAME_MAX + 1];
	struct statx stx;
	int fd;

	for (int tries = 0; tries < 8; tries++) {
		const struct place *place;
		bool same, moved;

		nodes_lock(nodes);
		place = node->place;
		moved = place == NULL || place->parent != parent->node;
		if (!moved)
			memcpy(name, place->name, strlen(place->name) + 1);
		nodes_unlock(nodes);
		if (moved)
			return -EAGAIN;
		fd = nodes->pin == NULL ? resolve_pin(parent->fd, name)
		                        : nodes->pin(nodes->pin_context, parent->fd, name);
		if (fd == -ENOENT || fd == -ENOTDIR || fd == -ELOOP)
			fd = -ESTALE;
		if (fd >= 0 && FAULT(WORKER_STAT, statx(fd, "", AT_EMPTY_PATH, NODES_STATX, &stx)) < 0) {
			int r = -errno;

			close_fd(fd);
			fd = r;
		}
		if (fd < 0 && fd != -ESTALE)
			return fd;
		if (fd >= 0)
			devices_meet(&nodes->devices, &stx, fd, NULL);
		nodes_lock(nodes);
		same = fd >= 0 && nodes_same(nodes, node, &stx);
		place = node->place;
		moved = place == NULL || place->parent != parent->node || strcmp(name, place->name) != 0;
		if (same)
			give(nodes, node, fd, ret_fd);
		nodes_unlock(nodes);
		if (same)
			return 0;
		close_fd(fd);
		if (!moved)
			return search ? find_again(nodes, node, parent, 0, ret_fd) : -ESTALE;
	}
	return -ESTALE;
}

/* The nearest ancestor (or node itself) that has a descriptor. *ret_below: the node beneath it on the path to node. */
static int nearest(struct nodes *nodes, struct node *node, struct node_fd *ret_fd, struct node **ret_below)
{
	struct node *below = NULL, *at = node;
	int r = -ESTALE;

	nodes_lock(nodes);
	for (int depth = 0; at != NULL && depth < DEPTH_MAX; depth++, below = at, at = places_parent(at)) {
		if (borrow(nodes, at, ret_fd)) {
			r = 0;
			break;
		}
	}
	if (r == 0 && below != NULL)
		below->pins++;
	nodes_unlock(nodes);
	*ret_below = r == 0 ? below : NULL;
	return r;
}

static int get_fd(struct nodes *nodes, struct node *node, struct node_fd *ret_fd, bool search)
{
	/* What was reopened last: it keeps its descriptor until the next one is reopened from it. */
	struct node_fd opened = { .fd = -EBADF };

	/* Each round reopens the node one level further down, unless the guest renames one of them meanwhile. */
	for (int rounds = 0; rounds < 4 * DEPTH_MAX; rounds++) {
		struct node_fd above;
		struct node *below;
		int r = nearest(nodes, node, &above, &below);

		nodes_fd_done(nodes, &opened);
		if (r < 0)
			return r;
		if (below == NULL) {
			*ret_fd = above;
			return 0;
		}
		r = reopen_below(nodes, below, &above, search, &opened);
		nodes_fd_done(nodes, &above);
		nodes_put(nodes, below);
		if (r == -ESTALE && search)
			r = find_again(nodes, node, &(struct node_fd){ .fd = nodes->root->fd }, SEARCH_DEPTH, &opened);
		if (r < 0 && r != -EAGAIN)
			return r;
	}
	nodes_fd_done(nodes, &opened);
	return -ESTALE;
}

int nodes_fd(struct nodes *nodes, struct node *node, struct node_fd *ret_fd)
{
	return get_fd(nodes, node, ret_fd, true);
}

int nodes_fd_in_place(struct nodes *nodes, struct node *node, struct node_fd *ret_fd)
{
	return get_fd(nodes, node, ret_fd, false);
}
