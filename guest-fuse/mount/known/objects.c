/* SPDX-License-Identifier: Apache-2.0 */
/* The objects that the kernel holds references to. */
#include "guest-fuse/mount/known/objects.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "guest-fuse/mount/known/objects-internal.h"
#include "guest-fuse/mount/known/validity.h"
#include "protocol/clock.h"
#include "protocol/faults.h"

struct object *objects_find(struct objects *objects, uint64_t id)
{
	struct object *object;

	HASH_FIND(hh, objects->table, &id, sizeof(id), object);
	return object;
}

static void note_gone(struct objects *objects, uint64_t id, int64_t changed) LOCK_HELD(objects->lock);
static void note_gone(struct objects *objects, uint64_t id, int64_t changed)
{
	struct gone *gone = &objects->gone[PROTO_ID_SLOT(id) % OBJECTS_GONE];

	if (changed == 0)
		return;
	if (gone->id != id) {
		/* Of an id with the same slot no reference was left, or the server would not have used it again. */
		if (PROTO_ID_SLOT(gone->id) != PROTO_ID_SLOT(id) && gone->changed > gone->others)
			gone->others = gone->changed;
		gone->id = id;
		gone->changed = gone->others;
	}
	if (changed > gone->changed)
		gone->changed = changed;
}

/* With the lock held, or before others have the table. */
static int64_t gone_changed_at(const struct objects *objects, uint64_t id)
{
	const struct gone *gone = &objects->gone[PROTO_ID_SLOT(id) % OBJECTS_GONE];

	return gone->id == id ? gone->changed : gone->others;
}

static struct object *add(struct objects *objects, uint64_t id, uint32_t mode)
{
	struct object *object = FAULT_NULL(MOUNT_OBJECT, calloc(1, sizeof(*object)));

	if (object == NULL)
		return NULL;
	object->id = id;
	object->type = mode & S_IFMT;
	/* The kernel may have known it before, and a listing from before a change of it may be at hand. */
	object->changed = gone_changed_at(objects, id);
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

	if (objects == NULL || names_init(&objects->names) < 0) {
		free(objects);
		return -ENOMEM;
	}
	objects->root = root;
	if (add(objects, root, S_IFDIR) == NULL) {
		names_done(&objects->names);
		free(objects);
		return -ENOMEM;
	}
	lock_init(&objects->lock);
	*ret_objects = objects;
	return 0;
}

static void object_free(struct objects *objects, struct object *object) LOCK_HELD(objects->lock);
static void object_free(struct objects *objects, struct object *object)
{
	if (objects->hand == object)
		objects->hand = object->hh.prev;
	HASH_DELETE(hh, objects->table, object);
	atomic_fetch_sub_explicit(&objects->count, 1, memory_order_relaxed);
	objects_unsettle(objects, object);
	free(object);
}

void objects_free(struct objects *objects)
{
	struct object *object, *next;

	if (objects == NULL)
		return;
	lock_take(&objects->lock);
	HASH_ITER (hh, objects->table, object, next)
		object_free(objects, object);
	lock_give(&objects->lock);
	names_done(&objects->names);
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
	object = objects_find(objects, id);
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
	object = objects_find(objects, id);
	buffered = object != NULL && object->buffered > 0;
	lock_give(&objects->lock);
	return buffered;
}

int objects_learn(struct objects *objects, uint64_t parent, const char *name, const struct proto_entry *entry,
                  uint64_t references)
{
	struct object *object;
	bool is_new;
	int r = 0;

	if (entry->node == objects->root || PROTO_ID_GENERATION(entry->node) == 0)
		return -EIO;
	lock_take(&objects->lock);
	object = objects_find(objects, entry->node);
	is_new = object == NULL;
	if (is_new)
		object = add(objects, entry->node, entry->attr.mode);
	if (object == NULL)
		r = -ENOMEM;
	else if (object->type != (entry->attr.mode & S_IFMT))
		r = -EIO;
	else
		r = objects_settle(objects, object, parent, name);
	if (r == 0) {
		objects_tell(object, &entry->attr);
		object->lookups++;
		object->references += references;
	} else if (is_new && object != NULL) {
		object_free(objects, object);
	}
	lock_give(&objects->lock);
	return r;
}

bool objects_learn_again(struct objects *objects, uint64_t parent, const char *name, const struct proto_entry *entry)
{
	struct object *object;
	bool known;

	lock_take(&objects->lock);
	object = objects_find(objects, entry->node);
	known = object != NULL && object->id != objects->root && object->type == (entry->attr.mode & S_IFMT) &&
	        objects_settle(objects, object, parent, name) == 0;
	if (known) {
		object->lookups++;
		objects_tell(object, &entry->attr);
	}
	lock_give(&objects->lock);
	return known;
}

void objects_looked_up(struct objects *objects, uint64_t id, int64_t asked)
{
	struct object *object;

	lock_take(&objects->lock);
	object = objects_find(objects, id);
	if (object != NULL && asked > object->looked_up)
		object->looked_up = asked;
	lock_give(&objects->lock);
}

int64_t objects_looked_up_at(struct objects *objects, uint64_t id)
{
	struct object *object;
	int64_t at;

	lock_take(&objects->lock);
	object = objects_find(objects, id);
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
	object = objects_find(objects, id);
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

void objects_note_flags(struct objects *objects, uint64_t id, uint32_t flags, int64_t since)
{
	struct object *object;

	lock_take(&objects->lock);
	object = objects_find(objects, id);
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
	object = objects_find(objects, id);
	if (object != NULL && object->changed < object->flags_at &&
	    ((object->flags & PROTO_ATTR_LEASED) != 0 || validity_left(validity, object->flags_at) > 0))
		flags = object->flags;
	lock_give(&objects->lock);
	return flags;
}

bool objects_is_directory(struct objects *objects, uint64_t id)
{
	const struct object *object;
	bool is;

	lock_take(&objects->lock);
	object = objects_find(objects, id);
	is = object != NULL && object->type == S_IFDIR;
	lock_give(&objects->lock);
	return is;
}

void objects_note_listed(struct objects *objects, uint64_t id, uint64_t events)
{
	struct object *object;

	lock_take(&objects->lock);
	object = objects_find(objects, id);
	if (object != NULL) {
		object->listed = true;
		object->listed_events = events;
	}
	lock_give(&objects->lock);
}

bool objects_listed(struct objects *objects, uint64_t id, uint64_t *ret_events)
{
	const struct object *object;
	bool listed;

	lock_take(&objects->lock);
	object = objects_find(objects, id);
	listed = object != NULL && object->listed;
	if (listed)
		*ret_events = object->listed_events;
	lock_give(&objects->lock);
	return listed;
}

void objects_changed(struct objects *objects, uint64_t id)
{
	struct object *object;

	lock_take(&objects->lock);
	object = objects_find(objects, id);
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
	object = objects_find(objects, id);
	changed = object == NULL ? gone_changed_at(objects, id) : object->changed;
	lock_give(&objects->lock);
	return changed;
}
