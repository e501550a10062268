/* SPDX-License-Identifier: Apache-2.0 */
/* An open regular file. */
#include "guest-fuse/mount/kernel/open-file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "guest-fuse/mount/kernel/effects.h"
#include "guest-fuse/mount/kernel/thread.h"
#include "guest-fuse/mount/known/attributes.h"
#include "guest-fuse/mount/known/kept.h"
#include "guest-fuse/mount/known/objects.h"
#include "guest-fuse/mount/server/server.h"
#include "protocol/faults.h"

uint32_t open_file_flags(int flags)
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

struct open_file *open_file_new(void)
{
	return FAULT_NULL(MOUNT_FILE, calloc(1, sizeof(struct open_file)));
}

void open_file_begin(struct client *client, struct open_file *file, uint64_t node, uint64_t handle, int flags)
{
	*file = (struct open_file){
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

void open_file_used(struct client *client, struct open_file *file)
{
	/* When several threads use the file at once, one of them reports it. */
	uint32_t drop = atomic_exchange_explicit(&file->drop, 0, memory_order_relaxed);

	if (drop != 0)
		objects_dropped(client->objects, file->node, drop);
}

void open_file_end(struct client *client, struct open_file *file)
{
	objects_in_use(client->objects, file->node, file->buffered, -1);
	if (file->mappable)
		objects_mappable(client->objects, file->node, -1);
	free(file);
}

void open_file_close(struct thread *thread, struct open_file *file)
{
	if (file->kept == NULL)
		effects_close(thread, file->handle);
	else
		kept_put(thread->client->kept, file->kept);
}

int open_file_created(struct thread *thread, uint64_t parent, const char *name, const struct proto_entry *entry,
                      uint64_t handle, int flags, struct open_file *file)
{
	struct client *client = thread->client;
	int r = attributes_check(&entry->attr);

	if (r == 0 && !S_ISREG(entry->attr.mode))
		r = -EIO;
	if (r == 0)
		r = objects_learn(client->objects, parent, name, entry, 1);
	if (r == 0)
		objects_note_flags(client->objects, entry->node, entry->attr.flags, request_since(&thread->request));
	if (r < 0) {
		server_give_back(client->server, entry->node, 1);
		effects_close(thread, handle);
		return r;
	}
	open_file_begin(client, file, entry->node, handle, flags);
	return 0;
}

void open_file_not_created(struct thread *thread, const struct proto_entry *entry, struct open_file *file)
{
	effects_not_taken(thread->client, entry->node);
	effects_close(thread, file->handle);
	open_file_end(thread->client, file);
}
