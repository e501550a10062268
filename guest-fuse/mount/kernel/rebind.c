/* SPDX-License-Identifier: Apache-2.0 */
/* Looks up the names of bound files. */
#define FUSE_USE_VERSION 314
#include "guest-fuse/mount/kernel/rebind.h"

#include <errno.h>
#include <fuse_lowlevel.h>
#include <sys/stat.h>

#include "guest-fuse/mount/kernel/effects.h"
#include "guest-fuse/mount/kernel/open-file.h"
#include "guest-fuse/mount/kernel/thread.h"
#include "guest-fuse/mount/known/attributes.h"
#include "guest-fuse/mount/known/file-binds.h"
#include "guest-fuse/mount/known/objects.h"
#include "guest-fuse/mount/server/rpc.h"
#include "guest-fuse/mount/server/server.h"
#include "protocol/cleanup.h"

int rebind_begin(struct client *client, uint64_t node)
{
	struct proto_name name;
	uint64_t parent;

	if (!objects_place(client->objects, node, &parent, &name))
		return -ESTALE;
	return file_binds_add(client->file_binds, node, parent, &name);
}

static void retarget(struct client *client, uint64_t node, const struct proto_lookup_request *request,
                     const struct proto_entry *entry)
{
	struct file_binds_change change;

	if (attributes_check(&entry->attr) < 0 || !S_ISREG(entry->attr.mode) ||
	    objects_learn(client->objects, request->parent, request->name.text, entry, 1) < 0) {
		server_give_back(client->server, entry->node, 1);
		return;
	}
	file_binds_set(client->file_binds, node, entry, &change);
	if (change.invalidate)
		(void) fuse_lowlevel_notify_inval_inode(client->fuse, node, -1, 0);
	for (size_t i = 0; i < ARRAY_SIZE(change.unneeded); i++)
		if (change.unneeded[i] != 0)
			effects_not_taken(client, change.unneeded[i]);
}

void rebind_look(struct thread *thread, uint64_t node)
{
	struct proto_lookup_request request;
	struct proto_lookup_reply reply;

	if (file_binds_name(thread->client->file_binds, node, &request.parent, &request.name) &&
	    rpc_lookup(&thread->request, &request, &reply) == 0)
		retarget(thread->client, node, &request, &reply.entry);
}

void rebind_locate(struct thread *thread, struct proto_getattr_request *request, const struct open_file *file)
{
	if (file != NULL) {
		request->node = file->node;
		return;
	}
	rebind_look(thread, request->node);
	request->node = rebind_target(thread->client, request->node);
}

uint64_t rebind_target(const struct client *client, uint64_t ino)
{
	return file_binds_target(client->file_binds, client_node(client, ino));
}
