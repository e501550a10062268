/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Contents that came with OPEN, given to the kernel before its READ (FUSE_NOTIFY_STORE): a READ would cost as much as
 * the OPEN.
 *
 * The kernel may make a thread wait here that answers requests, and must not wait for its answers. What it waits for
 * are the file's pages. Who fills them has the file open, also after close(2), until the last READ was answered: so
 * nothing is stored while anybody else has it open. And it takes what it is given for the contents of now, whatever
 * else it was told meanwhile: so whoever writes, who must have opened the file, whatever else was changed from here,
 * and whatever the server has told, is looked for after the pages are there. What happens later finds them.
 */
#include "guest-fuse/mount/kernel/store.h"

#include <linux/fuse.h>
#include <sys/uio.h>

#include "guest-fuse/mount/kernel/open-file.h"
#include "guest-fuse/mount/kernel/thread.h"
#include "guest-fuse/mount/kernel/threads.h"
#include "guest-fuse/mount/known/held.h"
#include "guest-fuse/mount/known/objects.h"
#include "protocol/cleanup.h"
#include "protocol/faults.h"
#include "protocol/messages.h"

static bool give(const struct client *client, uint64_t ino, const struct proto_data *data)
{
	struct fuse_notify_store_out out = { .nodeid = ino, .size = (uint32_t) data->length };
	struct fuse_out_header header = { .len = (uint32_t) (sizeof(header) + sizeof(out) + data->length),
		                          .error = FUSE_NOTIFY_STORE };
	const struct iovec iov[] = {
		{ .iov_base = &header, .iov_len = sizeof(header) },
		{ .iov_base = &out, .iov_len = sizeof(out) },
		{ .iov_base = (void *) data->bytes, .iov_len = data->length },
	};

	return FAULT(MOUNT_STORE, writev(client->device, iov, ARRAY_SIZE(iov))) >= 0;
}

enum store_result store_contents(struct thread *thread, uint64_t ino, const struct open_file *file, int64_t since,
                                 const struct proto_open_reply *reply)
{
	const uint32_t flags = reply->attr.flags & (PROTO_ATTR_KEEP | PROTO_ATTR_WRITERS);
	struct client *client = thread->client;
	uint32_t begun, now;

	/* Only under a lease on the contents: they may be read much later. */
	if (flags != PROTO_ATTR_KEEP || reply->data.length == 0 || reply->data.length != reply->attr.size ||
	    !file->buffered || !objects_is_open_once(client->objects, file->node, &begun))
		return STORE_NOTHING;
	if (FAULTS_BUILT) /* a test holds this thread back, and other requests must go on */
		threads_grow(client->threads);
	/* From here on whoever acts on an INVALIDATE has the kernel drop them. */
	objects_paged(client->objects, file->node);
	/* What was stored in part counts as well. */
	if (!give(client, ino, &reply->data))
		return STORE_DOUBTED;
	return objects_is_open_once(client->objects, file->node, &now) && now == begun &&
	                       objects_changed_at(client->objects, file->node) < since &&
	                       held_since(client->held, file->node, thread->request.events)
	               ? STORE_DONE
	               : STORE_DOUBTED;
}
