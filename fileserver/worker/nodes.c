/* SPDX-License-Identifier: Apache-2.0 */
/* The objects that a session knows: identity, names, references. The descriptors are in descriptors.c. */
#include "fileserver/worker/nodes-internal.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "fileserver/worker/ownership.h"
#include "fileserver/worker/resolve.h"
#include "protocol/cleanup.h"
#include "protocol/faults.h"

static void key_fill(struct node_key *key, const struct statx *stx)
{
	memset(key, 0, sizeof(*key));
	key->ino = stx->stx_ino;
	key->device = ((uint64_t) stx->stx_dev_major << 32) | stx->stx_dev_minor;
	if ((stx->stx_mask & STATX_BTIME) != 0) {
		key->birth_seconds = stx->stx_btime.tv_sec;
		key->birth_nanoseconds = stx->stx_btime.tv_nsec;
	}
}

bool nodes_same(const struct node *node, const struct statx *stx)
{
	struct node_key key;

	key_fill(&key, stx);
	return memcmp(&key, &node->key, sizeof(key)) == 0;
}

static struct node *find(struct nodes *nodes, const struct statx *stx)
{
	struct node_key key;
	struct node *node = NULL;

	key_fill(&key, stx);
	HASH_FIND(hh, nodes->by_identity, &key, sizeof(key), node);
	return node;
}

/* Slots are used again, with the next generation, so that an id that was given back is never taken for a new one's. */
static int slot_take(struct nodes *nodes, struct node *node)
{
	uint32_t slot = nodes->free_slot;

	if (slot == SLOT_NONE) {
		if (nodes->slots_used == nodes->slots_size) {
			uint32_t size = nodes->slots_size == 0 ? 64 : nodes->slots_size * 2;
			struct node_slot *slots =
			        FAULT_NULL(WORKER_NODE_SLOTS, realloc(nodes->slots, size * sizeof(*slots)));

			if (slots == NULL)
				return -ENOMEM;
			nodes->slots = slots;
			nodes->slots_size = size;
		}
		slot = nodes->slots_used++;
		nodes->slots[slot] = (struct node_slot){ .generation = 1 };
	} else {
		nodes->free_slot = nodes->slots[slot].next_free;
	}
	nodes->slots[slot].node = node;
	node->slot = slot;
	node->id = PROTO_ID(nodes->slots[slot].generation, slot);
	return 0;
}

static void slot_give(struct nodes *nodes, uint32_t slot)
{
	struct node_slot *entry = &nodes->slots[slot];

	entry->node = NULL;
	if (++entry->generation == 0)
		entry->generation = 1;
	entry->next_free = nodes->free_slot;
	nodes->free_slot = slot;
}

/* Frees a node that nobody refers to any more, then its parent if that was the last reason for it, and so on. */
void nodes_release(struct nodes *nodes, struct node *node)
{
	while (node != NULL && node != nodes->root && node->lookups == 0 && node->pins == 0 && node->children == 0 &&
	       node->handles == NULL) {
		struct node *parent = node->parent;

		HASH_DEL(nodes->by_identity, node);
		descriptors_drop(nodes, node);
		nodes->orphans -= node->orphan ? 1 : 0;
		slot_give(nodes, node->slot);
		free(node->name);
		free(node->view);
		free(node);
		nodes->count--;
		if (parent != NULL)
			parent->children--;
		node = parent;
	}
	if (nodes->counters != NULL)
		atomic_store_explicit(&nodes->counters->nodes, nodes->count, memory_order_relaxed);
}

/*
 * A parent beneath its own child would make the chain a ring: the host's kernel keeps directories a tree, but two
 * renames that are seen in the wrong order look like one.
 */
static bool is_beneath(const struct node *node, const struct node *ancestor)
{
	for (; node != NULL; node = node->parent)
		if (node == ancestor)
			return true;
	return false;
}

static int place(struct nodes *nodes, struct node *node, struct node *parent, const char *name)
{
	char *copy;
	struct node *old = node->parent;

	if (node == nodes->root || parent == NULL)
		return 0;
	if (old == parent && strcmp(node->name, name) == 0)
		return 0;
	if (old != NULL && S_ISDIR(node->type) && is_beneath(parent, node))
		return 0;
	copy = FAULT_NULL(WORKER_NODE_NAME, strdup(name));
	if (copy == NULL)
		return -ENOMEM;
	free(node->name);
	node->name = copy;
	parent->children++;
	node->parent = parent;
	if (old != NULL) {
		old->children--;
		nodes_release(nodes, old);
	}
	return 0;
}

void nodes_renamed(struct nodes *nodes, struct node *node, const char *name)
{
	(void) place(nodes, node, node->parent, name); /* without memory it is looked for again the next time */
}

static int node_new(struct nodes *nodes, const struct statx *stx, struct node **ret_node)
{
	struct node *node;
	int r;

	if (nodes->count >= nodes->nodes_max)
		return -ENOMEM;
	node = FAULT_NULL(WORKER_NODE, calloc(1, sizeof(*node)));
	if (node == NULL)
		return -ENOMEM;
	r = slot_take(nodes, node);
	if (r < 0) {
		free(node);
		return r;
	}
	key_fill(&node->key, stx);
	node->fd = -EBADF;
	node->type = stx->stx_mode & S_IFMT;
	HASH_ADD(hh, nodes->by_identity, key, sizeof(node->key), node);
	nodes->count++;
	if (nodes->counters != NULL)
		atomic_store_explicit(&nodes->counters->nodes, nodes->count, memory_order_relaxed);
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
	nodes->free_slot = SLOT_NONE;
	nodes->free_handle = SLOT_NONE;
	pthread_mutex_init(&nodes->lock, NULL);
	r = node_new(nodes, &stx, &nodes->root);
	if (r < 0) {
		nodes_free(nodes);
		return r;
	}
	nodes->root->fd = root; /* never evicted: it is in no list */
	*ret_nodes = nodes;
	return 0;
}

void nodes_set_pin(struct nodes *nodes, nodes_pin *pin, void *context)
{
	nodes->pin = pin;
	nodes->pin_context = context;
}

void nodes_free(struct nodes *nodes)
{
	struct node *node, *next;

	if (nodes == NULL)
		return;
	descriptors_free_handles(nodes);
	HASH_ITER (hh, nodes->by_identity, node, next) {
		HASH_DEL(nodes->by_identity, node);
		close_fd(node->fd);
		free(node->name);
		free(node->view);
		free(node);
	}
	free(nodes->slots);
	pthread_mutex_destroy(&nodes->lock);
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
	pthread_mutex_lock(&nodes->lock);
	*ret_parent = node->parent;
	if (node->parent != NULL)
		node->parent->pins++;
	pthread_mutex_unlock(&nodes->lock);
	return *ret_parent == NULL ? -ESTALE : 0;
}

uint64_t nodes_device(const struct node *node)
{
	return node->key.device;
}

bool nodes_on_root_device(const struct nodes *nodes, const struct statx *stx)
{
	return nodes->root->key.device == (((uint64_t) stx->stx_dev_major << 32) | stx->stx_dev_minor);
}

static struct node *by_id(struct nodes *nodes, uint64_t id)
{
	uint32_t slot = PROTO_ID_SLOT(id);

	if (slot >= nodes->slots_used || nodes->slots[slot].generation != PROTO_ID_GENERATION(id))
		return NULL;
	return nodes->slots[slot].node;
}

int nodes_get(struct nodes *nodes, uint64_t id, struct node **ret_node)
{
	struct node *node;

	pthread_mutex_lock(&nodes->lock);
	node = by_id(nodes, id);
	if (node != NULL)
		node->pins++;
	pthread_mutex_unlock(&nodes->lock);
	if (node == NULL)
		return -ESTALE;
	*ret_node = node;
	return 0;
}

void nodes_put(struct nodes *nodes, struct node *node)
{
	if (node == NULL)
		return;
	pthread_mutex_lock(&nodes->lock);
	assert(node->pins > 0);
	node->pins--;
	nodes_release(nodes, node);
	pthread_mutex_unlock(&nodes->lock);
}

int nodes_learn(struct nodes *nodes, struct node *parent, const char *name, const struct statx *stx, int pinned,
                bool reference, struct node **ret_node)
{
	struct node *node;
	int r = 0;

	pthread_mutex_lock(&nodes->lock);
	node = find(nodes, stx);
	if (node == NULL)
		r = node_new(nodes, stx, &node);
	if (r == 0) {
		node->pins++;
		r = place(nodes, node, parent, name);
		if (r < 0) {
			node->pins--;
			nodes_release(nodes, node);
		}
	}
	if (r == 0) {
		if (parent != NULL)
			descriptors_named(nodes, node);
		if (reference)
			node->lookups++;
		if (pinned >= 0)
			descriptors_give(nodes, node, pinned);
		*ret_node = node;
	}
	pthread_mutex_unlock(&nodes->lock);
	return r;
}

uint64_t nodes_find(struct nodes *nodes, const struct statx *stx)
{
	struct node *node;
	uint64_t id;

	pthread_mutex_lock(&nodes->lock);
	node = find(nodes, stx);
	id = node == NULL ? 0 : node->id;
	pthread_mutex_unlock(&nodes->lock);
	return id;
}

bool nodes_needs_pin(struct nodes *nodes, const struct statx *stx)
{
	struct node *node;
	bool needs;

	pthread_mutex_lock(&nodes->lock);
	node = find(nodes, stx);
	needs = node != NULL && node->fd < 0;
	pthread_mutex_unlock(&nodes->lock);
	return needs;
}

void nodes_orphan(struct nodes *nodes, const struct statx *stx, int pinned)
{
	struct node *node;

	pthread_mutex_lock(&nodes->lock);
	node = find(nodes, stx);
	if (node != NULL)
		descriptors_orphan(nodes, node, pinned);
	pthread_mutex_unlock(&nodes->lock);
	if (node == NULL)
		close_fd(pinned);
}

static uint32_t count_orphans(struct nodes *nodes)
{
	uint32_t count;

	pthread_mutex_lock(&nodes->lock);
	count = nodes->orphans;
	pthread_mutex_unlock(&nodes->lock);
	return count;
}

bool nodes_wait_for_orphans(struct nodes *nodes)
{
	uint32_t before = count_orphans(nodes), now = before;

	for (int waited = 0; now > 0 && now >= before && waited < ORPHANS_WAIT_MS; waited++) {
		(void) usleep(1000);
		now = count_orphans(nodes);
	}
	return now < before;
}

void nodes_moved(struct nodes *nodes, const struct statx *stx, struct node *parent, const char *name)
{
	struct node *node;

	pthread_mutex_lock(&nodes->lock);
	node = find(nodes, stx);
	if (node != NULL)
		(void) place(nodes, node, parent, name); /* without memory it keeps the old place: -ESTALE later */
	pthread_mutex_unlock(&nodes->lock);
}

void nodes_forget(struct nodes *nodes, uint64_t id, uint64_t count)
{
	struct node *node;

	pthread_mutex_lock(&nodes->lock);
	node = by_id(nodes, id);
	if (node != NULL) {
		/* The guest can send any number here. */
		node->lookups -= count < node->lookups ? count : node->lookups;
		nodes_release(nodes, node);
	}
	pthread_mutex_unlock(&nodes->lock);
}

enum nodes_view nodes_view_at(struct nodes *nodes, const struct node *node, const struct statx *stx,
                              struct ownership *ret_view)
{
	enum nodes_view kept = NODES_VIEW_UNKNOWN;

	pthread_mutex_lock(&nodes->lock);
	if (node == NULL)
		node = find(nodes, stx);
	if (node != NULL && node->view_kept && node->view_seconds == stx->stx_ctime.tv_sec &&
	    node->view_nanoseconds == stx->stx_ctime.tv_nsec)
		kept = node->view == NULL ? NODES_VIEW_DEFAULT : NODES_VIEW_KEPT;
	if (kept == NODES_VIEW_KEPT)
		*ret_view = *node->view;
	if (kept != NODES_VIEW_UNKNOWN)
		ret_view->bare = node->view_bare;
	pthread_mutex_unlock(&nodes->lock);
	return kept;
}

void nodes_keep_view(struct nodes *nodes, struct node *node, const struct statx *stx, const struct ownership *view,
                     bool bare)
{
	struct ownership *copy = view == NULL ? NULL : FAULT_NULL(WORKER_VIEW, malloc(sizeof(*copy)));

	if (copy != NULL)
		*copy = *view;
	pthread_mutex_lock(&nodes->lock);
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
	pthread_mutex_unlock(&nodes->lock);
	free(copy);
}

void nodes_drop_view(struct nodes *nodes, const struct statx *stx)
{
	struct node *node;

	pthread_mutex_lock(&nodes->lock);
	node = find(nodes, stx);
	if (node != NULL)
		node->view_kept = false;
	pthread_mutex_unlock(&nodes->lock);
}
