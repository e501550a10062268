/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Binds of single files (guest-fuse/file-bind.h): files that go with their names. The kernel goes on to use the number
 * of the file that it bound, and this table tells which of the server's nodes stands for it now. kernel/rebind.h looks
 * the names up. Any thread.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "protocol/fields.h"

struct file_binds;

/* NULL: out of memory. */
struct file_binds *file_binds_new(void);
void file_binds_free(struct file_binds *binds);

/* node is a regular file that was bound, and this is its name. 0, also when it is there; or -ENOMEM. */
int file_binds_add(struct file_binds *binds, uint64_t node, uint64_t parent, const struct proto_name *name);
/* True: it is bound, and its name is to be looked up. */
bool file_binds_name(struct file_binds *binds, uint64_t node, uint64_t *ret_parent, struct proto_name *ret_name);
bool file_binds_has(struct file_binds *binds, uint64_t node);

struct file_binds_change {
	uint64_t unneeded[2]; /* nodes of which one look-up is to be given back; 0: none */
	bool invalidate;      /* owner, group or permissions are others: the kernel is to ask for the attributes */
};
/*
 * The look-up found entry, a regular file, with one look-up of ours: it stands for node from now on. Each target but
 * node itself, which the kernel holds, keeps one look-up.
 */
void file_binds_set(struct file_binds *binds, uint64_t node, const struct proto_entry *entry,
                    struct file_binds_change *ret_change);
/* Which of the server's nodes stands for one of the kernel's: itself, unless it is bound. */
uint64_t file_binds_target(struct file_binds *binds, uint64_t node);
/* The kernel is told these attributes of a node, in answer to a request that came at since (clock_ns()). */
void file_binds_told(struct file_binds *binds, uint64_t node, const struct proto_attr *attr, int64_t since);

/*
 * Whether what stands for a node may be opened, or changed, by the permission that the kernel has given for it. All who
 * use a node share what the kernel was told of it, and the answer to one comes in while another decides. So for ten
 * seconds after owner, group or permissions have changed, a file is opened only if it allows all that those before it
 * allowed; and a change, before which the kernel does not ask, waits until what it was told has been the same for a
 * while. True for every node that is not bound.
 */
bool file_binds_may_open(struct file_binds *binds, uint64_t node);
bool file_binds_may_change(struct file_binds *binds, uint64_t node);

/* The kernel has forgotten it. Returns the node that stood for it, of which one look-up is to be given back, or 0. */
uint64_t file_binds_forget(struct file_binds *binds, uint64_t node);
