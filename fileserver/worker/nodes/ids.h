/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From ids on the wire to objects. Only the gate, which decides whether an object may be used so, and the code that
 * makes the session include this.
 */
#pragma once

#include "fileserver/worker/nodes/nodes.h"

/* Pins the node of an id. Returns 0, or -ESTALE for an unknown id. Undone by nodes_put(). */
int nodes_get(struct nodes *nodes, uint64_t id, struct node **ret_node);
/* Pins the handle of an id. Returns 0, or -EBADF for an unknown id. Undone by nodes_handle_put(). */
int nodes_handle(struct nodes *nodes, uint64_t id, struct handle **ret_handle);
