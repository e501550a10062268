/* SPDX-License-Identifier: Apache-2.0 */
/* What is to be given back to the server. */
#include "guest-fuse/mount/server/forgets.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "protocol/faults.h"
#include "protocol/lock.h"

struct forgets {
	struct lock lock;
	struct forgets_pair *pairs;
	size_t count, capacity;
};

struct forgets *forgets_new(void)
{
	struct forgets *forgets = calloc(1, sizeof(*forgets));

	if (forgets != NULL)
		lock_init(&forgets->lock);
	return forgets;
}

void forgets_free(struct forgets *forgets)
{
	if (forgets == NULL)
		return;
	lock_done(&forgets->lock);
	free(forgets->pairs);
	free(forgets);
}

/* Makes room for one more. False: out of memory. */
static bool grow(struct forgets *forgets)
{
	size_t capacity = forgets->capacity == 0 ? FORGETS_MANY * 2 : forgets->capacity * 2;
	struct forgets_pair *pairs;

	if (forgets->count < forgets->capacity)
		return true;
	pairs = FAULT_NULL(MOUNT_FORGETS, reallocarray(forgets->pairs, capacity, sizeof(*pairs)));
	if (pairs == NULL)
		return false;
	forgets->pairs = pairs;
	forgets->capacity = capacity;
	return true;
}

static bool add(struct forgets *forgets, uint64_t node, uint64_t references)
{
	bool first = false;

	lock_take(&forgets->lock);
	if (grow(forgets)) {
		forgets->pairs[forgets->count++] = (struct forgets_pair){ node, references };
		first = forgets->count == 1;
	}
	lock_give(&forgets->lock);
	return first;
}

bool forgets_add(struct forgets *forgets, uint64_t node, uint64_t references)
{
	return references > 0 && add(forgets, node, references);
}

bool forgets_add_handle(struct forgets *forgets, uint64_t handle)
{
	return add(forgets, handle, 0);
}

size_t forgets_count(struct forgets *forgets)
{
	size_t count;

	lock_take(&forgets->lock);
	count = forgets->count;
	lock_give(&forgets->lock);
	return count;
}

size_t forgets_take(struct forgets *forgets, struct forgets_pair *pairs, size_t most)
{
	size_t count;

	lock_take(&forgets->lock);
	count = forgets->count < most ? forgets->count : most;
	forgets->count -= count;
	if (count > 0)
		memcpy(pairs, forgets->pairs + forgets->count, count * sizeof(*pairs));
	lock_give(&forgets->lock);
	return count;
}
