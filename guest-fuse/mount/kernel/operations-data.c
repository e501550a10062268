/* SPDX-License-Identifier: Apache-2.0 */
/* The operations on the contents of open files. */
#define FUSE_USE_VERSION 314
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fuse.h>
#include <unistd.h>

#include "guest-fuse/mount/kernel/notifier.h"
#include "guest-fuse/mount/kernel/operation.h"
#include "guest-fuse/mount/kernel/operations-parts.h"
#include "guest-fuse/mount/kernel/threads.h"
#include "guest-fuse/mount/known/ahead.h"
#include "guest-fuse/mount/known/objects.h"

enum { PAGE = 4096 }; /* the smallest that there are; with larger ones some more is asked for */

static void read_data(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset, struct fuse_file_info *fi)
{
	struct thread *thread = thread_current();
	struct proto_read_request request = {
		.handle = file_of(fi)->handle,
		.offset = (uint64_t) offset,
		.size = (uint32_t) (size < PROTO_DATA_MAX ? size : PROTO_DATA_MAX),
	};
	struct proto_read_reply reply = { .data.bytes = request_data(&thread->request) };
	struct client *client = thread->client;
	int r = 0;

	open_file_used(client, file_of(fi));
	objects_paged(client->objects, file_of(fi)->node);
	if (file_of(fi)->ahead == 0 ||
	    !ahead_get(client->ahead, file_of(fi)->ahead, objects_changed_at(client->objects, file_of(fi)->node),
	               request.offset, request.size, request_data(&thread->request), &reply.data.length))
		r = rpc_read_any(&thread->request, &request, &reply);
	if (r == 0)
		(void) fuse_reply_buf(req, reply.data.bytes, reply.data.length);
	else
		reply_error(req, r);
}

/* Contents were changed; attr: what the server says of the file afterwards. */
static int wrote(struct thread *thread, fuse_ino_t ino, const struct proto_attr *attr)
{
	int r = attributes_check(attr);

	if (r == 0)
		objects_wrote(thread->client->objects, wire(thread, ino), attr);
	return r;
}

/*
 * Under O_APPEND the server writes at the real end of the file. When this kernel took another place for the end, the
 * page cache has the bytes there. The notifier drops those pages: a thread that answers requests must not wait for
 * pages.
 */
static int appended(struct thread *thread, fuse_ino_t ino, uint64_t offset, const struct proto_write_reply *reply)
{
	struct client *client = thread->client;

	if (reply->attr.size == offset + reply->written)
		return wrote(thread, ino, &reply->attr);
	objects_unsure(client->objects, wire(thread, ino));
	notifier_invalidate(client->notifier, ino, offset, reply->written);
	return attributes_check(&reply->attr);
}

/*
 * Under O_SYNC, O_DSYNC, RWF_SYNC, RWF_DSYNC and the mount's option sync the kernel sends FSYNC after a write by way of
 * the page cache. Around it (FOPEN_DIRECT_IO, and an asynchronous write under O_DIRECT) it does not, but says so in the
 * request's flags. What the server's descriptor does anyway is not asked for.
 */
static uint32_t sync_flags(const struct open_file *file, const struct fuse_file_info *fi)
{
	int wanted = fi->flags & O_SYNC;

	if (fi->writepage || (!file->direct && (fi->flags & O_DIRECT) == 0) || (file->sync & wanted) == wanted)
		return 0;
	return wanted == O_SYNC ? PROTO_WRITE_SYNC : PROTO_WRITE_DSYNC;
}

/*
 * The kernel drops its pages before an asynchronous direct write and not after it (fs/fuse/file.c), so that a read in
 * between leaves old pages there. They are dropped before the writer gets its answer; when nobody has the file open for
 * such reads, nothing is done.
 */
static void wrote_directly(struct thread *thread, fuse_ino_t ino, uint64_t offset, uint32_t written)
{
	struct client *client = thread->client;

	if (written == 0 || !objects_read_buffered(client->objects, wire(thread, ino)))
		return;
	threads_grow(client->threads);
	if (!notifier_drop(client->notifier, ino, offset, written))
		objects_unsure(client->objects, wire(thread, ino));
}

/* A write up to there ends the file: the kernel keeps no page of which it has only a part. */
static bool ends_within_a_page(uint64_t end, const struct proto_attr *attr)
{
	return end == attr->size && end % PAGE != 0;
}

static void write_data(fuse_req_t req, fuse_ino_t ino, const char *bytes, size_t size, off_t offset,
                       struct fuse_file_info *fi)
{
	struct thread *thread = thread_current();
	const struct fuse_write_in *in = request_argument(&thread->request);
	bool append = (fi->flags & O_APPEND) != 0 && !fi->writepage;
	struct proto_write_request request = {
		.handle = file_of(fi)->handle,
		.offset = (uint64_t) offset,
		.flags = (append ? PROTO_WRITE_APPEND : 0U) | sync_flags(file_of(fi), fi),
		.data = { .length = size, .available = size, .bytes = bytes },
	};
	struct proto_write_reply reply;
	/* Before the server is asked: a program that is killed meanwhile has the file closed, and it is freed. */
	bool direct = file_of(fi)->direct || (fi->flags & O_DIRECT) != 0;
	int r;

	open_file_used(thread->client, file_of(fi));
	objects_paged(thread->client->objects, file_of(fi)->node);
	/* libfuse 3.14 does not pass this one on. */
	if ((in->write_flags & FUSE_WRITE_KILL_SUIDGID) != 0)
		request.flags |= PROTO_WRITE_KILL_PRIVILEGES;
	r = rpc_write(&thread->request, &request, &reply);
	if (r == 0 && reply.written > size)
		r = -EIO;
	if (r == 0)
		r = append ? appended(thread, ino, (uint64_t) offset, &reply) : wrote(thread, ino, &reply.attr);
	if (r == 0 && (fi->flags & O_DIRECT) != 0 && !fi->writepage)
		wrote_directly(thread, ino, (uint64_t) offset, reply.written);
	if (r == 0 && (direct || ends_within_a_page((uint64_t) offset + reply.written, &reply.attr)))
		objects_missing(thread->client->objects, wire(thread, ino));
	if (r == 0)
		(void) fuse_reply_write(req, reply.written);
	else
		reply_error(req, r);
}

static void allocate(fuse_req_t req, fuse_ino_t ino, int mode, off_t offset, off_t length, struct fuse_file_info *fi)
{
	struct thread *thread = thread_current();
	struct proto_fallocate_request request = {
		.handle = file_of(fi)->handle,
		.mode = (uint32_t) mode,
		.offset = (uint64_t) offset,
		.length = (uint64_t) length,
	};
	struct proto_fallocate_reply reply;
	int r = -EOPNOTSUPP;

	if (mode == 0 || mode == FALLOC_FL_KEEP_SIZE || mode == (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE) ||
	    (mode & ~FALLOC_FL_KEEP_SIZE) == FALLOC_FL_ZERO_RANGE)
		r = rpc_fallocate(&thread->request, &request, &reply);
	if (r == 0)
		r = wrote(thread, ino, &reply.attr);
	reply_error(req, r);
}

/* Takes the whole file for data, without asking for holes. */
static int seek_in_solid(struct thread *thread, uint64_t node, const struct proto_lseek_request *request,
                         uint64_t *ret_offset)
{
	struct proto_getattr_request get = { .node = node };
	struct proto_getattr_reply reply;
	int r = rpc_getattr(&thread->request, &get, &reply);

	if (r == 0 && request->offset >= reply.attr.size)
		r = -ENXIO;
	if (r == 0)
		*ret_offset = request->whence == SEEK_DATA ? request->offset : reply.attr.size;
	return r;
}

/* The kernel writes back meanwhile, which other threads serve. */
static bool flush_pages(struct client *client, fuse_ino_t ino)
{
	threads_grow(client->threads);
	return notifier_drop(client->notifier, ino, 0, 0);
}

/*
 * What was written through a mapping, and not sent yet, is data that the server does not know of. The kernel does not
 * write it back before it asks, so it is told to.
 */
static void seek(fuse_req_t req, fuse_ino_t ino, off_t offset, int whence, struct fuse_file_info *fi)
{
	struct thread *thread = thread_current();
	struct client *client = thread->client;
	struct proto_lseek_request request = {
		.handle = file_of(fi)->handle,
		.offset = (uint64_t) offset,
		.whence = (uint32_t) whence,
	};
	struct proto_lseek_reply reply;
	int r = offset < 0 ? -ENXIO : 0;

	if (r == 0 && objects_may_be_mapped(client->objects, wire(thread, ino)) && !flush_pages(client, ino))
		r = seek_in_solid(thread, wire(thread, ino), &request, &reply.offset);
	else if (r == 0)
		r = rpc_lseek(&thread->request, &request, &reply);
	if (r == 0)
		(void) fuse_reply_lseek(req, (off_t) reply.offset);
	else
		reply_error(req, r);
}

static void copy_range(fuse_req_t req, fuse_ino_t ino_in, off_t offset_in, struct fuse_file_info *fi_in,
                       fuse_ino_t ino_out, off_t offset_out, struct fuse_file_info *fi_out, size_t length, int flags)
{
	struct thread *thread = thread_current();
	struct proto_copy_range_request request = {
		.handle_in = file_of(fi_in)->handle,
		.offset_in = (uint64_t) offset_in,
		.handle_out = file_of(fi_out)->handle,
		.offset_out = (uint64_t) offset_out,
		.length = length,
	};
	struct proto_copy_range_reply reply;
	int r = flags != 0 ? -EINVAL : rpc_copy_range(&thread->request, &request, &reply);

	if (r == 0 && reply.copied > length)
		r = -EIO;
	if (r == 0)
		r = wrote(thread, ino_out, &reply.attr);
	if (r == 0)
		(void) fuse_reply_write(req, reply.copied);
	else
		reply_error(req, r);
}

void operations_fill_data(struct fuse_lowlevel_ops *ops)
{
	ops->read = read_data;
	ops->write = write_data;
	ops->fallocate = allocate;
	ops->lseek = seek;
	ops->copy_file_range = copy_range;
}
