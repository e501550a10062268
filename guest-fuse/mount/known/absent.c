/* SPDX-License-Identifier: Apache-2.0 */
/* Names that the kernel was told not to exist. */
#include "guest-fuse/mount/known/absent.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "guest-fuse/mount/known/names.h"
#include "protocol/lock.h"

struct absence {
	struct named named;
	struct absence *prev, *next; /* all, the oldest first */
	char text[];
};

struct absent {
	struct lock lock;
	struct names names;
	struct absence *oldest;
	size_t count, most;
};

struct absent *absent_new(size_t most)
{
	struct absent *absent = calloc(1, sizeof(*absent));

	if (absent == NULL || names_init(&absent->names) < 0) {
		free(absent);
		return NULL;
	}
	absent->most = most;
	lock_init(&absent->lock);
	return absent;
}

void absent_free(struct absent *absent)
{
	struct absence *absence, *next;

	if (absent == NULL)
		return;
	DL_FOREACH_SAFE(absent->oldest, absence, next)
	free(absence);
	names_done(&absent->names);
	lock_done(&absent->lock);
	free(absent);
}

size_t absent_count(struct absent *absent)
{
	size_t count;

	lock_take(&absent->lock);
	count = absent->count;
	lock_give(&absent->lock);
	return count;
}

/* named is the first member. */
static struct absence *absence_of(struct named *named)
{
	return (struct absence *) named;
}

static struct absence *find(struct absent *absent, uint64_t parent, const char *name) LOCK_HELD(absent->lock);
static struct absence *find(struct absent *absent, uint64_t parent, const char *name)
{
	return absence_of(names_find(&absent->names, parent, name));
}

static void put(struct absent *absent, struct absence *absence, uint64_t parent) LOCK_HELD(absent->lock);
static void put(struct absent *absent, struct absence *absence, uint64_t parent)
{
	names_add(&absent->names, &absence->named, parent, absence->text);
	DL_APPEND(absent->oldest, absence);
	absent->count++;
}

static void take_out(struct absent *absent, struct absence *absence) LOCK_HELD(absent->lock);
static void take_out(struct absent *absent, struct absence *absence)
{
	names_remove(&absent->names, &absence->named);
	DL_DELETE(absent->oldest, absence);
	absent->count--;
}

/* Takes it out and frees it. */
static void hand_over(struct absent *absent, struct absence *absence, struct absent_name *ret_name)
        LOCK_HELD(absent->lock);
static void hand_over(struct absent *absent, struct absence *absence, struct absent_name *ret_name)
{
	ret_name->parent = absence->named.parent;
	(void) proto_name_set(&ret_name->name, absence->text); /* absent_add() has checked it */
	take_out(absent, absence);
	free(absence);
}

static struct absence *absence_new(const struct proto_name *name)
{
	struct absence *absence = malloc(sizeof(*absence) + name->length + 1);

	if (absence == NULL)
		return NULL;
	absence->named = (struct named){ .name = NULL };
	memcpy(absence->text, name->text, name->length + 1);
	return absence;
}

int absent_add(struct absent *absent, uint64_t parent, const char *name, struct absent_name *ret_evicted)
{
	struct absence *absence;
	struct proto_name checked;
	int r = proto_name_set(&checked, name);

	if (r < 0)
		return r;
	lock_take(&absent->lock);
	absence = find(absent, parent, name);
	if (absence != NULL)
		take_out(absent, absence);
	else
		absence = absence_new(&checked);
	if (absence == NULL) {
		r = -ENOMEM;
	} else {
		put(absent, absence, parent);
		if (absent->count > absent->most) {
			hand_over(absent, absent->oldest, ret_evicted);
			r = 1;
		}
	}
	lock_give(&absent->lock);
	return r;
}

bool absent_remove(struct absent *absent, uint64_t parent, const char *name)
{
	struct absence *absence;

	lock_take(&absent->lock);
	absence = find(absent, parent, name);
	if (absence != NULL)
		take_out(absent, absence);
	lock_give(&absent->lock);
	free(absence);
	return absence != NULL;
}

size_t absent_take(struct absent *absent, uint64_t parent, struct absent_name *ret_names, size_t most)
{
	size_t count = 0;

	lock_take(&absent->lock);
	while (count < most) {
		struct absence *absence =
		        parent == 0 ? absent->oldest : absence_of(names_first(&absent->names, parent));

		if (absence == NULL)
			break;
		hand_over(absent, absence, &ret_names[count++]);
	}
	lock_give(&absent->lock);
	return count;
}
