/* SPDX-License-Identifier: Apache-2.0 */
/* Has the kernel forget objects that it does not use. */
#define FUSE_USE_VERSION 314
#include "guest-fuse/mount/kernel/prune.h"

#include <errno.h>
#include <fuse_lowlevel.h>
#include <linux/fuse.h>
#include <sys/uio.h>
#include <unistd.h>

#include "guest-fuse/mount/kernel/client.h"
#include "guest-fuse/mount/known/file-binds.h"
#include "guest-fuse/mount/known/objects.h"
#include "protocol/cleanup.h"
#include "protocol/faults.h"

/* include/uapi/linux/fuse.h of Linux 6.18. */
enum { NOTIFY_PRUNE = 9 };

struct prune_out {
	uint32_t count, padding;
	uint64_t spare;
};

enum { PRUNE_AT_ONCE = 512 };

/* 0; or a negative errno: this kernel does not know the message. */
static int prune_by_id(const struct client *client, uint64_t *ids, size_t count)
{
	struct prune_out prune = { .count = (uint32_t) count };
	struct fuse_out_header out = { .len = (uint32_t) (sizeof(out) + sizeof(prune) + count * sizeof(*ids)),
		                       .error = NOTIFY_PRUNE };
	struct iovec iov[] = { { .iov_base = &out, .iov_len = sizeof(out) },
		               { .iov_base = &prune, .iov_len = sizeof(prune) },
		               { .iov_base = ids, .iov_len = count * sizeof(*ids) } };

	return FAULT(MOUNT_PRUNE, writev(client->device, iov, ARRAY_SIZE(iov))) < 0 ? -errno : 0;
}

static void prune_by_name(struct client *client, const uint64_t *ids, size_t count)
{
	struct proto_name name;
	uint64_t parent;

	for (size_t i = 0; i < count; i++) {
		if (!objects_place(client->objects, ids[i], &parent, &name) ||
		    file_binds_has(client->file_binds, ids[i]))
			continue;
		if (parent == client->root)
			parent = FUSE_ROOT_ID;
		(void) fuse_lowlevel_notify_inval_entry(client->fuse, parent, name.text, name.length);
	}
}

void prune(struct client *client)
{
	size_t left = objects_excess(client->objects);
	uint64_t ids[PRUNE_AT_ONCE];
	bool by_id = true;

	while (left > 0) {
		size_t count = objects_oldest(client->objects, by_id, ids, left < PRUNE_AT_ONCE ? left : PRUNE_AT_ONCE);

		if (count == 0)
			return;
		left -= count;
		if (by_id && prune_by_id(client, ids, count) < 0)
			by_id = false;
		if (!by_id)
			prune_by_name(client, ids, count);
	}
}
