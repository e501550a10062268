/* SPDX-License-Identifier: Apache-2.0 */
/* The table of nodes, for the files of this folder. What others may do with it is in nodes.h. */
#pragma once

#include "fileserver/worker/nodes/internal.h"

/* nodes_same() needs no lock: the identity of a node does not change. */
void nodes_release(struct nodes *nodes, struct node *node) LOCK_HELD(nodes->lock);
bool nodes_same(struct nodes *nodes, const struct node *node, const struct statx *stx);
