/* SPDX-License-Identifier: Apache-2.0 */
/* Requests that libfuse 3.14 does not know, or knows in a way that does not serve. */
#define FUSE_USE_VERSION 314
#include "guest-fuse/mount/kernel/raw.h"

#include <errno.h>
#include <fcntl.h>
#include <fuse_lowlevel.h>
#include <linux/fuse.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>

#include "guest-fuse/file-bind.h"
#include "guest-fuse/mount/known/attributes.h"
#include "guest-fuse/mount/client.h"
#include "guest-fuse/mount/kernel/interrupts.h"
#include "guest-fuse/mount/kernel/operations.h"
#include "guest-fuse/mount/server/rpc.h"
#include "guest-fuse/mount/kernel/lowlevel.h"

/* include/uapi/linux/fuse.h of Linux 6.6: what the oldest headers that this builds with do not have. */
enum { RAW_STATX = 52 };

struct raw_statx_in {
	uint32_t getattr_flags, reserved;
	uint64_t fh;
	uint32_t sx_flags, sx_mask;
};

struct raw_sx_time {
	int64_t tv_sec;
	uint32_t tv_nsec;
	int32_t reserved;
};

struct raw_statx {
	uint32_t mask, blksize;
	uint64_t attributes;
	uint32_t nlink, uid, gid;
	uint16_t mode, spare0;
	uint64_t ino, size, blocks, attributes_mask;
	struct raw_sx_time atime, btime, ctime, mtime;
	uint32_t rdev_major, rdev_minor, dev_major, dev_minor;
	uint64_t spare2[14];
};

struct raw_statx_out {
	uint64_t attr_valid;
	uint32_t attr_valid_nsec, flags;
	uint64_t spare[2];
	struct raw_statx stat;
};

/* The arguments are there in full. */
static bool has(const struct lane *lane, size_t size)
{
	return lane->request_size >= sizeof(struct fuse_in_header) + size;
}

/* error: 0 or a negative errno. 0, or -ENOENT when the kernel took the request back. */
static int reply(struct lane *lane, int error, const void *bytes, size_t size)
{
	struct fuse_out_header out = {
		.len = (uint32_t) (sizeof(out) + (error == 0 ? size : 0)),
		.error = error,
		.unique = lane_request(lane)->unique,
	};
	struct iovec iov[2] = { { .iov_base = &out, .iov_len = sizeof(out) },
		                { .iov_base = (void *) bytes, .iov_len = size } };

	return session_reply(lane, iov, error == 0 && size > 0 ? 2 : 1) < 0 ? -ENOENT : 0;
}

static void timeout_split(double timeout, uint64_t *ret_seconds, uint32_t *ret_nanoseconds)
{
	*ret_seconds = (uint64_t) timeout;
	*ret_nanoseconds = (uint32_t) ((timeout - (double) *ret_seconds) * 1e9);
}

static struct raw_sx_time sx_time(const struct proto_time *time)
{
	return (struct raw_sx_time){ .tv_sec = time->seconds, .tv_nsec = time->nanoseconds };
}

static void fill_statx(const struct client *client, double timeout, const struct proto_getattr_reply *from,
                       struct raw_statx_out *out)
{
	const struct proto_attr *attr = &from->attr;

	memset(out, 0, sizeof(*out));
	timeout_split(timeout, &out->attr_valid, &out->attr_valid_nsec);
	out->stat = (struct raw_statx){
		.mask = STATX_BASIC_STATS,
		.blksize = client->welcome.block_size,
		.nlink = attr->nlink,
		.uid = attr->uid,
		.gid = attr->gid,
		.mode = (uint16_t) attr->mode,
		.ino = attr->ino,
		.size = attr->size,
		.blocks = attr->blocks,
		.atime = sx_time(&attr->atime),
		.btime = sx_time(&from->btime),
		.ctime = sx_time(&attr->ctime),
		.mtime = sx_time(&attr->mtime),
		.rdev_major = major(attr->rdev),
		.rdev_minor = minor(attr->rdev),
	};
	if (from->btime.seconds != 0 || from->btime.nanoseconds != 0)
		out->stat.mask |= STATX_BTIME;
}

static void process_statx(struct lane *lane)
{
	const struct raw_statx_in *in = lane_argument(lane);
	struct client *client = lane->client;
	struct proto_getattr_request request = { .node = lane_request(lane)->nodeid };
	const struct operations_file *file = NULL;
	struct proto_getattr_reply answer;
	struct raw_statx_out out;
	int r = has(lane, sizeof(*in)) ? 0 : -EINVAL;

	if (r == 0 && (in->getattr_flags & FUSE_GETATTR_FH) != 0)
		file = (const struct operations_file *) (uintptr_t) in->fh;
	if (r == 0)
		operations_look(lane, &request, file);
	if (r == 0)
		r = rpc_getattr(lane, &request, &answer);
	if (r == 0)
		objects_note_flags(client->objects, request.node, answer.attr.flags, atomic_load(&lane->since));
	if (r == 0)
		r = attributes_check(&answer.attr);
	if (r == 0)
		r = objects_told(client->objects, request.node, &answer.attr);
	if (r == 0)
		follow_told(lane, lane_request(lane)->nodeid, &answer.attr);
	if (r == 0)
		fill_statx(client, follow_timeout(&client->follow, lane_request(lane)->nodeid, lane_keep(lane)),
		           &answer, &out);
	(void) reply(lane, r, &out, sizeof(out));
}

static void process_syncfs(struct lane *lane)
{
	struct proto_syncfs_request request = { .node = client_target(lane->client, lane_request(lane)->nodeid) };
	struct proto_syncfs_reply answer;

	(void) reply(lane, rpc_syncfs(lane, &request, &answer), NULL, 0);
}

static struct fuse_attr fuse_attr_of(const struct client *client, const struct proto_attr *attr)
{
	return (struct fuse_attr){
		.ino = attr->ino,
		.size = attr->size,
		.blocks = attr->blocks,
		.atime = (uint64_t) attr->atime.seconds,
		.mtime = (uint64_t) attr->mtime.seconds,
		.ctime = (uint64_t) attr->ctime.seconds,
		.atimensec = attr->atime.nanoseconds,
		.mtimensec = attr->mtime.nanoseconds,
		.ctimensec = attr->ctime.nanoseconds,
		.mode = attr->mode,
		.nlink = attr->nlink,
		.uid = attr->uid,
		.gid = attr->gid,
		.rdev = attr->rdev,
		.blksize = client->welcome.block_size,
	};
}

/* The same request as CREATE; the name in it means nothing. */
static void process_tmpfile(struct lane *lane)
{
	const struct fuse_in_header *header = lane_request(lane);
	const struct fuse_create_in *in = lane_argument(lane);
	struct client *client = lane->client;
	struct {
		struct fuse_entry_out entry;
		struct fuse_open_out open;
	} out = { .entry = { .nodeid = 0 } };
	struct proto_tmpfile_reply answer;
	struct operations_file *file = operations_file_new();
	int r = !has(lane, sizeof(*in)) ? -EINVAL : file == NULL ? -ENOMEM : 0;

	if (r == 0) {
		struct proto_tmpfile_request request = {
			.parent = client_node(client, header->nodeid),
			.flags = operations_open_flags((int) in->flags),
			.mode = in->mode & 07777,
			.owner = { .uid = header->uid, .gid = header->gid },
		};

		r = rpc_tmpfile(lane, &request, &answer);
		if (r == 0)
			r = operations_created(lane, request.parent, "", &answer.entry, answer.handle, (int) in->flags,
			                       file);
	}
	if (r == 0) {
		out.entry.nodeid = answer.entry.node;
		timeout_split(lane_keep(lane), &out.entry.attr_valid, &out.entry.attr_valid_nsec);
		out.entry.attr = fuse_attr_of(client, &answer.entry.attr);
		out.open.fh = (uint64_t) (uintptr_t) file;
		out.open.open_flags = client->options->no_cache ? 0 : FOPEN_KEEP_CACHE;
	}
	if (reply(lane, r, &out, sizeof(out)) < 0 && r == 0)
		operations_not_created(lane, &answer.entry, file);
	else if (r != 0)
		free(file);
}

/* The one that is ours; the kernel takes this answer to others for ENOTTY. */
static void process_ioctl(struct lane *lane)
{
	const struct fuse_in_header *header = lane_request(lane);
	const struct fuse_ioctl_in *in = lane_argument(lane);
	const struct fuse_ioctl_out out = { .result = 0 };
	const struct file_bind_argument *argument = (const void *) (in + 1);
	int r = !has(lane, sizeof(*in)) ? -EINVAL : in->cmd != (uint32_t) BINDSHARE_IOC_FILE_BIND ? -ENOSYS : 0;

	if (r == 0 &&
	    (!has(lane, sizeof(*in) + sizeof(*argument)) || !follow_knows_secret(&lane->client->follow, argument)))
		r = -EPERM;
	if (r == 0)
		r = follow_begin(lane, client_node(lane->client, header->nodeid));
	if (r == 0)
		follow_look(lane, client_node(lane->client, header->nodeid));
	if (r == 0)
		(void) fuse_lowlevel_notify_inval_inode(lane->client->fuse, header->nodeid, -1, 0);
	(void) reply(lane, r, &out, sizeof(out));
}

bool raw_process(struct lane *lane)
{
	const struct fuse_in_header *header = lane_request(lane);
	const struct fuse_interrupt_in *interrupt = lane_argument(lane);
	const struct fuse_init_in *init = lane_argument(lane);

	switch (header->opcode) {
	case FUSE_INTERRUPT:
		if (has(lane, sizeof(*interrupt)))
			interrupts_arrived(&lane->client->lanes, interrupt->unique);
		return true; /* has no reply */
	case FUSE_INIT:
		if (has(lane, 16))
			lane->client->init_flags = init->flags;
		if (has(lane, 20) && (init->flags & FUSE_INIT_EXT) != 0)
			lane->client->init_flags |= (uint64_t) init->flags2 << 32;
		return false;
	case FUSE_TMPFILE:
		process_tmpfile(lane);
		return true;
	case FUSE_SYNCFS:
		process_syncfs(lane);
		return true;
	case FUSE_IOCTL:
		process_ioctl(lane);
		return true;
	case RAW_STATX:
		process_statx(lane);
		return true;
	default:
		return false;
	}
}
