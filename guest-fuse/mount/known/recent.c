/* SPDX-License-Identifier: Apache-2.0 */
/* Attributes of directories, from the answers to changes in them. */
#include "guest-fuse/mount/known/recent.h"

#include <pthread.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "guest-fuse/mount/known/validity.h"
#include "protocol/clock.h"
#include "protocol/lock.h"

struct recent {
	struct lock lock;
	struct recent_slot {
		uint64_t node;
		struct answer answer;
		int64_t answered; /* clock_ns() when the answer to the change came */
		struct proto_attr attr;
	} slots[RECENT_SLOTS];
};

struct recent *recent_new(void)
{
	struct recent *recent = calloc(1, sizeof(*recent));

	if (recent != NULL)
		lock_init(&recent->lock);
	return recent;
}

void recent_free(struct recent *recent)
{
	if (recent == NULL)
		return;
	lock_done(&recent->lock);
	free(recent);
}

static struct recent_slot *slot_of(struct recent *recent, uint64_t node)
{
	return &recent->slots[PROTO_ID_SLOT(node) % RECENT_SLOTS];
}

static bool older(const struct proto_time *left, const struct proto_time *right)
{
	return left->seconds < right->seconds ||
	       (left->seconds == right->seconds && left->nanoseconds < right->nanoseconds);
}

void recent_put(struct recent *recent, uint64_t node, const struct proto_attr *attr, const struct answer *answer)
{
	struct recent_slot *slot = slot_of(recent, node);

	if (!S_ISDIR(attr->mode))
		return;
	lock_take(&recent->lock);
	/*
	 * Of two changes at once the later state stays. Where the host's clock is too coarse to tell, a change that was
	 * sent after the other's answer is the later one; for two that overlapped neither is kept.
	 */
	if (slot->node != node || older(&slot->attr.ctime, &attr->ctime) || answer->since >= slot->answered)
		*slot = (struct recent_slot){ .node = node, .answer = *answer, .answered = clock_ns(), .attr = *attr };
	else if (!older(&attr->ctime, &slot->attr.ctime))
		slot->node = 0;
	lock_give(&recent->lock);
}

void recent_drop(struct recent *recent, uint64_t node)
{
	struct recent_slot *slot = slot_of(recent, node);

	lock_take(&recent->lock);
	if (slot->node == node)
		slot->node = 0;
	lock_give(&recent->lock);
}

bool recent_get(struct recent *recent, const struct validity *validity, uint64_t node, struct proto_attr *ret_attr,
                double *ret_left)
{
	struct recent_slot *slot = slot_of(recent, node);
	bool found;

	lock_take(&recent->lock);
	*ret_left =
	        slot->node == node && node != 0 ? validity_attributes(validity, node, &slot->attr, &slot->answer) : 0;
	found = *ret_left > 0;
	if (found)
		*ret_attr = slot->attr;
	lock_give(&recent->lock);
	return found;
}
