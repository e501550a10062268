/* SPDX-License-Identifier: Apache-2.0 */
/* What every operation needs; needs FUSE_USE_VERSION. */
#pragma once

#include <errno.h>
#include <fuse_lowlevel.h>

#include "guest-fuse/mount/kernel/effects.h"
#include "guest-fuse/mount/kernel/open-file.h"
#include "guest-fuse/mount/kernel/rebind.h"
#include "guest-fuse/mount/kernel/thread.h"
#include "guest-fuse/mount/known/attributes.h"
#include "guest-fuse/mount/known/file-binds.h"
#include "guest-fuse/mount/known/objects.h"
#include "guest-fuse/mount/known/validity.h"
#include "guest-fuse/mount/server/rpc.h"
#include "guest-fuse/mount/server/server.h"

static inline uint64_t wire(const struct thread *thread, fuse_ino_t ino)
{
	return rebind_target(thread->client, ino);
}

/* error: 0 or a negative errno. */
static inline void reply_error(fuse_req_t req, int error)
{
	(void) fuse_reply_err(req, -error);
}

static inline struct open_file *file_of(const struct fuse_file_info *fi)
{
	return (struct open_file *) (uintptr_t) fi->fh;
}

/*
 * The server's node that a change or a question is about. -ESTALE when the kernel may have permitted it by the
 * attributes of another target (file-binds.h).
 */
static inline int target_of(struct thread *thread, fuse_ino_t ino, uint64_t *ret_node)
{
	struct client *client = thread->client;

	return file_binds_may_change(client->file_binds, client_node(client, ino), ret_node) ? 0 : -ESTALE;
}

/* The owner of what is made. -EOVERFLOW in an id-mapped mount that has no number for the process. */
static inline int owner_of(fuse_req_t req, struct proto_owner *ret_owner)
{
	const struct fuse_ctx *ctx = fuse_req_ctx(req);

	*ret_owner = (struct proto_owner){ .uid = ctx->uid, .gid = ctx->gid };
	return ctx->uid == UINT32_MAX || ctx->gid == UINT32_MAX ? -EOVERFLOW : 0;
}

static inline void fill_entry(struct client *client, uint64_t directory, const struct proto_entry *entry,
                              const struct answer *answer, struct fuse_entry_param *ret_param)
{
	*ret_param = (struct fuse_entry_param){ .ino = entry->node };
	validity_entry(client->validity, directory, entry, answer, &ret_param->entry_timeout, &ret_param->attr_timeout);
	if (ret_param->attr_timeout > 0)
		ret_param->attr_timeout =
		        objects_keep(client->objects, client->validity, entry->node, &entry->attr, answer);
	file_binds_told(client->file_binds, entry->node, &entry->attr, answer->since);
	attributes_to_stat(&entry->attr, client->block_size, &ret_param->attr);
}

/* The same of what the server has just said. */
static inline void fill_entry_told(struct thread *thread, uint64_t directory, const struct proto_entry *entry,
                                   struct fuse_entry_param *ret_param)
{
	const struct answer answer = request_told(&thread->request);

	fill_entry(thread->client, directory, entry, &answer, ret_param);
}
