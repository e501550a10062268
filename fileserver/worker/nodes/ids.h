/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From the numbers on the wire to objects. Only the gate, which asks whether an object may be used so, and what makes
 * the session include this.
 */
#pragma once

#include "fileserver/worker/nodes/nodes.h"

/* Pins a node by its id; -ESTALE for an id that is not there. Undone by nodes_put(). */
int nodes_get(struct nodes *nodes, uint64_t id, struct node **ret_node);
/* Pins a handle by id: -EBADF for an id that is not there. Undone by nodes_handle_put(). */
int nodes_handle(struct nodes *nodes, uint64_t id, struct handle **ret_handle);
