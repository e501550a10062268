/* SPDX-License-Identifier: Apache-2.0 */
/* Where the guest knows an object to be: with the table's lock held. */
#pragma once

#include "fileserver/worker/nodes/internal.h"

enum {
	/*
	 * A guest's kernel goes by a name for a second after it was told of it; then it looks it up again. Ten are for
	 * requests that were long on their way.
	 */
	PLACE_TOLD_MS = 10000,
	/* Of one file. When there are more within that time, the one that was told first is not looked at. */
	PLACES_MAX = 64,
};

int places_note(struct nodes *nodes, struct node *node, struct node *parent, const char *name)
        LOCK_HELD(nodes->lock); /* 0 or -ENOMEM */
void places_drop(struct nodes *nodes, struct node *node, const struct node *parent, const char *name)
        LOCK_HELD(nodes->lock);
void places_drop_all(struct nodes *nodes, struct node *node) LOCK_HELD(nodes->lock);
static inline struct node *places_parent(const struct node *node)
{
	return node->place == NULL ? NULL : node->place->parent;
}
