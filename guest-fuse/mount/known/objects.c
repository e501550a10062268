/* SPDX-License-Identifier: Apache-2.0 */
/* The objects that the kernel holds references to. */
#include "guest-fuse/mount/known/objects.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <xxhash.h>

#include "guest-fuse/mount/known/validity.h"
#include "protocol/clock.h"

/* The server chooses the ids. If it knew the seed, it could choose ids whose hashes collide. */
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
#include "protocol/lock.h"

/* One state of a file. Two states with equal stamps have equal contents. */
struct stamp {
	uint64_t size;
	int64_t mtime, ctime;
	uint32_t mtime_ns, ctime_ns;
};

enum contents {
	CONTENTS_NONE,   /* never opened: the page cache is empty */
	CONTENTS_KNOWN,  /* the page cache holds parts of the state that object.contents names */
	CONTENTS_UNSURE, /* it may hold another state */
};

struct object {
	uint64_t id, parent;
	char *name;
	uint64_t lookups, references;
	int64_t changed, looked_up;
	struct stamp told, contents;
	int64_t flags_at;
	uint32_t type, flags; /* PROTO_ATTR_* as the server said at flags_at */
	uint8_t state;        /* enum contents */
	bool out_of_memory;
	uint16_t mappable;        /* open files that allow a shared mapping; stays at the largest value */
	uint32_t opens, buffered; /* open files; those that use the page cache */
	uint32_t drop;            /* numbers the states for which the kernel was to drop its pages */
	bool dropping;            /* it may not have done so yet for the last of them */
	UT_hash_handle hh;
};

enum { GONE = 1024 };

struct objects {
	struct lock lock;
	struct object *table;
	uint64_t root;
	_Atomic size_t count, most; /* objects; 0: no limit */
	struct object *hand;        /* where objects_oldest() goes on: after this one; NULL: with the first */
	/* The last change of any object with this slot (modulo GONE) that the kernel has forgotten since. */
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

static struct object *find(struct objects *objects, uint64_t id)
{
	struct object *object;

	HASH_FIND(hh, objects->table, &id, sizeof(id), object);
	return object;
}

static void note_gone(struct objects *objects, uint64_t id, int64_t changed)
{
	int64_t *gone = &objects->gone[PROTO_ID_SLOT(id) % GONE];

	if (changed > *gone)
		*gone = changed;
}

static struct object *add(struct objects *objects, uint64_t id, uint32_t mode)
{
	struct object *object = FAULT_NULL(MOUNT_OBJECT, calloc(1, sizeof(*object)));

	if (object == NULL)
		return NULL;
	object->id = id;
	object->type = mode & S_IFMT;
	HASH_ADD(hh, objects->table, id, sizeof(object->id), object);
	if (object->out_of_memory) {
		free(object);
		return NULL;
	}
	atomic_fetch_add_explicit(&objects->count, 1, memory_order_relaxed);
	return object;
}

int objects_new(uint64_t root, struct objects **ret_objects)
{
	struct objects *objects = FAULT_NULL(MOUNT_OBJECTS, calloc(1, sizeof(*objects)));

	(void) pthread_once(&seed_once, seed_choose);
	if (objects == NULL)
		return -ENOMEM;
	objects->root = root;
	if (add(objects, root, S_IFDIR) == NULL) {
		free(objects);
		return -ENOMEM;
	}
	lock_init(&objects->lock);
	*ret_objects = objects;
	return 0;
}

static void object_free(struct objects *objects, struct object *object)
{
	if (objects->hand == object)
		objects->hand = object->hh.prev;
	HASH_DELETE(hh, objects->table, object);
	atomic_fetch_sub_explicit(&objects->count, 1, memory_order_relaxed);
	free(object->name);
	free(object);
}

void objects_free(struct objects *objects)
{
	struct object *object, *next;

	if (objects == NULL)
		return;
	HASH_ITER (hh, objects->table, object, next)
		object_free(objects, object);
	lock_done(&objects->lock);
	free(objects);
}

size_t objects_count(struct objects *objects)
{
	return atomic_load_explicit(&objects->count, memory_order_relaxed);
}

void objects_limit(struct objects *objects, size_t most)
{
	atomic_store(&objects->most, most);
}

size_t objects_excess(struct objects *objects)
{
	size_t count = objects_count(objects), most = atomic_load_explicit(&objects->most, memory_order_relaxed);

	return most == 0 || count <= most - most / 8 ? 0 : count - most / 4 * 3;
}

size_t objects_oldest(struct objects *objects, bool directories, uint64_t *ids, size_t most)
{
	size_t count = 0;

	lock_take(&objects->lock);
	for (size_t looked = 0; looked < HASH_COUNT(objects->table) && count < most; looked++) {
		struct object *object = objects->hand == NULL ? NULL : objects->hand->hh.next;

		if (object == NULL)
			object = objects->table;
		objects->hand = object;
		if (object->id != objects->root && object->opens == 0 && (directories || object->type != S_IFDIR))
			ids[count++] = object->id;
	}
	lock_give(&objects->lock);
	return count;
}

static void count_use(uint32_t *uses, int change)
{
	if (change > 0 || *uses > 0)
		*uses = (uint32_t) ((int64_t) *uses + change);
}

void objects_in_use(struct objects *objects, uint64_t id, bool buffered, int change)
{
	struct object *object;

	lock_take(&objects->lock);
	object = find(objects, id);
	if (object != NULL)
		count_use(&object->opens, change);
	if (object != NULL && buffered)
		count_use(&object->buffered, change);
	lock_give(&objects->lock);
}

bool objects_read_buffered(struct objects *objects, uint64_t id)
{
	struct object *object;
	bool buffered;

	lock_take(&objects->lock);
	object = find(objects, id);
	buffered = object != NULL && object->buffered > 0;
	lock_give(&objects->lock);
	return buffered;
}

/* Sets the last known name. Without memory for it the older one stays. */
static void place(struct object *object, uint64_t parent, const char *name)
{
	char *copy;

	object->parent = parent;
	if (object->name != NULL && strcmp(object->name, name) == 0)
		return;
	copy = FAULT_NULL(MOUNT_OBJECT_NAME, strdup(name));
	if (copy == NULL)
		return;
	free(object->name);
	object->name = copy;
}

int objects_learn(struct objects *objects, uint64_t parent, const char *name, const struct proto_entry *entry,
                  uint64_t references)
{
	struct object *object;
	int r = 0;

	if (entry->node == objects->root || PROTO_ID_GENERATION(entry->node) == 0)
		return -EIO;
	lock_take(&objects->lock);
	object = find(objects, entry->node);
	if (object == NULL)
		object = add(objects, entry->node, entry->attr.mode);
	if (object == NULL)
		r = -ENOMEM;
	else if (object->type != (entry->attr.mode & S_IFMT))
		r = -EIO;
	if (r == 0) {
		object->lookups++;
		object->references += references;
		object->told = stamp_of(&entry->attr);
		place(object, parent, name);
	}
	lock_give(&objects->lock);
	return r;
}

bool objects_learn_again(struct objects *objects, const struct proto_entry *entry)
{
	struct object *object;
	bool known;

	lock_take(&objects->lock);
	object = find(objects, entry->node);
	known = object != NULL && object->id != objects->root && object->type == (entry->attr.mode & S_IFMT);
	if (known) {
		object->lookups++;
		object->told = stamp_of(&entry->attr);
	}
	lock_give(&objects->lock);
	return known;
}

void objects_looked_up(struct objects *objects, uint64_t id, int64_t asked)
{
	struct object *object;

	lock_take(&objects->lock);
	object = find(objects, id);
	if (object != NULL && asked > object->looked_up)
		object->looked_up = asked;
	lock_give(&objects->lock);
}

int64_t objects_looked_up_at(struct objects *objects, uint64_t id)
{
	struct object *object;
	int64_t at;

	lock_take(&objects->lock);
	object = find(objects, id);
	at = object == NULL ? 0 : object->looked_up;
	lock_give(&objects->lock);
	return at;
}

uint64_t objects_forget(struct objects *objects, uint64_t id, uint64_t lookups)
{
	uint64_t references = 0;
	struct object *object;

	if (id == objects->root)
		return 0;
	lock_take(&objects->lock);
	object = find(objects, id);
	if (object != NULL) {
		object->lookups -= lookups < object->lookups ? lookups : object->lookups;
		if (object->lookups == 0) {
			references = object->references;
			note_gone(objects, id, object->changed);
			object_free(objects, object);
		}
	}
	lock_give(&objects->lock);
	return references;
}

bool objects_place(struct objects *objects, uint64_t id, uint64_t *ret_parent, struct proto_name *ret_name)
{
	const struct object *object;
	bool known;

	lock_take(&objects->lock);
	object = find(objects, id);
	known = object != NULL && object->name != NULL && proto_name_set(ret_name, object->name) == 0;
	if (known)
		*ret_parent = object->parent;
	lock_give(&objects->lock);
	return known;
}

int objects_told(struct objects *objects, uint64_t id, const struct proto_attr *attr)
{
	struct object *object;
	int r = 0;

	lock_take(&objects->lock);
	object = find(objects, id);
	if (object != NULL && object->type != (attr->mode & S_IFMT))
		r = -EIO;
	else if (object != NULL)
		object->told = stamp_of(attr);
	lock_give(&objects->lock);
	return r;
}

void objects_note_flags(struct objects *objects, uint64_t id, uint32_t flags, int64_t since)
{
	struct object *object;

	lock_take(&objects->lock);
	object = find(objects, id);
	if (object != NULL) {
		object->flags = flags;
		object->flags_at = since;
	}
	lock_give(&objects->lock);
}

uint32_t objects_flags(struct objects *objects, const struct validity *validity, uint64_t id)
{
	const struct object *object;
	uint32_t flags = 0;

	lock_take(&objects->lock);
	object = find(objects, id);
	if (object != NULL && object->changed < object->flags_at && validity_left(validity, object->flags_at) > 0)
		flags = object->flags;
	lock_give(&objects->lock);
	return flags;
}

void objects_moved(struct objects *objects, uint64_t id, uint64_t parent, const char *name)
{
	struct object *object;

	lock_take(&objects->lock);
	object = find(objects, id);
	if (object != NULL && id != objects->root) {
		place(object, parent, name);
		object->changed = clock_ns();
	}
	lock_give(&objects->lock);
}

void objects_changed(struct objects *objects, uint64_t id)
{
	struct object *object;

	lock_take(&objects->lock);
	object = find(objects, id);
	if (object != NULL)
		object->changed = clock_ns();
	else
		note_gone(objects, id, clock_ns());
	lock_give(&objects->lock);
}

int64_t objects_changed_at(struct objects *objects, uint64_t id)
{
	struct object *object;
	int64_t changed;

	lock_take(&objects->lock);
	object = find(objects, id);
	changed = object == NULL ? objects->gone[PROTO_ID_SLOT(id) % GONE] : object->changed;
	lock_give(&objects->lock);
	return changed;
}

void objects_wrote(struct objects *objects, uint64_t id, const struct proto_attr *attr)
{
	struct stamp stamp = stamp_of(attr);
	struct object *object;

	lock_take(&objects->lock);
	object = find(objects, id);
	if (object != NULL) {
		object->changed = clock_ns();
		/* Replies on two connections may come in either order. */
		if (object->state == CONTENTS_NONE ||
		    (object->state == CONTENTS_KNOWN && !older(&stamp, &object->contents))) {
			object->contents = stamp;
			object->state = CONTENTS_KNOWN;
		}
	}
	lock_give(&objects->lock);
}

void objects_touched(struct objects *objects, uint64_t id, const struct proto_attr *attr)
{
	struct stamp stamp = stamp_of(attr);
	struct object *object;

	lock_take(&objects->lock);
	object = find(objects, id);
	if (object != NULL) {
		object->changed = clock_ns();
		/* A different mtime or size may be from a change on the host, which the next open must find. */
		if (object->state == CONTENTS_KNOWN && same_data(&object->contents, &stamp))
			object->contents = stamp;
	}
	lock_give(&objects->lock);
}

void objects_unsure(struct objects *objects, uint64_t id)
{
	struct object *object;

	lock_take(&objects->lock);
	object = find(objects, id);
	if (object != NULL) {
		object->changed = clock_ns();
		object->state = CONTENTS_UNSURE;
	}
	lock_give(&objects->lock);
}

uint64_t objects_unread(struct objects *objects, uint64_t id)
{
	struct object *object;
	uint64_t size;

	lock_take(&objects->lock);
	object = find(objects, id);
	size = object == NULL || object->state == CONTENTS_KNOWN ? 0 : object->told.size;
	lock_give(&objects->lock);
	return size;
}

int objects_opened(struct objects *objects, uint64_t id, const struct proto_attr *attr,
                   struct objects_opened *ret_opened)
{
	struct stamp stamp = stamp_of(attr);
	struct object *object;
	int r = 0;

	*ret_opened = (struct objects_opened){ .attr_differ = true };
	lock_take(&objects->lock);
	object = find(objects, id);
	if (object != NULL && object->type != (attr->mode & S_IFMT)) {
		r = -EIO;
	} else if (object != NULL) {
		ret_opened->attr_differ = !same_data(&object->told, &stamp);
		bool same = object->state == CONTENTS_KNOWN && memcmp(&stamp, &object->contents, sizeof(stamp)) == 0;

		ret_opened->keep_cache = object->state == CONTENTS_NONE || (same && !object->dropping);
		if (!ret_opened->keep_cache && (!same || !object->dropping)) {
			object->drop = object->drop == UINT32_MAX ? 1 : object->drop + 1;
			object->dropping = true;
		}
		ret_opened->drop = ret_opened->keep_cache ? 0 : object->drop;
		object->contents = stamp;
		object->state = CONTENTS_KNOWN;
	}
	lock_give(&objects->lock);
	return r;
}

void objects_dropped(struct objects *objects, uint64_t id, uint32_t drop)
{
	struct object *object;

	lock_take(&objects->lock);
	object = find(objects, id);
	if (object != NULL && object->drop == drop)
		object->dropping = false;
	lock_give(&objects->lock);
}

void objects_mappable(struct objects *objects, uint64_t id, int change)
{
	struct object *object;

	lock_take(&objects->lock);
	object = find(objects, id);
	if (object != NULL && object->mappable != UINT16_MAX && (change > 0 || object->mappable > 0))
		object->mappable = (uint16_t) (object->mappable + change);
	lock_give(&objects->lock);
}

bool objects_may_be_mapped(struct objects *objects, uint64_t id)
{
	struct object *object;
	bool may;

	lock_take(&objects->lock);
	object = find(objects, id);
	may = object != NULL && object->mappable > 0;
	lock_give(&objects->lock);
	return may;
}
