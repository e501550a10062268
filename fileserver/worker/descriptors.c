/* SPDX-License-Identifier: Apache-2.0 */
/* Descriptors of nodes and handles within the budget: who keeps one, who loses it, how it comes back. */
#include "fileserver/worker/nodes-internal.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "fileserver/common/resolve.h"
#include "fileserver/worker/search.h"
#include "protocol/cleanup.h"
#include "protocol/faults.h"

uint64_t nodes_hash_seed;

/* A chain of ancestors without descriptors is reopened from the top; a deeper one than this is refused. */
enum { DEPTH_MAX = 4096 };

/* How far a directory is looked for that has left its place. */
enum { SEARCH_ENTRIES = 20000, SEARCH_DEPTH = 24 };

/* A descriptor that nobody has used for two to three seconds is closed. */
enum { TICK_MS = 1000, UNUSED_ROUNDS = 3 };

static void show_counts(struct nodes *nodes)
{
	if (nodes->counters == NULL)
		return;
	atomic_store_explicit(&nodes->counters->descriptors, nodes->descriptors, memory_order_relaxed);
	atomic_store_explicit(&nodes->counters->handles, nodes->open_handles, memory_order_relaxed);
}

static struct descriptor_list *list_of(struct nodes *nodes, const struct node *node)
{
	if (node->orphan)
		return &nodes->lists[2];
	return node->was_opened && !S_ISDIR(node->type) ? &nodes->lists[1] : &nodes->lists[0];
}

static void list_remove(struct nodes *nodes, struct node *node)
{
	struct descriptor_list *list = list_of(nodes, node);

	if (!node->listed)
		return;
	*(node->newer == NULL ? &list->newest : &node->newer->older) = node->older;
	*(node->older == NULL ? &list->oldest : &node->older->newer) = node->newer;
	node->newer = node->older = NULL;
	node->listed = false;
}

static void set_timer(struct nodes *nodes, int ms)
{
	struct timespec interval = { .tv_sec = ms / 1000, .tv_nsec = (long) (ms % 1000) * 1000000 };
	struct itimerspec when = { .it_interval = interval, .it_value = interval };

	nodes->ticking = ms > 0;
	(void) timerfd_settime(nodes->timer, 0, &when, NULL);
}

static void list_add(struct nodes *nodes, struct node *node)
{
	struct descriptor_list *list = list_of(nodes, node);

	assert(!node->listed && node->fd >= 0);
	node->older = list->newest;
	node->newer = NULL;
	*(list->newest == NULL ? &list->oldest : &list->newest->newer) = node;
	list->newest = node;
	node->listed = true;
	node->used = nodes->round;
	if (!nodes->ticking && !node->orphan)
		set_timer(nodes, TICK_MS);
}

void descriptors_drop(struct nodes *nodes, struct node *node)
{
	if (node->fd < 0 || node == nodes->root)
		return;
	list_remove(nodes, node);
	nodes_close_later(nodes, node->fd);
	node->fd = -EBADF;
	nodes->descriptors--;
	show_counts(nodes);
}

int nodes_timer(const struct nodes *nodes)
{
	return nodes->timer;
}

/* With the lock held. True: there are more to close than could be noted. */
static bool give_up_unused(struct nodes *nodes, struct descriptor_list *list)
{
	while (list->oldest != NULL && nodes->round - list->oldest->used >= UNUSED_ROUNDS) {
		if (nodes->closing_count == CLOSING_MAX)
			return true;
		descriptors_drop(nodes, list->oldest);
	}
	return false;
}

void nodes_tick(struct nodes *nodes)
{
	uint64_t times;
	bool more;

	(void) !read(nodes->timer, &times, sizeof(times));
	nodes_lock(nodes);
	nodes->round++;
	nodes_unlock(nodes);
	do {
		nodes_lock(nodes);
		more = give_up_unused(nodes, &nodes->lists[0]) || give_up_unused(nodes, &nodes->lists[1]);
		if (nodes->lists[0].oldest == NULL && nodes->lists[1].oldest == NULL)
			set_timer(nodes, 0);
		nodes_unlock(nodes);
	} while (more);
}

/* Closes the least used descriptors until one more fits; false when all are in use. */
static bool make_room(struct nodes *nodes)
{
	while (nodes->descriptors >= nodes->descriptors_max) {
		struct node *victim = NULL;

		for (size_t i = 0; victim == NULL && i < ARRAY_SIZE(nodes->lists); i++)
			victim = nodes->lists[i].oldest;
		if (victim == NULL)
			return false;
		descriptors_drop(nodes, victim);
	}
	return true;
}

void descriptors_give(struct nodes *nodes, struct node *node, int fd)
{
	if (node->fd >= 0) {
		close_fd(fd);
		return;
	}
	/* When all of the budget is in use, an operation may still have its own few: they go with it. */
	(void) make_room(nodes);
	node->fd = fd;
	nodes->descriptors++;
	if (node->fd_users == 0)
		list_add(nodes, node);
	show_counts(nodes);
}

void descriptors_orphan(struct nodes *nodes, struct node *node, int fd)
{
	if (node == nodes->root) {
		close_fd(fd);
		return;
	}
	list_remove(nodes, node);
	if (!node->orphan)
		nodes->orphans++;
	node->orphan = true;
	if (fd >= 0)
		descriptors_give(nodes, node, fd);
	if (node->fd >= 0 && node->fd_users == 0 && !node->listed)
		list_add(nodes, node);
}

void descriptors_named(struct nodes *nodes, struct node *node)
{
	bool listed = node->listed;

	if (!node->orphan)
		return;
	list_remove(nodes, node);
	node->orphan = false;
	nodes->orphans--;
	if (listed)
		list_add(nodes, node);
}

/* With the lock held: a descriptor that is there, or false. */
static bool borrow(struct nodes *nodes, struct node *node, struct node_fd *ret_fd)
{
	*ret_fd = (struct node_fd){ .fd = -EBADF, .node = node };
	if (node->fd >= 0) {
		list_remove(nodes, node);
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
		list_add(nodes, node);
		if (nodes->descriptors > nodes->descriptors_max)
			(void) make_room(nodes);
	}
	node->pins--;
	nodes_release(nodes, node);
	nodes_unlock(nodes);
}

enum { NAMES_MOVE_MS = 2000 };

static int64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
	return (int64_t) now.tv_sec * 1000 + now.tv_nsec / 1000000 + NAMES_MOVE_MS; /* never 0 */
}

void descriptors_name_moved(struct nodes *nodes)
{
	atomic_store_explicit(&nodes->stale_at, now_ms(), memory_order_relaxed);
}

bool nodes_names_move(const struct nodes *nodes)
{
	int64_t stale = atomic_load_explicit(&nodes->stale_at, memory_order_relaxed);

	return stale != 0 && now_ms() - stale < NAMES_MOVE_MS;
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

/* A directory that is not at its place any more, by the host's doing: beside it, or anywhere beneath above. */
static int find_again(struct nodes *nodes, struct node *node, const struct node_fd *above, int depth)
{
	const struct wanted wanted = { .nodes = nodes, .node = node };
	struct search search = { .ino = node->key.ino, .is = is_node, .context = &wanted, .left = SEARCH_ENTRIES };
	int fd;

	if (!S_ISDIR(node->type) || node->orphan) {
		descriptors_name_moved(nodes);
		return -ESTALE;
	}
	fd = search_below(&search, above->fd, depth);
	if (fd < 0)
		return -ESTALE;
	nodes_lock(nodes);
	/* Without memory it is looked for again the next time. */
	if (depth == 0 && places_parent(node) != NULL)
		(void) places_note(nodes, node, places_parent(node), search.name);
	descriptors_give(nodes, node, fd);
	nodes_unlock(nodes);
	return 0;
}

/*
 * One step down: node's parent has a descriptor. The table is not locked while the host is asked, since that can take
 * for ever; what was renamed by the guest meanwhile is tried again.
 */
static int reopen_below(struct nodes *nodes, struct node *node, struct node_fd *parent)
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
			descriptors_give(nodes, node, fd);
		nodes_unlock(nodes);
		if (same)
			return 0;
		close_fd(fd);
		if (!moved)
			return find_again(nodes, node, parent, 0);
	}
	return -ESTALE;
}

/* The nearest ancestor (or node itself) that has a descriptor; *ret_below: the node under it on the way to node. */
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

int nodes_fd(struct nodes *nodes, struct node *node, struct node_fd *ret_fd)
{
	/* Each round brings a descriptor one step nearer, unless others take it away again. */
	for (int rounds = 0; rounds < 4 * DEPTH_MAX; rounds++) {
		struct node_fd above;
		struct node *below;
		int r = nearest(nodes, node, &above, &below);

		if (r < 0)
			return r;
		if (below == NULL) {
			*ret_fd = above;
			return 0;
		}
		r = reopen_below(nodes, below, &above);
		nodes_fd_done(nodes, &above);
		nodes_put(nodes, below);
		if (r == -ESTALE)
			r = find_again(nodes, node, &(struct node_fd){ .fd = nodes->root->fd }, SEARCH_DEPTH);
		if (r < 0 && r != -EAGAIN)
			return r;
	}
	return -ESTALE;
}

/* With the lock held. */
static int handle_slot_take(struct nodes *nodes, struct handle *handle)
{
	uint32_t slot = nodes->free_handle;

	if (slot == SLOT_NONE) {
		if (nodes->handles_used == nodes->handles_size) {
			uint32_t size = nodes->handles_size == 0 ? 64 : nodes->handles_size * 2;
			struct handle_slot *slots =
			        FAULT_NULL(WORKER_HANDLE_SLOTS, realloc(nodes->handles, size * sizeof(*slots)));

			if (slots == NULL)
				return -ENOMEM;
			nodes->handles = slots;
			nodes->handles_size = size;
		}
		slot = nodes->handles_used++;
		nodes->handles[slot] = (struct handle_slot){ .generation = 1 };
	} else {
		nodes->free_handle = nodes->handles[slot].next_free;
	}
	nodes->handles[slot].handle = handle;
	handle->slot = slot;
	return 0;
}

int nodes_open(struct nodes *nodes, struct node *node, int fd, bool directory, bool readable, bool writable,
               uint64_t *ret_id, struct handle **ret_handle)
{
	struct handle *handle = FAULT_NULL(WORKER_HANDLE, calloc(1, sizeof(*handle)));
	int r = handle == NULL ? -ENOMEM : 0;

	nodes_lock(nodes);
	if (r == 0 && !make_room(nodes))
		r = -ENFILE;
	if (r == 0)
		r = handle_slot_take(nodes, handle);
	if (r == 0) {
		handle->fd = fd;
		handle->node = node;
		handle->directory = directory;
		handle->readable = readable;
		handle->writable = writable;
		handle->users = 1;
		pthread_mutex_init(&handle->lock, NULL);
		handle->next_of_node = node->handles;
		node->handles = handle;
		list_remove(nodes, node);
		node->was_opened = true;
		if (node->fd >= 0 && node->fd_users == 0 && node != nodes->root)
			list_add(nodes, node);
		nodes->descriptors++;
		nodes->open_handles++;
		*ret_id = PROTO_ID(nodes->handles[handle->slot].generation, handle->slot);
		*ret_handle = handle;
		show_counts(nodes);
	}
	nodes_unlock(nodes);
	if (r < 0)
		free(handle);
	return r;
}

int nodes_handle(struct nodes *nodes, uint64_t id, struct handle **ret_handle)
{
	uint32_t slot = PROTO_ID_SLOT(id);
	struct handle *handle = NULL;

	nodes_lock(nodes);
	if (slot < nodes->handles_used && nodes->handles[slot].generation == PROTO_ID_GENERATION(id))
		handle = nodes->handles[slot].handle;
	if (handle != NULL)
		handle->users++;
	nodes_unlock(nodes);
	if (handle == NULL)
		return -EBADF;
	*ret_handle = handle;
	return 0;
}

/* With the lock held: the handle leaves the table. Returns the descriptor to close. */
static int handle_end(struct nodes *nodes, struct handle *handle)
{
	struct handle **link = &handle->node->handles;
	int fd = handle->fd;

	while (*link != handle)
		link = &(*link)->next_of_node;
	*link = handle->next_of_node;
	nodes->descriptors--;
	nodes->open_handles--;
	show_counts(nodes);
	nodes_release(nodes, handle->node);
	pthread_mutex_destroy(&handle->lock);
	free(handle);
	return fd;
}

void nodes_handle_put(struct nodes *nodes, struct handle *handle)
{
	int fd = -EBADF;

	if (handle == NULL)
		return;
	nodes_lock(nodes);
	assert(handle->users > 0);
	if (--handle->users == 0 && handle->closed)
		fd = handle_end(nodes, handle);
	nodes_unlock(nodes);
	close_fd(fd); /* may wait for the host's file system: never under the lock */
}

void nodes_close(struct nodes *nodes, struct handle *handle)
{
	nodes_lock(nodes);
	if (!handle->closed) {
		struct handle_slot *slot = &nodes->handles[handle->slot];

		handle->closed = true;
		slot->handle = NULL;
		if (++slot->generation == 0)
			slot->generation = 1;
		slot->next_free = nodes->free_handle;
		nodes->free_handle = handle->slot;
	}
	nodes_unlock(nodes);
}

void descriptors_free_handles(struct nodes *nodes)
{
	for (uint32_t i = 0; i < nodes->handles_used; i++) {
		struct handle *handle = nodes->handles[i].handle;

		if (handle == NULL)
			continue;
		close_fd(handle->fd);
		pthread_mutex_destroy(&handle->lock);
		free(handle);
	}
	free(nodes->handles);
}
