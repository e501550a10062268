/* SPDX-License-Identifier: Apache-2.0 */
/* Bind mounts of single files, and their targets. */
#include "guest-fuse/mount/known/file-binds.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define HASH_NONFATAL_OOM 1
#define uthash_nonfatal_oom(element)                                                                                   \
	do {                                                                                                           \
		(element)->out_of_memory = true;                                                                       \
	} while (0)
#include <uthash.h>

#include "protocol/clock.h"
#include "protocol/lock.h"

/* The longest that a request waits in the kernel's queue, and an answer for the thread that takes it. */
#define QUEUED_NS INT64_C(10000000000)
#define TAKEN_NS  INT64_C(1000000000)

/* What the kernel checks permissions by. */
struct rights {
	uint32_t mode, uid, gid;
};

struct bound {
	uint64_t node, parent, target;
	struct proto_name name;
	struct rights rights; /* of the target; mode 0: it was not looked up yet */
	int64_t changed;      /* clock_ns() when rights changed, or the kernel was told other ones; 0: never */
	int64_t told;         /* clock_ns() when the kernel was told these rights after that; 0: not yet */
	uint32_t modes;       /* all modes that the kernel may check by for a while after it */
	bool owners;          /* it may also check by other owners or groups */
	bool out_of_memory;
	UT_hash_handle hh;
};

struct file_binds {
	struct lock lock;
	_Atomic unsigned count; /* nobody takes the lock while it is 0 */
	struct bound *table;
};

struct file_binds *file_binds_new(void)
{
	struct file_binds *binds = calloc(1, sizeof(*binds));

	if (binds != NULL)
		lock_init(&binds->lock);
	return binds;
}

void file_binds_free(struct file_binds *binds)
{
	struct bound *bound, *next;

	if (binds == NULL)
		return;
	HASH_ITER (hh, binds->table, bound, next) {
		HASH_DEL(binds->table, bound);
		free(bound);
	}
	lock_done(&binds->lock);
	free(binds);
}

/* Nothing is bound, as in most mounts. */
static bool are_none(const struct file_binds *binds)
{
	return atomic_load_explicit(&binds->count, memory_order_relaxed) == 0;
}

static struct bound *find(struct file_binds *binds, uint64_t node) LOCK_HELD(binds->lock);
static struct bound *find(struct file_binds *binds, uint64_t node)
{
	struct bound *bound;

	HASH_FIND(hh, binds->table, &node, sizeof(node), bound);
	return bound;
}

int file_binds_add(struct file_binds *binds, uint64_t node, uint64_t parent, const struct proto_name *name)
{
	struct bound *bound = calloc(1, sizeof(*bound));
	int r = 0;

	if (bound == NULL)
		return -ENOMEM;
	*bound = (struct bound){ .node = node, .target = node, .parent = parent, .name = *name };
	lock_take(&binds->lock);
	if (find(binds, node) == NULL) {
		HASH_ADD(hh, binds->table, node, sizeof(bound->node), bound);
		if (bound->out_of_memory) {
			r = -ENOMEM;
		} else {
			atomic_fetch_add(&binds->count, 1);
			bound = NULL; /* the table's */
		}
	}
	lock_give(&binds->lock);
	free(bound);
	return r;
}

bool file_binds_name(struct file_binds *binds, uint64_t node, uint64_t *ret_parent, struct proto_name *ret_name)
{
	const struct bound *bound;

	if (are_none(binds))
		return false;
	lock_take(&binds->lock);
	bound = find(binds, node);
	if (bound != NULL) {
		*ret_parent = bound->parent;
		*ret_name = bound->name;
	}
	lock_give(&binds->lock);
	return bound != NULL;
}

static struct rights rights_of(const struct proto_attr *attr)
{
	return (struct rights){ .mode = attr->mode, .uid = attr->uid, .gid = attr->gid };
}

/* With the lock held: the kernel may have been told these rights, too, which are not those of the target. */
static void note_others(struct bound *bound, const struct rights *others)
{
	int64_t now = clock_ns();

	if (bound->changed == 0 || now - bound->changed > QUEUED_NS) {
		bound->modes = 0;
		bound->owners = false;
	}
	bound->modes |= others->mode;
	bound->owners = bound->owners || others->uid != bound->rights.uid || others->gid != bound->rights.gid;
	bound->changed = now;
	bound->told = 0;
}

static bool differ(const struct rights *left, const struct rights *right)
{
	return memcmp(left, right, sizeof(*left)) != 0;
}

/* With the lock held. True: they differ from those before, and the kernel's attributes must be invalidated. */
static bool set_rights(struct bound *bound, const struct proto_attr *attr)
{
	struct rights before = bound->rights;

	bound->rights = rights_of(attr);
	if (before.mode == 0 || !differ(&before, &bound->rights))
		return false;
	note_others(bound, &before);
	return true;
}

void file_binds_set(struct file_binds *binds, uint64_t node, const struct proto_entry *entry,
                    struct file_binds_change *ret_change)
{
	uint64_t before = node;
	struct bound *bound;
	bool gone;

	*ret_change = (struct file_binds_change){ .invalidate = false };
	lock_take(&binds->lock);
	bound = find(binds, node);
	gone = bound == NULL;
	if (!gone) {
		before = bound->target;
		bound->target = entry->node;
		ret_change->invalidate = set_rights(bound, &entry->attr);
	}
	lock_give(&binds->lock);
	if (gone || entry->node == before || entry->node == node)
		ret_change->unneeded[0] = entry->node;
	if (!gone && before != entry->node && before != node)
		ret_change->unneeded[1] = before;
}

uint64_t file_binds_target(struct file_binds *binds, uint64_t node)
{
	struct bound *bound;
	uint64_t target = node;

	if (are_none(binds))
		return node;
	lock_take(&binds->lock);
	bound = find(binds, node);
	if (bound != NULL)
		target = bound->target;
	lock_give(&binds->lock);
	return target;
}

void file_binds_told(struct file_binds *binds, uint64_t node, const struct proto_attr *attr, int64_t since)
{
	struct rights rights = rights_of(attr);
	struct bound *bound;

	if (are_none(binds))
		return;
	lock_take(&binds->lock);
	bound = find(binds, node);
	/* Other rights: of an older target that is still open, or of the file that was bound. */
	if (bound != NULL && bound->rights.mode != 0 && differ(&rights, &bound->rights))
		note_others(bound, &rights);
	else if (bound != NULL && bound->told == 0 && since > bound->changed)
		bound->told = clock_ns();
	lock_give(&binds->lock);
}

static bool may(struct file_binds *binds, uint64_t node, bool open, uint64_t *ret_target)
{
	struct bound *bound;
	int64_t now = clock_ns();
	bool good = true;

	*ret_target = node;
	if (are_none(binds))
		return true;
	lock_take(&binds->lock);
	bound = find(binds, node);
	if (bound != NULL)
		*ret_target = bound->target;
	if (bound != NULL && bound->changed != 0) {
		bool settled = now - bound->changed > QUEUED_NS;
		/* All that was permitted before is permitted now. */
		bool wider = !bound->owners && (bound->modes & ~bound->rights.mode & 07777) == 0;

		good = open ? settled || wider : settled && bound->told != 0 && now - bound->told > TAKEN_NS;
	}
	lock_give(&binds->lock);
	return good;
}

bool file_binds_may_open(struct file_binds *binds, uint64_t node, uint64_t *ret_target)
{
	return may(binds, node, true, ret_target);
}

bool file_binds_may_change(struct file_binds *binds, uint64_t node, uint64_t *ret_target)
{
	return may(binds, node, false, ret_target);
}

bool file_binds_has(struct file_binds *binds, uint64_t node)
{
	bool has;

	if (are_none(binds))
		return false;
	lock_take(&binds->lock);
	has = find(binds, node) != NULL;
	lock_give(&binds->lock);
	return has;
}

uint64_t file_binds_forget(struct file_binds *binds, uint64_t node)
{
	struct bound *bound;
	uint64_t target = 0;

	if (are_none(binds))
		return 0;
	lock_take(&binds->lock);
	bound = find(binds, node);
	if (bound != NULL) {
		HASH_DEL(binds->table, bound);
		atomic_fetch_sub(&binds->count, 1);
		target = bound->target == node ? 0 : bound->target;
		free(bound);
	}
	lock_give(&binds->lock);
	return target;
}
