/* SPDX-License-Identifier: Apache-2.0 */
/* Under which names the kernel knows the objects, and which of them are in a directory. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "guest-fuse/mount/known/objects-internal.h"
#include "guest-fuse/mount/known/objects.h"
#include "protocol/clock.h"
#include "protocol/faults.h"

/* named is the first member. */
static struct object *object_of(struct named *named)
{
	return (struct object *) named;
}

/* In this directory, and no name leads to it. */
static void settle_unnamed(struct objects *objects, struct object *object, uint64_t parent) LOCK_HELD(objects->lock);
static void settle_unnamed(struct objects *objects, struct object *object, uint64_t parent)
{
	objects_unsettle(objects, object);
	names_add(&objects->names, &object->named, parent, NULL);
}

int objects_settle(struct objects *objects, struct object *object, uint64_t parent, const char *name)
{
	struct named *named = &object->named;
	char *copy;

	if (*name == '\0') {
		settle_unnamed(objects, object, parent);
		return 0;
	}
	if (named->name != NULL && named->parent == parent && strcmp(named->name, name) == 0) {
		names_index(&objects->names, named);
		return 0;
	}
	copy = FAULT_NULL(MOUNT_OBJECT_NAME, strdup(name));
	if (copy == NULL)
		return -ENOMEM;
	objects_unsettle(objects, object);
	names_add(&objects->names, named, parent, copy);
	return 0;
}

void objects_unsettle(struct objects *objects, struct object *object)
{
	char *name = object->named.name;

	names_remove(&objects->names, &object->named);
	free(name);
}

void objects_moved(struct objects *objects, uint64_t id, uint64_t parent, const char *name)
{
	struct object *object;

	lock_take(&objects->lock);
	object = objects_find(objects, id);
	if (object != NULL && id != objects->root) {
		/* The old place would be wrong. Who drops all that is in the directory still finds it. */
		if (objects_settle(objects, object, parent, name) < 0)
			settle_unnamed(objects, object, parent);
		object->changed = clock_ns();
	}
	lock_give(&objects->lock);
}

bool objects_place(struct objects *objects, uint64_t id, uint64_t *ret_parent, struct proto_name *ret_name)
{
	const struct object *object;
	bool known;

	lock_take(&objects->lock);
	object = objects_find(objects, id);
	known = object != NULL && object->named.name != NULL && proto_name_set(ret_name, object->named.name) == 0;
	if (known)
		*ret_parent = object->named.parent;
	lock_give(&objects->lock);
	return known;
}

uint64_t objects_named(struct objects *objects, uint64_t parent, const char *name)
{
	struct named *named;
	uint64_t id;

	lock_take(&objects->lock);
	named = names_find(&objects->names, parent, name);
	id = named == NULL ? 0 : object_of(named)->id;
	lock_give(&objects->lock);
	return id;
}

bool objects_was_named(struct objects *objects, uint64_t parent, const char *name)
{
	bool was;

	lock_take(&objects->lock);
	was = names_at(&objects->names, parent, name) != NULL;
	lock_give(&objects->lock);
	return was;
}

void objects_unname(struct objects *objects, uint64_t parent, const char *name)
{
	struct named *named;

	lock_take(&objects->lock);
	named = names_find(&objects->names, parent, name);
	if (named != NULL)
		names_unindex(named);
	lock_give(&objects->lock);
}

static size_t children(struct objects *objects, uint64_t parent, uint64_t *ids) LOCK_HELD(objects->lock);
/* ids NULL: only counts them. */
static size_t children(struct objects *objects, uint64_t parent, uint64_t *ids)
{
	struct named *first = names_first(&objects->names, parent);
	size_t count = 0;

	for (struct named *named = first; named != NULL; named = names_next(named, first), count++)
		if (ids != NULL)
			ids[count] = object_of(named)->id;
	return count;
}

static size_t namesakes(struct objects *objects, uint64_t parent, const char *name, uint64_t *ids)
        LOCK_HELD(objects->lock);
/* The same of those that have this place. */
static size_t namesakes(struct objects *objects, uint64_t parent, const char *name, uint64_t *ids)
{
	size_t count = 0;

	for (struct named *named = names_at(&objects->names, parent, name); named != NULL;
	     named = names_next_at(named), count++)
		if (ids != NULL)
			ids[count] = object_of(named)->id;
	return count;
}

static size_t all(struct objects *objects, uint64_t *ids) LOCK_HELD(objects->lock);
static size_t all(struct objects *objects, uint64_t *ids)
{
	size_t count = 0;

	if (ids == NULL)
		return HASH_COUNT(objects->table);
	for (struct object *object = objects->table; object != NULL; object = object->hh.next)
		if (object->id != objects->root)
			ids[count++] = object->id;
	return count;
}

static size_t chosen(struct objects *objects, uint64_t parent, const char *name, uint64_t *ids)
        LOCK_HELD(objects->lock);
static size_t chosen(struct objects *objects, uint64_t parent, const char *name, uint64_t *ids)
{
	if (name != NULL)
		return namesakes(objects, parent, name, ids);
	return parent == 0 ? all(objects, ids) : children(objects, parent, ids);
}

int objects_children(struct objects *objects, uint64_t parent, const char *name, uint64_t **ret_ids, size_t *ret_count)
{
	uint64_t *ids;

	lock_take(&objects->lock);
	/* One more, so that nothing to return is no lack of memory. */
	ids = malloc((chosen(objects, parent, name, NULL) + 1) * sizeof(*ids));
	if (ids != NULL) {
		*ret_count = chosen(objects, parent, name, ids);
		*ret_ids = ids;
	}
	lock_give(&objects->lock);
	return ids == NULL ? -ENOMEM : 0;
}
