/* SPDX-License-Identifier: Apache-2.0 */
/* Requests that libfuse 3.14 does not know, or handles in a way that is of no use here. */
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
#include "guest-fuse/mount/kernel/effects.h"
#include "guest-fuse/mount/kernel/interrupts.h"
#include "guest-fuse/mount/kernel/open-file.h"
#include "guest-fuse/mount/kernel/rebind.h"
#include "guest-fuse/mount/kernel/reply.h"
#include "guest-fuse/mount/kernel/secret.h"
#include "guest-fuse/mount/kernel/thread.h"
#include "guest-fuse/mount/known/attributes.h"
#include "guest-fuse/mount/known/file-binds.h"
#include "guest-fuse/mount/known/objects.h"
#include "guest-fuse/mount/known/validity.h"
#include "guest-fuse/mount/server/rpc.h"

/* From include/uapi/linux/fuse.h of Linux 6.6: older headers, with which this builds, do not have it. */
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

/* The request is long enough for arguments of this size. */
static bool has(const struct thread *thread, size_t size)
{
	return thread->request.size >= sizeof(struct fuse_in_header) + size;
}

/* error: 0 or a negative errno. 0, or -ENOENT when the kernel took the request back. */
static int reply(struct thread *thread, int error, const void *bytes, size_t size)
{
	struct fuse_out_header out = {
		.len = (uint32_t) (sizeof(out) + (error == 0 ? size : 0)),
		.error = error,
		.unique = request_header(&thread->request)->unique,
	};
	struct iovec iov[2] = { { .iov_base = &out, .iov_len = sizeof(out) },
		                { .iov_base = (void *) bytes, .iov_len = size } };

	return reply_send(thread, iov, error == 0 && size > 0 ? 2 : 1) < 0 ? -ENOENT : 0;
}

static void split(double keep, uint64_t *ret_seconds, uint32_t *ret_nanoseconds)
{
	*ret_seconds = (uint64_t) keep;
	*ret_nanoseconds = (uint32_t) ((keep - (double) *ret_seconds) * 1e9);
}

static struct raw_sx_time sx_time(const struct proto_time *time)
{
	return (struct raw_sx_time){ .tv_sec = time->seconds, .tv_nsec = time->nanoseconds };
}

static void fill_statx(const struct client *client, double keep, const struct proto_getattr_reply *from,
                       struct raw_statx_out *out)
{
	const struct proto_attr *attr = &from->attr;

	memset(out, 0, sizeof(*out));
	split(keep, &out->attr_valid, &out->attr_valid_nsec);
	out->stat = (struct raw_statx){
		.mask = STATX_BASIC_STATS,
		.blksize = client->block_size,
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

static void process_statx(struct thread *thread)
{
	const struct fuse_in_header *header = request_header(&thread->request);
	const struct raw_statx_in *in = request_argument(&thread->request);
	struct client *client = thread->client;
	const uint64_t node = client_node(client, header->nodeid);
	struct proto_getattr_request request = { .node = header->nodeid };
	const struct open_file *file = NULL;
	struct proto_getattr_reply answer;
	struct raw_statx_out out;
	struct answer told;
	int r = has(thread, sizeof(*in)) ? 0 : -EINVAL;

	if (r == 0 && (in->getattr_flags & FUSE_GETATTR_FH) != 0)
		file = (const struct open_file *) (uintptr_t) in->fh;
	if (r == 0) {
		objects_asking(client->objects, node, 1);
		rebind_locate(thread, &request, file);
		r = rpc_getattr(&thread->request, &request, &answer);
		objects_asking(client->objects, node, -1);
	}
	if (r == 0)
		objects_note_flags(client->objects, request.node, answer.attr.flags, request_since(&thread->request));
	if (r == 0)
		r = attributes_check(&answer.attr);
	if (r == 0)
		r = objects_told(client->objects, request.node, &answer.attr);
	if (r == 0)
		file_binds_told(client->file_binds, header->nodeid, &answer.attr, request_since(&thread->request));
	told = request_told(&thread->request);
	if (r == 0)
		fill_statx(client, objects_keep(client->objects, client->validity, node, &answer.attr, &told), &answer,
		           &out);
	(void) reply(thread, r, &out, sizeof(out));
}

static void process_syncfs(struct thread *thread)
{
	struct proto_syncfs_request request = { .node = rebind_target(thread->client,
		                                                      request_header(&thread->request)->nodeid) };
	struct proto_syncfs_reply answer;

	(void) reply(thread, rpc_syncfs(&thread->request, &request, &answer), NULL, 0);
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
		.blksize = client->block_size,
	};
}

/* Has the form of CREATE, with a name that has no meaning. */
static void process_tmpfile(struct thread *thread)
{
	const struct fuse_in_header *header = request_header(&thread->request);
	const struct fuse_create_in *in = request_argument(&thread->request);
	struct client *client = thread->client;
	struct {
		struct fuse_entry_out entry;
		struct fuse_open_out open;
	} out = { .entry = { .nodeid = 0 } };
	struct proto_tmpfile_reply answer;
	struct open_file *file = open_file_new();
	struct answer told;
	int r = !has(thread, sizeof(*in)) ? -EINVAL : file == NULL ? -ENOMEM : 0;

	if (r == 0) {
		struct proto_tmpfile_request request = {
			.parent = client_node(client, header->nodeid),
			.flags = open_file_flags((int) in->flags),
			.mode = in->mode & 07777,
			.owner = { .uid = header->uid, .gid = header->gid },
		};

		r = rpc_tmpfile(&thread->request, &request, &answer);
		if (r == -ENFILE) {
			effects_make_room(thread);
			r = rpc_tmpfile(&thread->request, &request, &answer);
		}
		if (r == 0)
			r = open_file_created(thread, request.parent, "", &answer.entry, answer.handle, (int) in->flags,
			                      file);
	}
	if (r == 0) {
		out.entry.nodeid = answer.entry.node;
		told = request_told(&thread->request);
		split(objects_keep(client->objects, client->validity, answer.entry.node, &answer.entry.attr, &told),
		      &out.entry.attr_valid, &out.entry.attr_valid_nsec);
		out.entry.attr = fuse_attr_of(client, &answer.entry.attr);
		out.open.fh = (uint64_t) (uintptr_t) file;
		out.open.open_flags = validity_contents(client->validity, answer.entry.node) ? FOPEN_KEEP_CACHE : 0;
	}
	if (reply(thread, r, &out, sizeof(out)) < 0 && r == 0)
		open_file_not_created(thread, &answer.entry, file);
	else if (r != 0)
		free(file);
}

/* BINDSHARE_IOC_FILE_BIND. The kernel makes ENOTTY of the answer to others. */
static void process_ioctl(struct thread *thread)
{
	const struct fuse_in_header *header = request_header(&thread->request);
	const struct fuse_ioctl_in *in = request_argument(&thread->request);
	const struct fuse_ioctl_out out = { .result = 0 };
	const struct file_bind_argument *argument = (const void *) (in + 1);
	int r = !has(thread, sizeof(*in)) ? -EINVAL : in->cmd != (uint32_t) BINDSHARE_IOC_FILE_BIND ? -ENOSYS : 0;

	if (r == 0 &&
	    (!has(thread, sizeof(*in) + sizeof(*argument)) || !secret_matches(thread->client->secret, argument)))
		r = -EPERM;
	if (r == 0)
		r = rebind_begin(thread->client, client_node(thread->client, header->nodeid));
	if (r == 0)
		rebind_look(thread, client_node(thread->client, header->nodeid));
	/* From now on the kernel may keep no attributes of it, so that it need not be told again to drop them. */
	if (r == 0) {
		objects_kernel_told(thread->client->objects, client_node(thread->client, header->nodeid), false);
		(void) fuse_lowlevel_notify_inval_inode(thread->client->fuse, header->nodeid, -1, 0);
	}
	(void) reply(thread, r, &out, sizeof(out));
}

bool raw_process(struct thread *thread)
{
	const struct fuse_in_header *header = request_header(&thread->request);
	const struct fuse_interrupt_in *interrupt = request_argument(&thread->request);
	const struct fuse_init_in *init = request_argument(&thread->request);

	switch (header->opcode) {
	case FUSE_INTERRUPT:
		if (has(thread, sizeof(*interrupt)))
			interrupts_arrived(thread->client->interrupts, interrupt->unique);
		return true; /* has no reply */
	case FUSE_INIT:
		if (has(thread, 16))
			thread->client->init_flags = init->flags;
		if (has(thread, 20) && (init->flags & FUSE_INIT_EXT) != 0)
			thread->client->init_flags |= (uint64_t) init->flags2 << 32;
		return false;
	case FUSE_TMPFILE:
		process_tmpfile(thread);
		return true;
	case FUSE_SYNCFS:
		process_syncfs(thread);
		return true;
	case FUSE_IOCTL:
		process_ioctl(thread);
		return true;
	case RAW_STATX:
		process_statx(thread);
		return true;
	default:
		return false;
	}
}
