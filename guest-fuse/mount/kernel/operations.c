/* SPDX-License-Identifier: Apache-2.0 */
/* The kernel's requests: what all of them share. */
#define FUSE_USE_VERSION 314
#include "guest-fuse/mount/kernel/operations.h"

#include <fcntl.h>
#include <stdlib.h>

#include "guest-fuse/mount/kernel/operations-internal.h"
#include "protocol/faults.h"

void operations_fill(const struct client *client, struct fuse_lowlevel_ops *ret_ops)
{
	*ret_ops = (struct fuse_lowlevel_ops){ .init = NULL };
	operations_fill_names(ret_ops);
	operations_fill_attributes(ret_ops);
	operations_fill_files(client, ret_ops);
	operations_fill_data(ret_ops);
	operations_fill_directories(ret_ops);
}

uint32_t operations_open_flags(int flags)
{
	uint32_t wanted = 0;

	if ((flags & O_ACCMODE) != O_WRONLY)
		wanted |= PROTO_OPEN_READ;
	if ((flags & O_ACCMODE) != O_RDONLY)
		wanted |= PROTO_OPEN_WRITE;
	if ((flags & O_TRUNC) != 0)
		wanted |= PROTO_OPEN_TRUNCATE;
	if ((flags & (O_CREAT | O_EXCL)) == (O_CREAT | O_EXCL))
		wanted |= PROTO_OPEN_EXCLUSIVE;
	if ((flags & O_SYNC) == O_SYNC)
		wanted |= PROTO_OPEN_SYNC;
	else if ((flags & O_DSYNC) != 0)
		wanted |= PROTO_OPEN_DSYNC;
	if ((flags & O_NOATIME) != 0)
		wanted |= PROTO_OPEN_NOATIME;
	return wanted;
}

void operations_look(struct lane *lane, struct proto_getattr_request *request, const struct operations_file *file)
{
	if (file != NULL) {
		request->node = file->node;
		request->handle = file->handle;
		return;
	}
	follow_look(lane, request->node);
	request->node = wire(lane, request->node);
}

void operations_give_back(struct client *client, uint64_t node, uint64_t references)
{
	if (forgets_add(&client->forgets, node, references))
		client_wake(client);
}

void operations_not_taken(struct client *client, uint64_t node)
{
	operations_give_back(client, node, objects_forget(client->objects, node, 1));
}

void operations_directory_changed(struct lane *lane, uint64_t node, const struct proto_attr *attr)
{
	objects_changed(lane->client->objects, node);
	if (attributes_check(attr) == 0)
		recent_put(&lane->client->recent, node, attr, atomic_load(&lane->since));
	else
		recent_drop(&lane->client->recent, node);
}

void operations_changed(struct lane *lane, uint64_t node)
{
	objects_changed(lane->client->objects, node);
	recent_drop(&lane->client->recent, node);
}

void operations_close(struct lane *lane, uint64_t handle)
{
	struct proto_release_request request = { .handle = handle };

	(void) rpc_release(lane, &request, NULL);
}

struct operations_file *operations_file_new(void)
{
	return FAULT_NULL(MOUNT_FILE, calloc(1, sizeof(struct operations_file)));
}

void operations_file_open(struct client *client, struct operations_file *file, uint64_t node, uint64_t handle,
                          int flags)
{
	*file = (struct operations_file){
		.handle = handle,
		.node = node,
		.writable = (flags & O_ACCMODE) != O_RDONLY,
		.mappable = (flags & O_ACCMODE) == O_RDWR,
		.sync = flags & O_SYNC,
		.buffered = (flags & O_DIRECT) == 0,
	};
	objects_in_use(client->objects, node, file->buffered, 1);
	if (file->mappable)
		objects_mappable(client->objects, node, 1);
}

void operations_file_used(struct client *client, struct operations_file *file)
{
	/* Several threads may use one file: dropped twice is dropped. */
	uint32_t drop = atomic_exchange_explicit(&file->drop, 0, memory_order_relaxed);

	if (drop != 0)
		objects_dropped(client->objects, file->node, drop);
}

void operations_file_free(struct client *client, struct operations_file *file)
{
	objects_in_use(client->objects, file->node, file->buffered, -1);
	if (file->mappable)
		objects_mappable(client->objects, file->node, -1);
	free(file);
}

int operations_created(struct lane *lane, uint64_t parent, const char *name, const struct proto_entry *entry,
                       uint64_t handle, int flags, struct operations_file *file)
{
	struct client *client = lane->client;
	int r = attributes_check(&entry->attr);

	if (r == 0 && !S_ISREG(entry->attr.mode))
		r = -EIO;
	if (r == 0)
		r = objects_learn(client->objects, parent, name, entry, 1);
	if (r == 0)
		objects_note_flags(client->objects, entry->node, entry->attr.flags, atomic_load(&lane->since));
	if (r < 0) {
		operations_give_back(client, entry->node, 1);
		operations_close(lane, handle);
		return r;
	}
	operations_file_open(client, file, entry->node, handle, flags);
	return 0;
}

void operations_not_created(struct lane *lane, const struct proto_entry *entry, struct operations_file *file)
{
	operations_not_taken(lane->client, entry->node);
	operations_close(lane, file->handle);
	operations_file_free(lane->client, file);
}
