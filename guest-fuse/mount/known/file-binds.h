/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bind mounts of single files (guest-fuse/file-bind.h), which must show what lies under the file's name now. The kernel
 * keeps using the node that was bound; this table says which of the server's nodes is its target, the file that has the
 * name now. kernel/rebind.h looks the names up. Any thread.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "protocol/fields.h"

struct file_binds;

/* NULL: out of memory. */
struct file_binds *file_binds_new(void);
void file_binds_free(struct file_binds *binds);

/* node, a regular file of this name, is bound from now on. 0, also when it was bound before; or -ENOMEM. */
int file_binds_add(struct file_binds *binds, uint64_t node, uint64_t parent, const struct proto_name *name);
/* True: it is bound, and this is the name to look up. */
bool file_binds_name(struct file_binds *binds, uint64_t node, uint64_t *ret_parent, struct proto_name *ret_name);
bool file_binds_has(struct file_binds *binds, uint64_t node);

struct file_binds_change {
	uint64_t unneeded[2]; /* nodes of which one look-up is to be given back; 0: none */
	bool invalidate;      /* owner, group or permissions differ: the kernel must ask for the attributes again */
};
/*
 * The name was looked up: entry, a regular file, is the target of node from now on. Each target holds one look-up
 * (objects.h), except node itself, which the kernel holds.
 */
void file_binds_set(struct file_binds *binds, uint64_t node, const struct proto_entry *entry,
                    struct file_binds_change *ret_change);
/* The target of a node: itself, unless it is bound. */
uint64_t file_binds_target(struct file_binds *binds, uint64_t node);
/* The kernel is told these attributes of a node, in answer to a request of since (clock_ns()). */
void file_binds_told(struct file_binds *binds, uint64_t node, const struct proto_attr *attr, int64_t since);

/*
 * Whether the target of a node may be opened, or changed, on the strength of a permission check that the kernel made
 * with the attributes of a node. All processes share the kernel's attributes of a node, and an answer to one process
 * may arrive while the kernel checks for another. So for ten seconds after owner, group or permissions have changed,
 * the target is opened only if it allows all that the targets before it allowed. The kernel does not ask for attributes
 * before it changes a file: a change is refused until they have been the same for a while. True for a node that is not
 * bound. *ret_target is the target that was decided about: another look-up may change it at any time.
 */
bool file_binds_may_open(struct file_binds *binds, uint64_t node, uint64_t *ret_target);
bool file_binds_may_change(struct file_binds *binds, uint64_t node, uint64_t *ret_target);

/* The kernel has forgotten node. Returns its target, of which one look-up is to be given back, or 0. */
uint64_t file_binds_forget(struct file_binds *binds, uint64_t node);
