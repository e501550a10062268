/* SPDX-License-Identifier: Apache-2.0 */
/* The operations that open and close regular files. */
#define FUSE_USE_VERSION 314
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mount.h>

#include "guest-fuse/mount/kernel/operation.h"
#include "guest-fuse/mount/kernel/operations-parts.h"
#include "guest-fuse/mount/kernel/scan.h"
#include "guest-fuse/mount/kernel/threads.h"
#include "guest-fuse/mount/known/ahead.h"
#include "guest-fuse/mount/known/held.h"
#include "guest-fuse/mount/known/kept.h"
#include "guest-fuse/mount/known/objects.h"
#include "guest-fuse/mount/mount-options.h"
#include "protocol/clock.h"
#include "protocol/faults.h"

/* Of flags2, since Linux 6.6; not in the headers of Linux 6.1. */
#define FILES_DIRECT_IO_ALLOW_MMAP (UINT64_C(1) << 36)

/*
 * Around the page cache, when a file is only written to. Through it, the kernel asks for an attribute of security
 * before it writes to a file for the first time, keeps pages that nobody may ever read, and cuts a write in two at the
 * end of a page that it does not hold: what another mount or the host appends could come in between. A kernel that
 * offers this flag also drops what the cache has of the pages before and after such a write.
 */
static bool writes_directly(const struct client *client, int flags)
{
	return (flags & O_ACCMODE) == O_WRONLY && (client->init_flags & FILES_DIRECT_IO_ALLOW_MMAP) != 0;
}

/*
 * node: the server's node that was opened, ino or its target. The page cache is kept when it holds the state that OPEN
 * found. When the kernel was told another size or time before, it drops what it knows, so that size and contents fit.
 * Only attributes are invalidated here: to invalidate pages could mean to wait for pages that this or another request
 * is to fill.
 */
static int opened(struct thread *thread, fuse_ino_t ino, uint64_t node, const struct proto_attr *attr,
                  struct open_file *file, struct fuse_file_info *fi)
{
	struct client *client = thread->client;
	struct objects_opened state;
	bool bound;
	int r = attributes_check(attr);

	if (r == 0)
		r = objects_opened(client->objects, node, attr, &state);
	if (r != 0)
		return r;
	bound = file_binds_has(client->file_binds, ino);
	fi->keep_cache = state.keep_cache && validity_contents(client->validity, ino);
	atomic_store_explicit(&file->drop, state.drop, memory_order_relaxed);
	/*
	 * Two targets of a bound file may be open at a time, and the kernel's pages would be of both: they are not
	 * used. sendfile(2) reads them all the same, so that they are dropped at each open.
	 */
	fi->direct_io = writes_directly(client, fi->flags) || bound;
	file_of(fi)->direct = fi->direct_io;
	/* The inode that keeps them, which is not ino where that is bound. */
	if (state.attr_differ)
		(void) fuse_lowlevel_notify_inval_inode(client->fuse, client_ino(client, node), -1, 0);
	return 0;
}

/*
 * How many bytes of a file to fetch with OPEN: all of a small file that is not in the page cache. A mount without a
 * cache asks the server at each read.
 */
static uint32_t wanted_ahead(const struct client *client, uint64_t node, int flags)
{
	uint64_t size;

	if ((flags & O_ACCMODE) != O_RDONLY || (flags & O_TRUNC) != 0 || !validity_ahead(client->validity))
		return 0;
	size = objects_unread(client->objects, node);
	return size <= AHEAD_SIZE ? (uint32_t) size : 0;
}

/* Opens of which all are alike at the server. */
static bool is_plain(const struct client *client, uint64_t node, int flags)
{
	const int other = O_TRUNC | O_APPEND | O_DIRECT | O_SYNC | O_NOATIME;

	return (flags & (O_ACCMODE | other)) == O_RDONLY && !client->options->permissions_host &&
	       !file_binds_has(client->file_binds, node);
}

/*
 * Opens the file for reading by a handle that was kept, without asking the server: nothing has changed since it was
 * opened, and the kernel has its contents and knows their size.
 */
static bool open_kept(struct client *client, uint64_t node, int flags, struct open_file *file)
{
	struct kept_file *kept = is_plain(client, node, flags) ? kept_take(client->kept, node) : NULL;

	if (kept == NULL)
		return false;
	if (!held_since(client->held, node, kept->events) ||
	    !objects_is_unchanged(client->objects, node, kept->since)) {
		kept_drop(client->kept, node);
		kept_put(client->kept, kept);
		return false;
	}
	open_file_begin(client, file, node, kept->handle, flags);
	file->kept = kept;
	return true;
}

/* The file was opened at the server: its handle serves later opens, if that is allowed. */
static void keep_open(struct thread *thread, struct open_file *file, const struct proto_attr *attr, int flags)
{
	const struct answer answer = request_told(&thread->request);
	struct client *client = thread->client;

	if ((attr->flags & PROTO_ATTR_KEEP) == 0 || !is_plain(client, file->node, flags))
		return;
	file->kept = kept_add(client->kept, file->node, file->handle, &answer, attr);
	/* What was invalidated before it was added was not dropped there. */
	if (!held_since(client->held, file->node, answer.events))
		kept_drop(client->kept, file->node);
}

static int open_at_server(struct thread *thread, const struct proto_open_request *request,
                          struct proto_open_reply *ret_reply)
{
	int r;

	/* Who else opens it meanwhile is not found out, and what was read before does not hold. */
	if ((request->flags & PROTO_OPEN_WRITE) != 0)
		kept_drop(thread->client->kept, request->node);
	r = rpc_open_data(&thread->request, request, ret_reply);
	if (r == -ENFILE) {
		effects_make_room(thread);
		r = rpc_open_data(&thread->request, request, ret_reply);
	}
	return r;
}

static void reply_opened(struct thread *thread, fuse_req_t req, int result, struct open_file *file,
                         const struct fuse_file_info *fi)
{
	if (result < 0)
		reply_error(req, result);
	else
		result = fuse_reply_open(req, fi);
	if (result < 0) {
		open_file_close(thread, file);
		open_file_end(thread->client, file);
	}
}

static void open_file(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct thread *thread = thread_current();
	struct client *client = thread->client;
	struct proto_open_request request = { .flags = open_file_flags(fi->flags) };
	struct open_file *file = open_file_new();
	int64_t since = clock_ns();
	struct proto_open_reply reply;
	int r = file == NULL ? -ENOMEM : 0;

	if (r == 0 && open_kept(client, client_node(client, ino), fi->flags, file)) {
		fi->fh = (uint64_t) (uintptr_t) file;
		fi->keep_cache = true;
		reply_opened(thread, req, 0, file, fi);
		return;
	}
	rebind_look(thread, ino);
	if (!file_binds_may_open(client->file_binds, client_node(client, ino), &request.node) && r == 0)
		r = -ESTALE;
	/* The server reads the host's file, so that noatime of this mount must be told to it. */
	if ((client->options->attributes & MOUNT_ATTR__ATIME) == MOUNT_ATTR_NOATIME)
		request.flags |= PROTO_OPEN_NOATIME;
	request.size = wanted_ahead(client, request.node, fi->flags);
	if (r == 0)
		r = open_at_server(thread, &request, &reply);
	if (r < 0) {
		free(file);
		reply_error(req, r);
		return;
	}
	open_file_begin(client, file, request.node, reply.handle, fi->flags);
	file->ahead = ahead_put(client->ahead, since, reply.data.bytes, reply.data.length,
	                        reply.data.length == reply.attr.size);
	fi->fh = (uint64_t) (uintptr_t) file;
	r = opened(thread, ino, request.node, &reply.attr, file, fi);
	if (r == 0)
		keep_open(thread, file, &reply.attr, fi->flags);
	if (FAULTS_BUILT) /* a test holds this thread back, and other requests must go on */
		threads_grow(client->threads);
	(void) FAULT(MOUNT_OPENED, 0);
	reply_opened(thread, req, r, file, fi);
}

static void create_file(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, struct fuse_file_info *fi)
{
	struct thread *thread = thread_current();
	struct proto_create_request request = {
		.parent = wire(thread, parent),
		.flags = open_file_flags(fi->flags),
		.mode = mode & 07777,
	};
	struct open_file *file = open_file_new();
	struct fuse_entry_param param;
	struct proto_create_reply reply;
	int r = file == NULL ? -ENOMEM : proto_name_set(&request.name, name);

	if (r == 0)
		r = owner_of(req, &request.owner);
	if (r == 0) {
		scan_changing(thread->client, request.parent, name);
		r = rpc_create(&thread->request, &request, &reply);
		if (r == -ENFILE) {
			effects_make_room(thread);
			r = rpc_create(&thread->request, &request, &reply);
		}
		scan_changed(thread->client, request.parent, name, false);
	}
	if (r == 0)
		r = open_file_created(thread, request.parent, name, &reply.entry, reply.handle, fi->flags, file);
	if (r != 0) {
		free(file);
		reply_error(req, r);
		return;
	}
	effects_directory_changed(thread, request.parent, &reply.parent);
	fi->fh = (uint64_t) (uintptr_t) file;
	(void) opened(thread, reply.entry.node, reply.entry.node, &reply.entry.attr, file, fi);
	fill_entry_told(thread, request.parent, &reply.entry, &param);
	if (fuse_reply_create(req, &param, fi) < 0)
		open_file_not_created(thread, &reply.entry, file);
}

static void release_file(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct open_file *file = file_of(fi);

	open_file_close(thread_current(), file);
	open_file_used(thread_current()->client, file);
	open_file_end(thread_current()->client, file);
	reply_error(req, 0);
}

static void sync_file(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi)
{
	struct proto_fsync_request request = { .handle = file_of(fi)->handle, .datasync = datasync != 0 };
	struct proto_fsync_reply reply;

	reply_error(req, rpc_fsync(&thread_current()->request, &request, &reply));
}

/*
 * Some file systems of hosts report a full disk or quota only when a file is closed, and the server closes it after the
 * guest has. There (the server says so) what was written goes to the disk before.
 */
static void flush_file(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct proto_fsync_request request = { .handle = file_of(fi)->handle, .datasync = 1 };
	struct proto_fsync_reply reply;

	reply_error(req, file_of(fi)->writable ? rpc_fsync(&thread_current()->request, &request, &reply) : 0);
}

void operations_fill_files(const struct client *client, struct fuse_lowlevel_ops *ops)
{
	/* Without a handler libfuse answers the first FLUSH with ENOSYS, and the kernel sends no more. */
	if (client->sync_at_close)
		ops->flush = flush_file;
	ops->open = open_file;
	ops->create = create_file;
	ops->release = release_file;
	ops->fsync = sync_file;
}
