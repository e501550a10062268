/* SPDX-License-Identifier: Apache-2.0 */
/* The places of a node: the names under which the guest was told of it. The caller must hold the table's lock. */
#pragma once

#include "fileserver/worker/nodes/internal.h"

enum {
	/*
	 * A guest's kernel goes by a name for 1 s after it was told of it, then looks it up again. 10 s allow for slow
	 * requests.
	 */
	PLACE_TOLD_MS = 10000,
	/* Limit for one file. With more places within PLACE_TOLD_MS, the one that was told first is not checked. */
	PLACES_MAX = 64,
};

/* Under a lease a guest goes by a name until it is told otherwise. */
#define PLACE_LEASED INT64_MAX

int places_note(struct nodes *nodes, struct node *node, struct node *parent, const char *name)
        LOCK_HELD(nodes->lock); /* 0 or -ENOMEM */
void places_drop(struct nodes *nodes, struct node *node, const struct node *parent, const char *name)
        LOCK_HELD(nodes->lock);
void places_drop_all(struct nodes *nodes, struct node *node) LOCK_HELD(nodes->lock);
static inline struct node *places_parent(const struct node *node)
{
	return node->place == NULL ? NULL : node->place->parent;
}
