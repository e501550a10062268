/* SPDX-License-Identifier: Apache-2.0 */
/* Which state of an object's contents the kernel has: what it was told, and what its page cache holds. */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "guest-fuse/mount/known/objects-internal.h"
#include "guest-fuse/mount/known/objects.h"
#include "guest-fuse/mount/known/validity.h"
#include "protocol/clock.h"

/* Longer than a question for attributes takes. */
enum { WROTE_NS = 200000000 };

struct stamp objects_stamp(const struct proto_attr *attr)
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

void objects_tell(struct object *object, const struct proto_attr *attr)
{
	struct stamp stamp = objects_stamp(attr);

	if (!same_data(&object->told, &stamp)) {
		/* But it does not use an answer to a question that is older than a write from here. */
		if (clock_ns() - object->wrote >= WROTE_NS)
			object->paged = 0;
		if (object->lookups > 0)
			object->changed = clock_ns();
	}
	object->told = stamp;
}

static int told(struct objects *objects, uint64_t id, const struct proto_attr *attr, bool change)
{
	struct object *object;
	int r = 0;

	lock_take(&objects->lock);
	object = objects_find(objects, id);
	if (object != NULL && object->type != (attr->mode & S_IFMT)) {
		r = -EIO;
	} else if (object != NULL && change) {
		object->told = objects_stamp(attr);
		if (object->kept == 0)
			object->kept = clock_ns();
	} else if (object != NULL) {
		objects_tell(object, attr);
	}
	lock_give(&objects->lock);
	return r;
}

int objects_told(struct objects *objects, uint64_t id, const struct proto_attr *attr)
{
	return told(objects, id, attr, false);
}

int objects_told_change(struct objects *objects, uint64_t id, const struct proto_attr *attr)
{
	return told(objects, id, attr, true);
}

void objects_wrote(struct objects *objects, uint64_t id, const struct proto_attr *attr)
{
	struct stamp stamp = objects_stamp(attr);
	struct object *object;

	lock_take(&objects->lock);
	object = objects_find(objects, id);
	if (object != NULL) {
		object->changed = object->wrote = clock_ns();
		if (object->paged == 0)
			object->paged = object->changed;
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
	struct stamp stamp = objects_stamp(attr);
	struct object *object;

	lock_take(&objects->lock);
	object = objects_find(objects, id);
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
	object = objects_find(objects, id);
	if (object != NULL) {
		object->changed = clock_ns();
		object->state = CONTENTS_UNSURE;
	}
	lock_give(&objects->lock);
}

void objects_mappable(struct objects *objects, uint64_t id, int change)
{
	struct object *object;

	lock_take(&objects->lock);
	object = objects_find(objects, id);
	if (object != NULL && object->mappable != UINT16_MAX && (change > 0 || object->mappable > 0))
		object->mappable = (uint16_t) (object->mappable + change);
	lock_give(&objects->lock);
}

bool objects_may_be_mapped(struct objects *objects, uint64_t id)
{
	struct object *object;
	bool may;

	lock_take(&objects->lock);
	object = objects_find(objects, id);
	may = object != NULL && object->mappable > 0;
	lock_give(&objects->lock);
	return may;
}

void objects_missing(struct objects *objects, uint64_t id)
{
	struct object *object;

	lock_take(&objects->lock);
	object = objects_find(objects, id);
	if (object != NULL)
		object->missing = true;
	lock_give(&objects->lock);
}

uint64_t objects_unread(struct objects *objects, uint64_t id)
{
	struct object *object;
	uint64_t size;

	lock_take(&objects->lock);
	object = objects_find(objects, id);
	if (object == NULL || (object->state == CONTENTS_KNOWN && !object->missing))
		size = 0;
	else
		size = object->missing ? object->contents.size : object->told.size;
	lock_give(&objects->lock);
	return size;
}

bool objects_is_unchanged(struct objects *objects, uint64_t id, int64_t since)
{
	const struct object *object;
	bool unchanged;

	lock_take(&objects->lock);
	object = objects_find(objects, id);
	unchanged = object != NULL && object->changed < since && object->state == CONTENTS_KNOWN && !object->dropping &&
	            same_data(&object->told, &object->contents);
	lock_give(&objects->lock);
	return unchanged;
}

static bool note_kept(struct objects *objects, uint64_t id, int64_t since)
{
	struct object *object;

	lock_take(&objects->lock);
	object = objects_find(objects, id);
	if (object != NULL) {
		if (object->kept == 0)
			object->kept = since;
		object->asked = clock_ns();
	}
	lock_give(&objects->lock);
	return object != NULL;
}

double objects_keep(struct objects *objects, const struct validity *validity, uint64_t id,
                    const struct proto_attr *attr, const struct answer *answer)
{
	double seconds = validity_attributes(validity, id, attr, answer);

	/* The kernel is told of each change of a directory. */
	if (seconds <= 0 || S_ISDIR(attr->mode))
		return seconds;
	return note_kept(objects, id, answer->since) ? validity_attributes(validity, id, attr, answer) : 0;
}

void objects_asking(struct objects *objects, uint64_t id, int change)
{
	struct object *object;

	lock_take(&objects->lock);
	object = objects_find(objects, id);
	if (object != NULL && object->asking != UINT16_MAX && (change > 0 || object->asking > 0))
		object->asking = (uint16_t) (object->asking + change);
	if (object != NULL && change < 0)
		object->asked = clock_ns();
	lock_give(&objects->lock);
}

void objects_paged(struct objects *objects, uint64_t id)
{
	struct object *object;

	lock_take(&objects->lock);
	object = objects_find(objects, id);
	if (object != NULL && object->paged == 0)
		object->paged = clock_ns();
	if (object != NULL)
		object->missing = false;
	lock_give(&objects->lock);
}

bool objects_kernel(struct objects *objects, uint64_t id, struct objects_kernel *ret_kernel)
{
	const struct object *object;
	bool is_file;

	lock_take(&objects->lock);
	object = objects_find(objects, id);
	is_file = object != NULL && object->type == S_IFREG;
	if (is_file)
		*ret_kernel =
		        (struct objects_kernel){ .attributes = object->kept != 0 && object->kept <= object->changed,
			                         .pages = object->paged != 0 && object->paged <= object->changed,
			                         .asking = object->asking > 0,
			                         .asked = object->asked,
			                         .changed = object->changed };
	lock_give(&objects->lock);
	return is_file;
}

void objects_kernel_told(struct objects *objects, uint64_t id, bool pages)
{
	struct object *object;

	lock_take(&objects->lock);
	object = objects_find(objects, id);
	if (object != NULL) {
		object->kept = 0;
		object->paged = pages ? 0 : object->paged;
	}
	lock_give(&objects->lock);
}

int objects_opened(struct objects *objects, uint64_t id, const struct proto_attr *attr,
                   struct objects_opened *ret_opened)
{
	struct stamp stamp = objects_stamp(attr);
	struct object *object;
	int r = 0;

	*ret_opened = (struct objects_opened){ .attr_differ = true };
	lock_take(&objects->lock);
	object = objects_find(objects, id);
	if (object != NULL && object->type != (attr->mode & S_IFMT)) {
		r = -EIO;
	} else if (object != NULL) {
		ret_opened->attr_differ = object->kept != 0 && !same_data(&object->told, &stamp);
		object->kept = ret_opened->attr_differ ? 0 : object->kept;
		bool same = object->state == CONTENTS_KNOWN && memcmp(&stamp, &object->contents, sizeof(stamp)) == 0;

		ret_opened->keep_cache = object->state == CONTENTS_NONE || (same && !object->dropping);
		if (!ret_opened->keep_cache && (!same || !object->dropping)) {
			object->drop = object->drop == UINT32_MAX ? 1 : object->drop + 1;
			object->dropping = true;
		}
		ret_opened->drop = ret_opened->keep_cache ? 0 : object->drop;
		object->contents = stamp;
		/* While others write, the contents may change and the times do not. */
		object->state = (attr->flags & PROTO_ATTR_WRITERS) == 0 ? CONTENTS_KNOWN : CONTENTS_UNSURE;
	}
	lock_give(&objects->lock);
	return r;
}

void objects_dropped(struct objects *objects, uint64_t id, uint32_t drop)
{
	struct object *object;

	lock_take(&objects->lock);
	object = objects_find(objects, id);
	if (object != NULL && object->drop == drop)
		object->dropping = false;
	lock_give(&objects->lock);
}
