/* SPDX-License-Identifier: Apache-2.0 */
/* The kernel's side of a mount: libfuse's low-level session over the lanes' own descriptors. */
#define FUSE_USE_VERSION 314
#include "guest-fuse/mount/kernel/lowlevel.h"

#include <errno.h>
#include <fcntl.h>
#include <fuse_lowlevel.h>
#include <linux/fuse.h>
#include <string.h>
#include <unistd.h>

#include "guest-fuse/mount/kernel/operations.h"
#include "guest-fuse/mount/kernel/raw.h"
#include "protocol/cleanup.h"
#include "protocol/faults.h"

/* Of flags2; not in the headers of Linux 6.1. */
#define SESSION_ALLOW_IDMAP (UINT64_C(1) << 40)

enum { BACKGROUND_MAX = 32 };

/*
 * What libfuse 3.14 cannot ask for. Only what the kernel offered: an answer with other bits ends the connection.
 * HANDLE_KILLPRIV_V2 saves a look-up of security.capability before each write: the server clears what is to be cleared.
 * PARALLEL_DIROPS: libfuse 3.14 takes the wish and forgets to say it, and then a look-up that hangs on the host would
 * stop every other in its directory.
 */
static void patch_init(const struct client *client, struct fuse_init_out *out)
{
	uint64_t wanted = FUSE_HANDLE_KILLPRIV_V2 | FUSE_PARALLEL_DIROPS;

	/* The kernel maps ids only when it is the one who checks permissions. */
	if (!client->options->permissions_host && (client->init_flags & FUSE_INIT_EXT) != 0)
		wanted |= SESSION_ALLOW_IDMAP;
	wanted &= client->init_flags;
	out->flags |= (uint32_t) wanted;
	if (wanted >> 32 != 0) {
		out->flags |= FUSE_INIT_EXT;
		out->flags2 |= (uint32_t) (wanted >> 32);
	}
}

static ssize_t reply_init(struct lane *lane, const struct iovec *iov, int count)
{
	struct client *client = lane->client;
	struct fuse_init_out out;
	struct iovec patched[2] = { iov[0], { .iov_base = &out, .iov_len = sizeof(out) } };
	ssize_t n;

	if (count == 2 && iov[1].iov_len == sizeof(out)) {
		memcpy(&out, iov[1].iov_base, sizeof(out));
		patch_init(client, &out);
		iov = patched;
	}
	n = writev(lane->device, iov, count);
	if (n > 0 && ((const struct fuse_out_header *) iov[0].iov_base)->error == 0) {
		atomic_store(&client->initialized, true);
		client_wake(client);
	}
	return n;
}

ssize_t session_reply(struct lane *lane, const struct iovec *iov, int count)
{
	const struct fuse_out_header *out = iov[0].iov_base;

	if (!lane_answer(lane, out->unique)) {
		errno = ENOENT;
		return -1;
	}
	if (lane_request(lane)->opcode == FUSE_INIT)
		return reply_init(lane, iov, count);
	return FAULT(MOUNT_FUSE_REPLY, writev(lane->device, iov, count));
}

/* libfuse's way out: replies, and notifications, which are known by unique 0. */
static ssize_t write_out(int fd, struct iovec *iov, int count, void *userdata)
{
	const struct fuse_out_header *out = iov[0].iov_base;
	struct lane *lane = lane_current();

	if (out->unique != 0 && lane != NULL)
		return session_reply(lane, iov, count);
	return writev(lane != NULL ? lane->device : fd, iov, count);
}

/* libfuse wants it but never calls it: the lanes read for themselves. */
static ssize_t read_in(int fd, void *buffer, size_t size, void *userdata)
{
	return read(fd, buffer, size);
}

static void set_up(void *userdata, struct fuse_conn_info *conn)
{
	/*
	 * ATOMIC_O_TRUNC would lose the truncation of an open that needs no message; AUTO of READDIRPLUS costs a LOOKUP
	 * for each entry; locks stay within this kernel; symbolic links can change on the host.
	 */
	conn->want = conn->capable & (FUSE_CAP_ASYNC_READ | FUSE_CAP_AUTO_INVAL_DATA | FUSE_CAP_READDIRPLUS |
	                              FUSE_CAP_PARALLEL_DIROPS | FUSE_CAP_ASYNC_DIO);
	conn->max_write = PROTO_DATA_MAX;
	conn->max_background = BACKGROUND_MAX;
	conn->congestion_threshold = BACKGROUND_MAX * 3 / 4;
}

int session_new(struct client *client)
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
	/* The session closes its descriptor at its end; the client keeps its own. */
	fd = fcntl(client->device, F_DUPFD_CLOEXEC, 3);
	if (fd < 0 || fuse_session_custom_io(client->fuse, &io, fd) != 0) {
		close_fd(fd);
		fuse_session_destroy(client->fuse);
		client->fuse = NULL;
		return -EINVAL;
	}
	return 0;
}

void session_free(struct client *client)
{
	if (client->fuse != NULL)
		fuse_session_destroy(client->fuse);
	client->fuse = NULL;
}

void session_process(struct lane *lane)
{
	struct fuse_buf buffer = { .size = lane->request_size, .mem = lane->buffer };
	struct client *client = lane->client;

	stats_count(&client->stats, lane_request(lane)->opcode);
	if (!raw_process(lane))
		fuse_session_process_buf(client->fuse, &buffer);
}
