/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of operations share; needs FUSE_USE_VERSION. */
#pragma once

#include <errno.h>
#include <fuse_lowlevel.h>

#include "guest-fuse/mount/known/attributes.h"
#include "guest-fuse/mount/kernel/operations.h"
#include "guest-fuse/mount/server/rpc.h"

static inline uint64_t wire(const struct lane *lane, fuse_ino_t ino)
{
	return client_target(lane->client, ino);
}

/* error: 0 or a negative errno. */
static inline void reply_error(fuse_req_t req, int error)
{
	(void) fuse_reply_err(req, -error);
}

static inline struct operations_file *file_of(const struct fuse_file_info *fi)
{
	return (struct operations_file *) (uintptr_t) fi->fh;
}

/*
 * The server's node that a change or a question by way of one of the kernel's is about. -ESTALE when the kernel has
 * permitted it by what was told of another file.
 */
static inline int target_of(struct lane *lane, fuse_ino_t ino, uint64_t *ret_node)
{
	*ret_node = wire(lane, ino);
	return follow_may_change(lane, ino) ? 0 : -ESTALE;
}

/* Who asks; the kernel knows no number for him in an id-mapped mount that leaves him out. */
static inline int owner_of(fuse_req_t req, struct proto_owner *ret_owner)
{
	const struct fuse_ctx *ctx = fuse_req_ctx(req);

	*ret_owner = (struct proto_owner){ .uid = ctx->uid, .gid = ctx->gid };
	return ctx->uid == UINT32_MAX || ctx->gid == UINT32_MAX ? -EOVERFLOW : 0;
}

static inline void fill_entry(struct lane *lane, const struct proto_entry *entry, struct fuse_entry_param *ret_param)
{
	struct client *client = lane->client;
	double keep = lane_keep(lane);

	*ret_param = (struct fuse_entry_param){
		.ino = entry->node,
		.attr_timeout = follow_timeout(&client->follow, entry->node, keep),
		.entry_timeout = keep,
	};
	follow_told(lane, entry->node, &entry->attr);
	attributes_to_stat(&entry->attr, client->welcome.block_size, &ret_param->attr);
}
