/* SPDX-License-Identifier: Apache-2.0 */
/* Answers on their way to the kernel. */
#include "guest-fuse/mount/kernel/reply.h"

#include <errno.h>
#include <linux/fuse.h>
#include <string.h>

#include "guest-fuse/mount/kernel/thread.h"
#include "guest-fuse/mount/kernel/threads.h"
#include "guest-fuse/mount/kernel/uring.h"
#include "guest-fuse/mount/known/validity.h"
#include "guest-fuse/mount/mount-options.h"
#include "guest-fuse/mount/server/server.h"
#include "protocol/faults.h"

/* Of flags2; not in the headers of Linux 6.1. */
#define REPLY_HAS_EXPIRE_ONLY (UINT64_C(1) << 35)
#define REPLY_ALLOW_IDMAP     (UINT64_C(1) << 40)

/*
 * Flags that libfuse 3.14 cannot ask for. Only what the kernel offered: it ends the connection after an answer with
 * other bits. HANDLE_KILLPRIV_V2: the server clears setuid bits and capabilities, and the kernel need not look for
 * security.capability before each write. PARALLEL_DIROPS: libfuse 3.14 accepts the wish and does not send it; without
 * it a look-up that hangs on the host would stop every other one in its directory.
 */
static void patch_init(const struct client *client, bool uring, struct fuse_init_out *out)
{
	uint64_t wanted = FUSE_HANDLE_KILLPRIV_V2 | FUSE_PARALLEL_DIROPS;

	/* The kernel maps ids only when it checks permissions itself. */
	if (!client->options->permissions_host && (client->init_flags & FUSE_INIT_EXT) != 0)
		wanted |= REPLY_ALLOW_IDMAP;
	if (uring)
		wanted |= URING_INIT_FLAG;
	wanted &= client->init_flags;
	out->flags |= (uint32_t) wanted;
	if (wanted >> 32 != 0) {
		out->flags |= FUSE_INIT_EXT;
		out->flags2 |= (uint32_t) (wanted >> 32);
	}
}

static ssize_t reply_init(struct thread *thread, const struct iovec *iov, int count)
{
	struct client *client = thread->client;
	struct fuse_init_out out;
	struct iovec patched[2] = { iov[0], { .iov_base = &out, .iov_len = sizeof(out) } };
	bool uring = false;
	ssize_t n;

	if (count == 2 && iov[1].iov_len == sizeof(out)) {
		uring = client->options->uring && (client->init_flags & FUSE_INIT_EXT) != 0 &&
		        (client->init_flags & URING_INIT_FLAG) != 0 && threads_make_uring(client->threads);
		memcpy(&out, iov[1].iov_base, sizeof(out));
		patch_init(client, uring, &out);
		iov = patched;
	}
	client->validity->expires = (client->init_flags & REPLY_HAS_EXPIRE_ONLY) != 0;
	n = writev(thread->request.device, iov, count);
	if (n > 0 && uring && threads_use_uring(client->threads) < 0)
		return n;
	if (n > 0 && ((const struct fuse_out_header *) iov[0].iov_base)->error == 0) {
		atomic_store(&client->initialized, true);
		server_wake(client->server);
	}
	return n;
}

ssize_t reply_write(struct uring_entry *entry, int device, const struct iovec *iov, int count)
{
	return entry != NULL ? uring_answer(entry, iov, count) : writev(device, iov, count);
}

ssize_t reply_send(struct thread *thread, const struct iovec *iov, int count)
{
	const struct fuse_out_header *out = iov[0].iov_base;

	if (!request_answer(&thread->request, out->unique)) {
		errno = ENOENT;
		return -1;
	}
	if (request_header(&thread->request)->opcode == FUSE_INIT)
		return reply_init(thread, iov, count);
	return FAULT(MOUNT_FUSE_REPLY, reply_write(thread->request.entry, thread->request.device, iov, count));
}
