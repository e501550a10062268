/* SPDX-License-Identifier: Apache-2.0 */
/* The objects that a session knows: identity, names, references. */
#include "fileserver/worker/nodes/fds.h"
#include "fileserver/worker/nodes/ids.h"
#include "fileserver/worker/nodes/places.h"
#include "fileserver/worker/nodes/table.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "fileserver/common/resolve.h"
#include "fileserver/worker/nodes/view.h"
#include "protocol/cleanup.h"
#include "protocol/faults.h"

uint64_t nodes_hash_seed;

bool nodes_same(struct nodes *nodes, const struct node *node, const struct statx *stx)
{
	struct node_key key;

	identity_key(&nodes->devices, stx, &key);
	return memcmp(&key, &node->key, sizeof(key)) == 0;
}

static struct node *find(struct nodes *nodes, const struct statx *stx) LOCK_HELD(nodes->lock);
static struct node *find(struct nodes *nodes, const struct statx *stx)
{
	struct node_key key;
	struct node *node = NULL;

	identity_key(&nodes->devices, stx, &key);
	HASH_FIND(hh, nodes->by_identity, &key, sizeof(key), node);
	return node;
}

static void show_count(struct nodes *nodes) LOCK_HELD(nodes->lock);
static void show_count(struct nodes *nodes)
{
	if (nodes->counters != NULL)
		atomic_store_explicit(&nodes->counters->nodes, nodes->count, memory_order_relaxed);
}

static struct node *node_remove(struct nodes *nodes, struct node *node) LOCK_HELD(nodes->lock);
/* Removes the node from the table. Returns its directory, which may now be unused. */
static struct node *node_remove(struct nodes *nodes, struct node *node)
{
	struct node *parent = places_parent(node);

	while (node->place != NULL && node->place->next != NULL)
		places_drop(nodes, node, node->place->next->parent, node->place->next->name);
	if (nodes->hand == node)
		nodes->hand = node->hh.prev;
	HASH_DEL(nodes->by_identity, node);
	if (atomic_load(&node->watched) && nodes->freed != NULL)
		nodes->freed(nodes->freed_context, node->id, node->fd, node->lookups > 0);
	fds_drop(nodes, node);
	nodes->orphans -= node->orphan ? 1 : 0;
	slots_give_back(&nodes->slots, node->id);
	if (parent != NULL)
		parent->children--;
	free(node->place);
	free(node->view);
	free(node);
	nodes->count--;
	return parent;
}

/* Frees a node that nobody refers to any more, then its parent if this was the last reason to keep it, and so on. */
void nodes_release(struct nodes *nodes, struct node *node)
{
	while (node != NULL && node != nodes->root && node->lookups == 0 && node->pins == 0 && node->children == 0 &&
	       node->handles == NULL)
		node = node_remove(nodes, node);
	show_count(nodes);
}

/*
 * Whether the table may forget this node without loss: the guest finds it stale the next time and looks its name up
 * again. A directory only if nothing else helps: it may be a working directory, which the guest does not look up by
 * name.
 */
static bool can_be_forgotten(const struct nodes *nodes, const struct node *node, bool directories)
{
	return node != nodes->root && node->pins == 0 && node->children == 0 && node->handles == NULL &&
	       !node->orphan && (directories || !S_ISDIR(node->type));
}

static void forget_some(struct nodes *nodes, bool directories) LOCK_HELD(nodes->lock);
/* At the limit: forgets some nodes, oldest first, going on where it stopped the last time. */
static void forget_some(struct nodes *nodes, bool directories)
{
	unsigned forgotten = 0;

	for (uint32_t looked = 0; looked < nodes->count && forgotten < FORGET_AT_ONCE; looked++) {
		struct node *node = nodes->hand == NULL ? NULL : nodes->hand->hh.next;

		if (node == NULL)
			node = nodes->by_identity;
		nodes->hand = node;
		if (!can_be_forgotten(nodes, node, directories))
			continue;
		nodes_release(nodes, node_remove(nodes, node));
		forgotten++;
	}
	show_count(nodes);
}

static bool is_full(const struct nodes *nodes)
{
	return nodes->count + nodes->more_places >= nodes->nodes_max;
}

static int node_new(struct nodes *nodes, const struct statx *stx, struct node **ret_node) LOCK_HELD(nodes->lock);
static int node_new(struct nodes *nodes, const struct statx *stx, struct node **ret_node)
{
	struct node *node;
	int r;

	if (is_full(nodes))
		forget_some(nodes, false);
	if (is_full(nodes))
		forget_some(nodes, true);
	if (is_full(nodes))
		return -ENOMEM;
	node = FAULT_NULL(WORKER_NODE, calloc(1, sizeof(*node)));
	if (node == NULL)
		return -ENOMEM;
	r = slots_take(&nodes->slots, node, &node->id);
	if (r < 0) {
		free(node);
		return r;
	}
	identity_key(&nodes->devices, stx, &node->key);
	node->fd = -EBADF;
	node->type = stx->stx_mode & S_IFMT;
	HASH_ADD(hh, nodes->by_identity, key, sizeof(node->key), node);
	nodes->count++;
	show_count(nodes);
	*ret_node = node;
	return 0;
}

int nodes_new(int root, uint32_t nodes_max, uint32_t descriptors_max, struct proto_counters *counters,
              struct nodes **ret_nodes)
{
	struct nodes *nodes;
	struct statx stx;
	int r;

	if (FAULT(WORKER_STAT, statx(root, "", AT_EMPTY_PATH, NODES_STATX, &stx)) < 0)
		return -errno;
	if (sodium_init() < 0)
		return -EIO;
	nodes = FAULT_NULL(WORKER_NODES, calloc(1, sizeof(*nodes)));
	if (nodes == NULL)
		return -ENOMEM;
	if (nodes_hash_seed == 0)
		randombytes_buf(&nodes_hash_seed, sizeof(nodes_hash_seed));
	nodes->nodes_max = nodes_max;
	nodes->descriptors_max = descriptors_max;
	nodes->counters = counters;
	nodes->stale_at = INT64_MIN;
	slots_init(&nodes->slots);
	slots_init(&nodes->handles);
	lock_init(&nodes->lock);
	devices_init(&nodes->devices);
	devices_meet(&nodes->devices, &stx, root, NULL);
	nodes->timer = FAULT(WORKER_TIMER, timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK));
	r = nodes->timer < 0 ? -errno : 0;
	nodes_lock(nodes);
	if (r == 0)
		r = node_new(nodes, &stx, &nodes->root);
	nodes_unlock(nodes);
	if (r < 0) {
		nodes_free(nodes);
		return r;
	}
	nodes->root->fd = root; /* never closed: it is in no list */
	*ret_nodes = nodes;
	return 0;
}

void nodes_set_pin(struct nodes *nodes, nodes_pin *pin, void *context)
{
	nodes->pin = pin;
	nodes->pin_context = context;
}

void nodes_set_freed(struct nodes *nodes, nodes_freed *freed, void *context)
{
	nodes->freed = freed;
	nodes->freed_context = context;
}

static void free_handles(struct nodes *nodes)
{
	for (uint32_t i = 0; i < nodes->handles.used; i++) {
		struct handle *handle = nodes->handles.slots[i].object;

		if (handle == NULL)
			continue;
		close_fd(handle->fd);
		lock_done(&handle->lock);
		free(handle);
	}
	slots_done(&nodes->handles);
}

void nodes_free(struct nodes *nodes)
{
	struct node *node, *next;

	if (nodes == NULL)
		return;
	free_handles(nodes);
	HASH_ITER (hh, nodes->by_identity, node, next) {
		HASH_DEL(nodes->by_identity, node);
		close_fd(node->fd);
		while (node->place != NULL) {
			struct place *place = node->place;

			node->place = place->next;
			free(place);
		}
		free(node->view);
		free(node);
	}
	slots_done(&nodes->slots);
	close_fd(nodes->timer);
	devices_done(&nodes->devices);
	lock_done(&nodes->lock);
	free(nodes);
}

uint64_t nodes_id(const struct node *node)
{
	return node->id;
}

uint64_t nodes_root(const struct nodes *nodes)
{
	return nodes->root->id;
}

mode_t nodes_type(const struct node *node)
{
	return node->type;
}

int nodes_parent(struct nodes *nodes, struct node *node, struct node **ret_parent)
{
	nodes_lock(nodes);
	*ret_parent = places_parent(node);
	if (*ret_parent != NULL)
		(*ret_parent)->pins++;
	nodes_unlock(nodes);
	return *ret_parent == NULL ? -ESTALE : 0;
}

void nodes_set_watched(struct node *node, bool watched)
{
	atomic_store(&node->watched, watched);
}

bool nodes_has_watch(const struct node *node)
{
	return atomic_load(&node->watched);
}

bool nodes_is_watched(struct node *node)
{
	/* Not written when it is set already: many threads look. */
	if (!atomic_load_explicit(&node->asked, memory_order_relaxed))
		atomic_store_explicit(&node->asked, true, memory_order_relaxed);
	return atomic_load(&node->watched);
}

bool nodes_is_asked(const struct node *node)
{
	return atomic_load_explicit(&node->asked, memory_order_relaxed);
}

bool nodes_was_asked(struct node *node)
{
	return atomic_exchange(&node->asked, false);
}

uint64_t nodes_device(const struct node *node)
{
	return node->key.device;
}

bool nodes_on_root_device(const struct nodes *nodes, const struct statx *stx)
{
	return nodes->root->key.device == devices_number(stx);
}

void nodes_meet(struct nodes *nodes, const struct statx *stx, int fd, const char *name)
{
	devices_meet(&nodes->devices, stx, fd, name);
}

int nodes_get(struct nodes *nodes, uint64_t id, struct node **ret_node)
{
	struct node *node;

	nodes_lock(nodes);
	node = slots_find(&nodes->slots, id);
	if (node != NULL)
		node->pins++;
	nodes_unlock(nodes);
	if (node == NULL)
		return -ESTALE;
	*ret_node = node;
	return 0;
}

void nodes_put(struct nodes *nodes, struct node *node)
{
	if (node == NULL)
		return;
	nodes_lock(nodes);
	assert(node->pins > 0);
	node->pins--;
	nodes_release(nodes, node);
	nodes_unlock(nodes);
}

int nodes_learn(struct nodes *nodes, struct node *parent, const char *name, const struct statx *stx, int pinned,
                bool reference, struct node **ret_node)
{
	struct node *node;
	int r = 0;

	nodes_lock(nodes);
	node = find(nodes, stx);
	if (node == NULL)
		r = node_new(nodes, stx, &node);
	if (r == 0) {
		node->pins++;
		r = places_note(nodes, node, parent, name);
		if (r < 0) {
			node->pins--;
			nodes_release(nodes, node);
		}
	}
	if (r == 0) {
		if (parent != NULL)
			fds_named(nodes, node);
		if (reference)
			node->lookups++;
		if (pinned >= 0)
			fds_give(nodes, node, pinned);
		*ret_node = node;
	}
	nodes_unlock(nodes);
	return r;
}

uint64_t nodes_find(struct nodes *nodes, const struct statx *stx)
{
	struct node *node;
	uint64_t id;

	nodes_lock(nodes);
	node = find(nodes, stx);
	id = node == NULL ? 0 : node->id;
	nodes_unlock(nodes);
	return id;
}

bool nodes_needs_pin(struct nodes *nodes, const struct statx *stx)
{
	struct node *node;
	bool needs;

	nodes_lock(nodes);
	node = find(nodes, stx);
	needs = node != NULL && node->fd < 0;
	nodes_unlock(nodes);
	return needs;
}

void nodes_orphan(struct nodes *nodes, const struct statx *stx, const struct node *parent, const char *name, int pinned)
{
	struct node *node;

	nodes_lock(nodes);
	node = find(nodes, stx);
	if (node != NULL) {
		/* Pinned before its places change: a node without a place and without a reference is freed. */
		node->pins++;
		if (S_ISDIR(node->type) || stx->stx_nlink <= 1 || parent == NULL)
			places_drop_all(nodes, node);
		else
			places_drop(nodes, node, parent, name);
		if (node->place == NULL)
			fds_orphan(nodes, node, pinned);
		else if (pinned >= 0)
			fds_give(nodes, node, pinned);
		node->pins--;
		nodes_release(nodes, node);
	}
	nodes_unlock(nodes);
	if (node == NULL)
		close_fd(pinned);
}

static uint32_t count_orphans(struct nodes *nodes)
{
	uint32_t count;

	nodes_lock(nodes);
	count = nodes->orphans;
	nodes_unlock(nodes);
	return count;
}

bool nodes_wait_for_orphans(struct nodes *nodes)
{
	uint32_t before = count_orphans(nodes), now = before;

	for (unsigned waited = 0; now > 0 && now >= before && waited < ORPHANS_WAIT_MS; waited++) {
		(void) usleep(1000);
		now = count_orphans(nodes);
	}
	return now < before;
}

void nodes_moved(struct nodes *nodes, const struct statx *stx, const struct node *old_parent, const char *old_name,
                 struct node *parent, const char *name)
{
	struct node *node;

	nodes_lock(nodes);
	node = find(nodes, stx);
	if (node != NULL) {
		/* Without memory it keeps the old place, which is stale from now on. A directory has only one. */
		if (places_note(nodes, node, parent, name) == 0 && !S_ISDIR(node->type) &&
		    (old_parent != parent || strcmp(old_name, name) != 0))
			places_drop(nodes, node, old_parent, old_name);
	}
	nodes_unlock(nodes);
}

void nodes_forget(struct nodes *nodes, uint64_t id, uint64_t count)
{
	struct node *node;

	nodes_lock(nodes);
	node = slots_find(&nodes->slots, id);
	if (node != NULL) {
		/* The guest may send any number. */
		node->lookups -= count < node->lookups ? count : node->lookups;
		nodes_release(nodes, node);
	}
	nodes_unlock(nodes);
}

enum nodes_view nodes_view_at(struct nodes *nodes, const struct node *node, const struct statx *stx,
                              struct ownership *ret_view)
{
	enum nodes_view kept = NODES_VIEW_UNKNOWN;

	nodes_lock(nodes);
	if (node == NULL)
		node = find(nodes, stx);
	if (node != NULL && node->view_kept && node->view_seconds == stx->stx_ctime.tv_sec &&
	    node->view_nanoseconds == stx->stx_ctime.tv_nsec)
		kept = node->view == NULL ? NODES_VIEW_DEFAULT : NODES_VIEW_KEPT;
	if (kept == NODES_VIEW_KEPT)
		*ret_view = *node->view;
	if (kept != NODES_VIEW_UNKNOWN)
		ret_view->bare = node->view_bare;
	nodes_unlock(nodes);
	return kept;
}

void nodes_keep_view(struct nodes *nodes, struct node *node, const struct statx *stx, const struct ownership *view,
                     bool bare)
{
	struct ownership *copy = view == NULL ? NULL : FAULT_NULL(WORKER_VIEW, malloc(sizeof(*copy)));

	if (copy != NULL)
		*copy = *view;
	nodes_lock(nodes);
	if (node == NULL)
		node = find(nodes, stx);
	if (node != NULL && (copy != NULL || view == NULL)) {
		free(node->view);
		node->view = copy;
		copy = NULL;
		node->view_kept = true;
		node->view_bare = bare;
		node->view_seconds = stx->stx_ctime.tv_sec;
		node->view_nanoseconds = stx->stx_ctime.tv_nsec;
	}
	nodes_unlock(nodes);
	free(copy);
}

void nodes_drop_view(struct nodes *nodes, const struct statx *stx)
{
	struct node *node;

	nodes_lock(nodes);
	node = find(nodes, stx);
	if (node != NULL)
		node->view_kept = false;
	nodes_unlock(nodes);
}
