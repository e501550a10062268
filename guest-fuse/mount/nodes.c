/* SPDX-License-Identifier: Apache-2.0 */
/* What the client knows of each object that the kernel references. */
#include "guest-fuse/mount/nodes.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <xxhash.h>

#include "protocol/clock.h"

/* The server chooses the ids: without a seed that it does not know it could choose those that collide. */
static uint64_t seed;

#define HASH_FUNCTION(keyptr, keylen, hashv)                                                                           \
	do {                                                                                                           \
		(hashv) = (unsigned) XXH3_64bits_withSeed((keyptr), (keylen), seed);                                   \
	} while (0)
#define HASH_NONFATAL_OOM 1
#define uthash_nonfatal_oom(element)                                                                                   \
	do {                                                                                                           \
		(element)->out_of_memory = true;                                                                       \
	} while (0)
#include <uthash.h>
#include "protocol/faults.h"

/* One state of a file. Two states with equal stamps have equal contents. */
struct stamp {
	uint64_t size;
	int64_t mtime, ctime;
	uint32_t mtime_ns, ctime_ns;
};

enum contents {
	CONTENTS_NONE,   /* never opened: the page cache is empty */
	CONTENTS_KNOWN,  /* the page cache holds parts of the state that node.contents names */
	CONTENTS_UNSURE, /* it holds something else */
};

struct node {
	uint64_t id, parent;
	char *name;
	uint64_t lookups, references;
	int64_t changed;
	struct stamp told, contents;
	int64_t flags_at;
	uint32_t type, flags; /* PROTO_ATTR_* as the server said at flags_at */
	uint8_t state;        /* enum contents */
	bool out_of_memory;
	uint16_t mappable;        /* open files that allow a shared mapping; the largest value stays */
	uint32_t opens, buffered; /* open files; those that use the page cache */
	uint32_t drop;            /* counts the states that the kernel was to drop pages for */
	bool dropping;            /* it may not have done so for the last of them */
	UT_hash_handle hh;
};

enum { GONE = 1024 };

struct nodes {
	pthread_mutex_t lock;
	struct node *table;
	uint64_t root;
	_Atomic size_t count, most; /* nodes; 0: no limit */
	struct node *hand;          /* where nodes_oldest() goes on: after this one; NULL: with the first */
	/* When one of the nodes that share a place here was changed last, of those that the kernel forgot since. */
	int64_t gone[GONE];
};

static pthread_once_t seed_once = PTHREAD_ONCE_INIT;

static void seed_choose(void)
{
	if (getrandom(&seed, sizeof(seed), 0) != sizeof(seed))
		seed = (uint64_t) clock_ns();
}

static struct stamp stamp_of(const struct proto_attr *attr)
{
	return (struct stamp){
		.size = attr->size,
		.mtime = attr->mtime.seconds,
		.ctime = attr->ctime.seconds,
		.mtime_ns = attr->mtime.nanoseconds,
		.ctime_ns = attr->ctime.nanoseconds,
	};
}

static bool same_data(const struct stamp *left, const struct stamp *right)
{
	return left->size == right->size && left->mtime == right->mtime && left->mtime_ns == right->mtime_ns;
}

static bool older(const struct stamp *left, const struct stamp *right)
{
	return left->ctime < right->ctime || (left->ctime == right->ctime && left->ctime_ns < right->ctime_ns);
}

static struct node *find(struct nodes *nodes, uint64_t id)
{
	struct node *node;

	HASH_FIND(hh, nodes->table, &id, sizeof(id), node);
	return node;
}

static void note_gone(struct nodes *nodes, uint64_t id, int64_t changed)
{
	int64_t *gone = &nodes->gone[PROTO_ID_SLOT(id) % GONE];

	if (changed > *gone)
		*gone = changed;
}

static struct node *add(struct nodes *nodes, uint64_t id, uint32_t mode)
{
	struct node *node = FAULT_NULL(MOUNT_NODE, calloc(1, sizeof(*node)));

	if (node == NULL)
		return NULL;
	node->id = id;
	node->type = mode & S_IFMT;
	HASH_ADD(hh, nodes->table, id, sizeof(node->id), node);
	if (node->out_of_memory) {
		free(node);
		return NULL;
	}
	atomic_fetch_add_explicit(&nodes->count, 1, memory_order_relaxed);
	return node;
}

int nodes_new(uint64_t root, struct nodes **ret_nodes)
{
	struct nodes *nodes = FAULT_NULL(MOUNT_NODES, calloc(1, sizeof(*nodes)));

	(void) pthread_once(&seed_once, seed_choose);
	if (nodes == NULL)
		return -ENOMEM;
	nodes->root = root;
	if (add(nodes, root, S_IFDIR) == NULL) {
		free(nodes);
		return -ENOMEM;
	}
	pthread_mutex_init(&nodes->lock, NULL);
	*ret_nodes = nodes;
	return 0;
}

static void node_free(struct nodes *nodes, struct node *node)
{
	if (nodes->hand == node)
		nodes->hand = node->hh.prev;
	HASH_DELETE(hh, nodes->table, node);
	atomic_fetch_sub_explicit(&nodes->count, 1, memory_order_relaxed);
	free(node->name);
	free(node);
}

void nodes_free(struct nodes *nodes)
{
	struct node *node, *next;

	if (nodes == NULL)
		return;
	HASH_ITER (hh, nodes->table, node, next)
		node_free(nodes, node);
	pthread_mutex_destroy(&nodes->lock);
	free(nodes);
}

size_t nodes_count(struct nodes *nodes)
{
	return atomic_load_explicit(&nodes->count, memory_order_relaxed);
}

void nodes_limit(struct nodes *nodes, size_t most)
{
	atomic_store(&nodes->most, most);
}

size_t nodes_excess(struct nodes *nodes)
{
	size_t count = nodes_count(nodes), most = atomic_load_explicit(&nodes->most, memory_order_relaxed);

	return most == 0 || count <= most - most / 8 ? 0 : count - most / 4 * 3;
}

size_t nodes_oldest(struct nodes *nodes, bool directories, uint64_t *ids, size_t most)
{
	size_t count = 0;

	pthread_mutex_lock(&nodes->lock);
	for (size_t looked = 0; looked < HASH_COUNT(nodes->table) && count < most; looked++) {
		struct node *node = nodes->hand == NULL ? NULL : nodes->hand->hh.next;

		if (node == NULL)
			node = nodes->table;
		nodes->hand = node;
		if (node->id != nodes->root && node->opens == 0 && (directories || node->type != S_IFDIR))
			ids[count++] = node->id;
	}
	pthread_mutex_unlock(&nodes->lock);
	return count;
}

static void count_use(uint32_t *uses, int change)
{
	if (change > 0 || *uses > 0)
		*uses = (uint32_t) ((int64_t) *uses + change);
}

void nodes_in_use(struct nodes *nodes, uint64_t id, bool buffered, int change)
{
	struct node *node;

	pthread_mutex_lock(&nodes->lock);
	node = find(nodes, id);
	if (node != NULL)
		count_use(&node->opens, change);
	if (node != NULL && buffered)
		count_use(&node->buffered, change);
	pthread_mutex_unlock(&nodes->lock);
}

bool nodes_read_buffered(struct nodes *nodes, uint64_t id)
{
	struct node *node;
	bool buffered;

	pthread_mutex_lock(&nodes->lock);
	node = find(nodes, id);
	buffered = node != NULL && node->buffered > 0;
	pthread_mutex_unlock(&nodes->lock);
	return buffered;
}

/* The name that an object was last seen under. Without memory for it the older one stays. */
static void place(struct node *node, uint64_t parent, const char *name)
{
	char *copy;

	node->parent = parent;
	if (node->name != NULL && strcmp(node->name, name) == 0)
		return;
	copy = FAULT_NULL(MOUNT_NODE_NAME, strdup(name));
	if (copy == NULL)
		return;
	free(node->name);
	node->name = copy;
}

int nodes_learn(struct nodes *nodes, uint64_t parent, const char *name, const struct proto_entry *entry,
                uint64_t references)
{
	struct node *node;
	int r = 0;

	if (entry->node == nodes->root || PROTO_ID_GENERATION(entry->node) == 0)
		return -EIO;
	pthread_mutex_lock(&nodes->lock);
	node = find(nodes, entry->node);
	if (node == NULL)
		node = add(nodes, entry->node, entry->attr.mode);
	if (node == NULL)
		r = -ENOMEM;
	else if (node->type != (entry->attr.mode & S_IFMT))
		r = -EIO;
	if (r == 0) {
		node->lookups++;
		node->references += references;
		node->told = stamp_of(&entry->attr);
		place(node, parent, name);
	}
	pthread_mutex_unlock(&nodes->lock);
	return r;
}

bool nodes_learn_again(struct nodes *nodes, const struct proto_entry *entry)
{
	struct node *node;
	bool known;

	pthread_mutex_lock(&nodes->lock);
	node = find(nodes, entry->node);
	known = node != NULL && node->id != nodes->root && node->type == (entry->attr.mode & S_IFMT);
	if (known) {
		node->lookups++;
		node->told = stamp_of(&entry->attr);
	}
	pthread_mutex_unlock(&nodes->lock);
	return known;
}

uint64_t nodes_forget(struct nodes *nodes, uint64_t id, uint64_t lookups)
{
	uint64_t references = 0;
	struct node *node;

	if (id == nodes->root)
		return 0;
	pthread_mutex_lock(&nodes->lock);
	node = find(nodes, id);
	if (node != NULL) {
		node->lookups -= lookups < node->lookups ? lookups : node->lookups;
		if (node->lookups == 0) {
			references = node->references;
			note_gone(nodes, id, node->changed);
			node_free(nodes, node);
		}
	}
	pthread_mutex_unlock(&nodes->lock);
	return references;
}

bool nodes_place(struct nodes *nodes, uint64_t id, uint64_t *ret_parent, struct proto_name *ret_name)
{
	const struct node *node;
	bool known;

	pthread_mutex_lock(&nodes->lock);
	node = find(nodes, id);
	known = node != NULL && node->name != NULL && proto_name_set(ret_name, node->name) == 0;
	if (known)
		*ret_parent = node->parent;
	pthread_mutex_unlock(&nodes->lock);
	return known;
}

int nodes_told(struct nodes *nodes, uint64_t id, const struct proto_attr *attr)
{
	struct node *node;
	int r = 0;

	pthread_mutex_lock(&nodes->lock);
	node = find(nodes, id);
	if (node != NULL && node->type != (attr->mode & S_IFMT))
		r = -EIO;
	else if (node != NULL)
		node->told = stamp_of(attr);
	pthread_mutex_unlock(&nodes->lock);
	return r;
}

void nodes_note_flags(struct nodes *nodes, uint64_t id, uint32_t flags, int64_t since)
{
	struct node *node;

	pthread_mutex_lock(&nodes->lock);
	node = find(nodes, id);
	if (node != NULL) {
		node->flags = flags;
		node->flags_at = since;
	}
	pthread_mutex_unlock(&nodes->lock);
}

uint32_t nodes_flags(struct nodes *nodes, uint64_t id, double timeout)
{
	const struct node *node;
	uint32_t flags = 0;

	pthread_mutex_lock(&nodes->lock);
	node = find(nodes, id);
	if (node != NULL && node->changed < node->flags_at && (double) (clock_ns() - node->flags_at) / 1e9 < timeout)
		flags = node->flags;
	pthread_mutex_unlock(&nodes->lock);
	return flags;
}

void nodes_moved(struct nodes *nodes, uint64_t id, uint64_t parent, const char *name)
{
	struct node *node;

	pthread_mutex_lock(&nodes->lock);
	node = find(nodes, id);
	if (node != NULL && id != nodes->root) {
		place(node, parent, name);
		node->changed = clock_ns();
	}
	pthread_mutex_unlock(&nodes->lock);
}

void nodes_changed(struct nodes *nodes, uint64_t id)
{
	struct node *node;

	pthread_mutex_lock(&nodes->lock);
	node = find(nodes, id);
	if (node != NULL)
		node->changed = clock_ns();
	else
		note_gone(nodes, id, clock_ns());
	pthread_mutex_unlock(&nodes->lock);
}

int64_t nodes_changed_at(struct nodes *nodes, uint64_t id)
{
	struct node *node;
	int64_t changed;

	pthread_mutex_lock(&nodes->lock);
	node = find(nodes, id);
	changed = node == NULL ? nodes->gone[PROTO_ID_SLOT(id) % GONE] : node->changed;
	pthread_mutex_unlock(&nodes->lock);
	return changed;
}

void nodes_wrote(struct nodes *nodes, uint64_t id, const struct proto_attr *attr)
{
	struct stamp stamp = stamp_of(attr);
	struct node *node;

	pthread_mutex_lock(&nodes->lock);
	node = find(nodes, id);
	if (node != NULL) {
		node->changed = clock_ns();
		/* Replies of two lanes may come in either order. */
		if (node->state == CONTENTS_NONE ||
		    (node->state == CONTENTS_KNOWN && !older(&stamp, &node->contents))) {
			node->contents = stamp;
			node->state = CONTENTS_KNOWN;
		}
	}
	pthread_mutex_unlock(&nodes->lock);
}

void nodes_touched(struct nodes *nodes, uint64_t id, const struct proto_attr *attr)
{
	struct stamp stamp = stamp_of(attr);
	struct node *node;

	pthread_mutex_lock(&nodes->lock);
	node = find(nodes, id);
	if (node != NULL) {
		node->changed = clock_ns();
		/* Another time of the data may be the host's doing, and then the next open must see it. */
		if (node->state == CONTENTS_KNOWN && same_data(&node->contents, &stamp))
			node->contents = stamp;
	}
	pthread_mutex_unlock(&nodes->lock);
}

void nodes_unsure(struct nodes *nodes, uint64_t id)
{
	struct node *node;

	pthread_mutex_lock(&nodes->lock);
	node = find(nodes, id);
	if (node != NULL) {
		node->changed = clock_ns();
		node->state = CONTENTS_UNSURE;
	}
	pthread_mutex_unlock(&nodes->lock);
}

uint64_t nodes_unread(struct nodes *nodes, uint64_t id)
{
	struct node *node;
	uint64_t size;

	pthread_mutex_lock(&nodes->lock);
	node = find(nodes, id);
	size = node == NULL || node->state == CONTENTS_KNOWN ? 0 : node->told.size;
	pthread_mutex_unlock(&nodes->lock);
	return size;
}

int nodes_opened(struct nodes *nodes, uint64_t id, const struct proto_attr *attr, struct nodes_opened *ret_opened)
{
	struct stamp stamp = stamp_of(attr);
	struct node *node;
	int r = 0;

	*ret_opened = (struct nodes_opened){ .attr_differ = true };
	pthread_mutex_lock(&nodes->lock);
	node = find(nodes, id);
	if (node != NULL && node->type != (attr->mode & S_IFMT)) {
		r = -EIO;
	} else if (node != NULL) {
		ret_opened->attr_differ = !same_data(&node->told, &stamp);
		bool same = node->state == CONTENTS_KNOWN && memcmp(&stamp, &node->contents, sizeof(stamp)) == 0;

		ret_opened->keep_cache = node->state == CONTENTS_NONE || (same && !node->dropping);
		if (!ret_opened->keep_cache && (!same || !node->dropping)) {
			node->drop = node->drop == UINT32_MAX ? 1 : node->drop + 1;
			node->dropping = true;
		}
		ret_opened->drop = ret_opened->keep_cache ? 0 : node->drop;
		node->contents = stamp;
		node->state = CONTENTS_KNOWN;
	}
	pthread_mutex_unlock(&nodes->lock);
	return r;
}

void nodes_dropped(struct nodes *nodes, uint64_t id, uint32_t drop)
{
	struct node *node;

	pthread_mutex_lock(&nodes->lock);
	node = find(nodes, id);
	if (node != NULL && node->drop == drop)
		node->dropping = false;
	pthread_mutex_unlock(&nodes->lock);
}

void nodes_mappable(struct nodes *nodes, uint64_t id, int change)
{
	struct node *node;

	pthread_mutex_lock(&nodes->lock);
	node = find(nodes, id);
	if (node != NULL && node->mappable != UINT16_MAX && (change > 0 || node->mappable > 0))
		node->mappable = (uint16_t) (node->mappable + change);
	pthread_mutex_unlock(&nodes->lock);
}

bool nodes_may_be_mapped(struct nodes *nodes, uint64_t id)
{
	struct node *node;
	bool may;

	pthread_mutex_lock(&nodes->lock);
	node = find(nodes, id);
	may = node != NULL && node->mappable > 0;
	pthread_mutex_unlock(&nodes->lock);
	return may;
}
