/* SPDX-License-Identifier: Apache-2.0 */
/* Descriptors of nodes within the budget. All with the table's lock held, unless they say otherwise. */
#pragma once

#include "fileserver/worker/nodes/internal.h"

/* The table's lock. Unlocking closes what was given up meanwhile. */
void nodes_lock(struct nodes *nodes) LOCK_TAKES(nodes->lock);
void nodes_unlock(struct nodes *nodes) LOCK_GIVES(nodes->lock);
/* Closed when the lock is let go. */
void nodes_close_later(struct nodes *nodes, int fd) LOCK_HELD(nodes->lock);

/* Closes a node's descriptor. */
void fds_drop(struct nodes *nodes, struct node *node) LOCK_HELD(nodes->lock);
/* Takes fd; closes it when the node has one. */
void fds_give(struct nodes *nodes, struct node *node, int fd) LOCK_HELD(nodes->lock);
/* The node has lost its last name. Takes fd, which may be -EBADF. */
void fds_orphan(struct nodes *nodes, struct node *node, int fd) LOCK_HELD(nodes->lock);
/* The node has a name (again). */
void fds_named(struct nodes *nodes, struct node *node) LOCK_HELD(nodes->lock);

/* The node's descriptor is used, or used no more: only one that nobody uses is in a list and may be closed. */
void fds_unlist(struct nodes *nodes, struct node *node) LOCK_HELD(nodes->lock);
void fds_list(struct nodes *nodes, struct node *node) LOCK_HELD(nodes->lock);
/* Closes the least used descriptors until one more fits; false when all are in use. */
bool fds_make_room(struct nodes *nodes) LOCK_HELD(nodes->lock);
/* Brings the counters of descriptors and handles up to date. */
void fds_show_counts(struct nodes *nodes) LOCK_HELD(nodes->lock);
