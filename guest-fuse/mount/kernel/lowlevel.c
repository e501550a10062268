/* SPDX-License-Identifier: Apache-2.0 */
/* The kernel's side of a mount: libfuse's low-level session over the threads' own descriptors. */
#define FUSE_USE_VERSION 314
#include "guest-fuse/mount/kernel/lowlevel.h"

#include <errno.h>
#include <fcntl.h>
#include <fuse_lowlevel.h>
#include <linux/fuse.h>
#include <unistd.h>

#include "guest-fuse/mount/kernel/counts.h"
#include "guest-fuse/mount/kernel/interrupts.h"
#include "guest-fuse/mount/kernel/notifier.h"
#include "guest-fuse/mount/kernel/operations.h"
#include "guest-fuse/mount/kernel/raw.h"
#include "guest-fuse/mount/kernel/reply.h"
#include "guest-fuse/mount/kernel/thread.h"
#include "guest-fuse/mount/kernel/unheard.h"
#include "guest-fuse/mount/known/held.h"
#include "guest-fuse/mount/known/objects.h"
#include "guest-fuse/mount/mount-options.h"
#include "guest-fuse/mount/server/server.h"
#include "guest-fuse/mount/server/stale.h"
#include "protocol/cleanup.h"
#include "protocol/faults.h"

enum { BACKGROUND_MAX = 32 };

/* What libfuse sends: replies, and notifications, which have unique 0. */
static ssize_t write_out(int fd, struct iovec *iov, int count, void *userdata)
{
	const struct fuse_out_header *out = iov[0].iov_base;
	struct thread *thread = thread_current();

	if (out->unique != 0 && thread != NULL)
		return reply_send(thread, iov, count);
	return writev(thread != NULL ? thread->device : fd, iov, count);
}

/* libfuse demands it and never calls it: the threads read by themselves. */
static ssize_t read_in(int fd, void *buffer, size_t size, void *userdata)
{
	return read(fd, buffer, size);
}

static void set_up(void *userdata, struct fuse_conn_info *conn)
{
	const struct client *client = userdata;

	/*
	 * ATOMIC_O_TRUNC would lose the truncation of an open that needs no message; AUTO of READDIRPLUS costs a LOOKUP
	 * for each entry; locks are this kernel's alone.
	 */
	conn->want = conn->capable & (FUSE_CAP_ASYNC_READ | FUSE_CAP_AUTO_INVAL_DATA | FUSE_CAP_READDIRPLUS |
	                              FUSE_CAP_PARALLEL_DIROPS | FUSE_CAP_ASYNC_DIO);
	/* A symbolic link never changes: what the host puts in its place is another object. */
	if (client->options->leases)
		conn->want |= conn->capable & FUSE_CAP_CACHE_SYMLINKS;
	conn->max_write = PROTO_DATA_MAX;
	conn->max_background = BACKGROUND_MAX;
	conn->congestion_threshold = BACKGROUND_MAX * 3 / 4;
}

int lowlevel_new(struct client *client)
{
	static const struct fuse_custom_io io = { .writev = write_out, .read = read_in };
	static char name[] = "bindshare-mount";
	struct fuse_lowlevel_ops ops;
	char *argv[] = { name, NULL };
	struct fuse_args args = FUSE_ARGS_INIT(1, argv);
	int fd;

	operations_fill(client, &ops);
	ops.init = set_up;
	client->fuse = FAULT_NULL(MOUNT_SESSION, fuse_session_new(&args, &ops, sizeof(ops), client));
	fuse_opt_free_args(&args);
	if (client->fuse == NULL)
		return -ENOMEM;
	/* libfuse closes the descriptor that it is given. */
	fd = fcntl(client->device, F_DUPFD_CLOEXEC, 3);
	if (fd < 0 || fuse_session_custom_io(client->fuse, &io, fd) != 0) {
		close_fd(fd);
		fuse_session_destroy(client->fuse);
		client->fuse = NULL;
		return -EINVAL;
	}
	return 0;
}

void lowlevel_free(struct client *client)
{
	if (client->fuse != NULL)
		fuse_session_destroy(client->fuse);
	client->fuse = NULL;
}

/* The second try of what was answered with ESTALE (server/stale.h). */
static bool is_second_try(const struct thread *thread)
{
	const struct fuse_in_header *in = request_header(&thread->request);
	struct client *client = thread->client;
	struct stale *stale = client->server->stale;

	return stale_is_awaited(stale) &&
	       stale_second_of(stale, in, objects_looked_up_at(client->objects, client_node(client, in->nodeid))) != 0;
}

static void process(struct thread *thread)
{
	struct fuse_buf buffer = { .size = thread->request.size, .mem = thread->request.buffer };
	struct client *client = thread->client;

	counts_add(client->counts, request_header(&thread->request)->opcode);
	if (!raw_process(thread))
		fuse_session_process_buf(client->fuse, &buffer);
}

void lowlevel_serve(struct thread *thread)
{
	struct request *request = &thread->request;
	struct client *client = thread->client;

	request_begin(request);
	request->events = held_now(client->held);
	request->anew = is_second_try(thread);
	interrupts_arrived_early(client->interrupts, request);
	process(thread);
	if (!request_end(request))
		unheard_end(thread);
	notifier_prune(client->notifier);
}
