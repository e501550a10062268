/* SPDX-License-Identifier: Apache-2.0 */
/* Descriptors of nodes, within the budget. The caller must hold the table's lock where nothing else is said. */
#pragma once

#include "fileserver/worker/nodes/internal.h"

/* Take and release the table's lock. Unlocking closes the descriptors that were given up meanwhile. */
void nodes_lock(struct nodes *nodes) LOCK_TAKES(nodes->lock);
void nodes_unlock(struct nodes *nodes) LOCK_GIVES(nodes->lock);
/* Closes fd when the lock is released. */
void nodes_close_later(struct nodes *nodes, int fd) LOCK_HELD(nodes->lock);

/* Closes the node's descriptor, if it has one. */
void fds_drop(struct nodes *nodes, struct node *node) LOCK_HELD(nodes->lock);
/* Gives the node a descriptor; always takes over fd, and closes it if the node has one. */
void fds_give(struct nodes *nodes, struct node *node, int fd) LOCK_HELD(nodes->lock);
/* The node has lost its last name. Takes over fd, which may be -EBADF. */
void fds_orphan(struct nodes *nodes, struct node *node, int fd) LOCK_HELD(nodes->lock);
/* The node has a name (again). */
void fds_named(struct nodes *nodes, struct node *node) LOCK_HELD(nodes->lock);

/* A descriptor may be closed only while it is in a list: unlist it before it is used, list it after. */
void fds_unlist(struct nodes *nodes, struct node *node) LOCK_HELD(nodes->lock);
void fds_list(struct nodes *nodes, struct node *node) LOCK_HELD(nodes->lock);
/*
 * Closes the least recently used descriptors until one more fits. Returns false when all are in use. Those of orphans,
 * which could not be opened again, are closed only if orphans is set, or there are no handles that the guest can give
 * back (nodes_keeps()).
 */
bool fds_make_room(struct nodes *nodes, bool orphans) LOCK_HELD(nodes->lock);
/* Updates the counters of descriptors and handles. */
void fds_show_counts(struct nodes *nodes) LOCK_HELD(nodes->lock);
