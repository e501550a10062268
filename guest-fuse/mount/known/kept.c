/* SPDX-License-Identifier: Apache-2.0 */
/* Handles that stay open at the server. */
#include "guest-fuse/mount/known/kept.h"

#include <stdlib.h>

#include "guest-fuse/mount/known/hash-table.h"

#include "guest-fuse/mount/known/validity.h"
#include "protocol/faults.h"
#include "protocol/lock.h"

struct entry {
	struct kept_file file; /* the first member: callers have its address */
	uint32_t users;
	bool listed, out_of_memory;
	UT_hash_handle hh;
};

struct kept {
	struct lock lock; /* guards the table and its entries */
	struct entry *table;
	kept_close *close;
	void *data;
};

struct kept *kept_new(kept_close *close, void *data)
{
	struct kept *kept = calloc(1, sizeof(*kept));

	if (kept == NULL)
		return NULL;
	kept->close = close;
	kept->data = data;
	lock_init(&kept->lock);
	return kept;
}

void kept_free(struct kept *kept)
{
	struct entry *entry, *next;

	if (kept == NULL)
		return;
	lock_take(&kept->lock);
	HASH_ITER (hh, kept->table, entry, next) {
		HASH_DEL(kept->table, entry);
		free(entry);
	}
	lock_give(&kept->lock);
	lock_done(&kept->lock);
	free(kept);
}

static struct entry *find(struct kept *kept, uint64_t node) LOCK_HELD(kept->lock);
static struct entry *find(struct kept *kept, uint64_t node)
{
	struct entry *entry;

	HASH_FIND(hh, kept->table, &node, sizeof(node), entry);
	return entry;
}

/* Returns the entry if nobody uses it: the caller ends it. */
static struct entry *unlist(struct kept *kept, struct entry *entry) LOCK_HELD(kept->lock);
static struct entry *unlist(struct kept *kept, struct entry *entry)
{
	if (entry == NULL)
		return NULL;
	HASH_DEL(kept->table, entry);
	entry->listed = false;
	return entry->users == 0 ? entry : NULL;
}

static void end(struct kept *kept, struct entry *entry)
{
	if (entry == NULL)
		return;
	kept->close(kept->data, entry->file.handle);
	free(entry);
}

struct kept_file *kept_add(struct kept *kept, uint64_t node, uint64_t handle, const struct answer *answer,
                           const struct proto_attr *attr)
{
	struct entry *entry = FAULT_NULL(MOUNT_KEPT, calloc(1, sizeof(*entry))), *before;

	if (entry == NULL)
		return NULL;
	*entry = (struct entry){
		.file = { .node = node,
		          .handle = handle,
		          .since = answer->since,
		          .events = answer->events,
		          .attr = *attr },
		.users = 1,
		.listed = true,
	};
	lock_take(&kept->lock);
	before = unlist(kept, find(kept, node));
	HASH_ADD(hh, kept->table, file.node, sizeof(entry->file.node), entry);
	/* The table has not taken it; it is closed with its last user. */
	if (entry->out_of_memory)
		entry->listed = false;
	lock_give(&kept->lock);
	end(kept, before);
	return &entry->file;
}

struct kept_file *kept_take(struct kept *kept, uint64_t node)
{
	struct entry *entry;

	lock_take(&kept->lock);
	entry = find(kept, node);
	if (entry != NULL)
		entry->users++;
	lock_give(&kept->lock);
	return entry == NULL ? NULL : &entry->file;
}

bool kept_look(struct kept *kept, uint64_t node, struct kept_file *ret_file)
{
	const struct entry *entry;

	lock_take(&kept->lock);
	entry = find(kept, node);
	if (entry != NULL)
		*ret_file = entry->file;
	lock_give(&kept->lock);
	return entry != NULL;
}

void kept_put(struct kept *kept, struct kept_file *file)
{
	struct entry *entry = (struct entry *) file;
	bool last;

	lock_take(&kept->lock);
	last = --entry->users == 0 && !entry->listed;
	lock_give(&kept->lock);
	end(kept, last ? entry : NULL);
}

void kept_drop(struct kept *kept, uint64_t node)
{
	struct entry *entry;

	lock_take(&kept->lock);
	entry = unlist(kept, find(kept, node));
	lock_give(&kept->lock);
	end(kept, entry);
}

void kept_drop_all(struct kept *kept)
{
	struct entry *entry;
	bool more = true;

	while (more) {
		lock_take(&kept->lock);
		entry = kept->table;
		more = entry != NULL;
		entry = unlist(kept, entry);
		lock_give(&kept->lock);
		end(kept, entry);
	}
}
