/* SPDX-License-Identifier: Apache-2.0 */
/* The operations on attributes, extended ones too. */
#define FUSE_USE_VERSION 314
#include <linux/capability.h>
#include <linux/fuse.h>
#include <stdlib.h>
#include <string.h>
#include <sys/xattr.h>
#include <time.h>

#include "guest-fuse/mount/kernel/caller.h"
#include "guest-fuse/mount/kernel/operation.h"
#include "guest-fuse/mount/kernel/operations-parts.h"
#include "guest-fuse/mount/known/kept.h"
#include "guest-fuse/mount/known/objects.h"
#include "guest-fuse/mount/known/recent.h"
#include "guest-fuse/mount/mount-options.h"
#include "guest-fuse/mount/server/stale.h"
#include "guest-fuse/mount/server/thread-call.h"

enum { ATIME_SECONDS = 23 * 3600 /* relatime's day, and an hour between the clocks */ };

static void reply_attr(struct thread *thread, fuse_req_t req, fuse_ino_t ino, int result, const struct proto_attr *attr,
                       double keep)
{
	struct stat st;

	if (result < 0) {
		reply_error(req, result);
		return;
	}
	file_binds_told(thread->client->file_binds, ino, attr, request_since(&thread->request));
	attributes_to_stat(attr, thread->client->block_size, &st);
	(void) fuse_reply_attr(req, &st, keep);
}

/*
 * Told that a file has no name left, the kernel refuses link(2) without asking, though the name that it went by may
 * lead to another file by now.
 */
static bool is_linked_by_old_name(struct thread *thread, const struct proto_attr *attr)
{
	const struct fuse_in_header *header = request_header(&thread->request);

	if (attr->nlink > 0 || thread->request.anew || !thread_call_links((pid_t) header->pid))
		return false;
	stale_note(thread->client->server->stale, header);
	return true;
}

static bool is_later(const struct proto_time *left, const struct proto_time *right)
{
	return left->seconds > right->seconds ||
	       (left->seconds == right->seconds && left->nanoseconds > right->nanoseconds);
}

/* To read from the file moves its time of the last access (mount(8), relatime). */
static bool is_moved_by_reading(const struct proto_attr *attr)
{
	return !is_later(&attr->atime, &attr->mtime) || !is_later(&attr->atime, &attr->ctime) ||
	       time(NULL) - attr->atime.seconds >= ATIME_SECONDS;
}

/*
 * A file that is kept open is watched itself, so that its attributes hold as its contents do. After the kernel has read
 * from a file it asks for its attributes again, for the time of the last access.
 */
static bool is_known(const struct client *client, uint64_t node, struct proto_attr *ret_attr, double *ret_keep)
{
	struct kept_file file;
	struct answer answer;

	if (!kept_look(client->kept, node, &file) || is_moved_by_reading(&file.attr) ||
	    objects_changed_at(client->objects, node) >= file.since)
		return false;
	answer = (struct answer){ .since = file.since, .events = file.events };
	*ret_attr = file.attr;
	ret_attr->flags |= PROTO_ATTR_LEASED;
	*ret_keep = objects_keep(client->objects, client->validity, node, ret_attr, &answer);
	return *ret_keep > 0;
}

static void get_attributes(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct thread *thread = thread_current();
	struct proto_getattr_request request = { .node = ino };
	struct client *client = thread->client;
	const uint64_t node = client_node(client, ino);
	struct proto_getattr_reply reply = { .attr = { .flags = 0 } };
	struct answer answer;
	double keep;
	int r = 0;

	/* Of the inode that the kernel asks about, also where another file has the name of a bound one now. */
	objects_asking(client->objects, node, 1);
	rebind_locate(thread, &request, fi == NULL ? NULL : file_of(fi));
	if (!recent_get(client->recent, client->validity, request.node, &reply.attr, &keep) &&
	    (request.node != node || !is_known(client, node, &reply.attr, &keep))) {
		r = rpc_getattr(&thread->request, &request, &reply);
		if (r == 0)
			objects_note_flags(client->objects, request.node, reply.attr.flags,
			                   request_since(&thread->request));
		answer = request_told(&thread->request);
		keep = r < 0 ? 0 : objects_keep(client->objects, client->validity, node, &reply.attr, &answer);
	}
	objects_asking(client->objects, node, -1);
	if (r == 0)
		r = attributes_check(&reply.attr);
	if (r == 0)
		r = objects_told(client->objects, request.node, &reply.attr);
	if (r == 0 && is_linked_by_old_name(thread, &reply.attr))
		r = -ESTALE;
	reply_attr(thread, req, ino, r, &reply.attr, keep);
}

static struct proto_time time_of(const struct timespec *time)
{
	return (struct proto_time){ .seconds = time->tv_sec, .nanoseconds = (uint32_t) time->tv_nsec };
}

static void fill_setattr(struct thread *thread, const struct stat *attr, int to_set, struct proto_setattr *ret_set)
{
	static const struct {
		int fuse;
		uint32_t proto;
	} bits[] = {
		{ FUSE_SET_ATTR_MODE, PROTO_SET_MODE },
		{ FUSE_SET_ATTR_UID, PROTO_SET_UID },
		{ FUSE_SET_ATTR_GID, PROTO_SET_GID },
		{ FUSE_SET_ATTR_SIZE, PROTO_SET_SIZE },
		{ FUSE_SET_ATTR_ATIME, PROTO_SET_ATIME },
		{ FUSE_SET_ATTR_MTIME, PROTO_SET_MTIME },
		{ FUSE_SET_ATTR_ATIME_NOW, PROTO_SET_ATIME_NOW },
		{ FUSE_SET_ATTR_MTIME_NOW, PROTO_SET_MTIME_NOW },
	};
	const struct fuse_setattr_in *in = request_argument(&thread->request);

	*ret_set = (struct proto_setattr){
		.mode = attr->st_mode & 07777,
		.uid = attr->st_uid,
		.gid = attr->st_gid,
		.size = (uint64_t) attr->st_size,
		.atime = time_of(&attr->st_atim),
		.mtime = time_of(&attr->st_mtim),
	};
	for (size_t i = 0; i < sizeof(bits) / sizeof(bits[0]); i++)
		if ((to_set & bits[i].fuse) != 0)
			ret_set->valid |= bits[i].proto;
	/* libfuse 3.14 does not pass this flag on. The kernel sets it with a change of owner, too. */
	if ((in->valid & FATTR_KILL_SUIDGID) != 0)
		ret_set->valid |= PROTO_SET_KILL_PRIVILEGES;
	/* Fields that are not to be set may hold anything. */
	if ((to_set & FUSE_SET_ATTR_ATIME) == 0)
		ret_set->atime = (struct proto_time){ 0 };
	if ((to_set & FUSE_SET_ATTR_MTIME) == 0)
		ret_set->mtime = (struct proto_time){ 0 };
	if ((to_set & FUSE_SET_ATTR_SIZE) == 0)
		ret_set->size = 0;
}

/*
 * Under permissions=host the kernel does not check who may give a file away. If anybody could, there would be files
 * that look like another user's and that their maker may no longer change.
 */
static int may_give_away(const struct client *client, fuse_req_t req, const struct stat *attr, int to_set)
{
	const struct fuse_ctx *ctx = fuse_req_ctx(req);

	if (!client->options->permissions_host || (to_set & FUSE_SET_ATTR_UID) == 0)
		return 0;
	return attr->st_uid == ctx->uid || caller_has_capability(ctx->pid, CAP_CHOWN) ? 0 : -EPERM;
}

static void set_attributes(fuse_req_t req, fuse_ino_t ino, struct stat *attr, int to_set, struct fuse_file_info *fi)
{
	struct thread *thread = thread_current();
	struct proto_setattr_request request;
	struct proto_setattr_reply reply;
	struct answer answer;
	int r;

	request.handle = 0;
	r = target_of(thread, ino, &request.node);
	fill_setattr(thread, attr, to_set, &request.set);
	/* The handle is needed for the size only; that of an open with O_RDONLY|O_TRUNC cannot write. */
	if (fi != NULL && (to_set & FUSE_SET_ATTR_SIZE) != 0 && file_of(fi)->writable)
		request.handle = file_of(fi)->handle;
	if (r == 0)
		r = may_give_away(thread->client, req, attr, to_set);
	if (r == 0)
		r = rpc_setattr(&thread->request, &request, &reply);
	if (r == 0)
		r = attributes_check(&reply.attr);
	if (r == 0)
		r = objects_told_change(thread->client->objects, request.node, &reply.attr);
	if (r == 0 && (to_set & FUSE_SET_ATTR_SIZE) != 0)
		objects_wrote(thread->client->objects, request.node, &reply.attr);
	else if (r == 0)
		objects_touched(thread->client->objects, request.node, &reply.attr);
	answer = request_told(&thread->request);
	if (r == 0)
		recent_put(thread->client->recent, request.node, &reply.attr, &answer);
	reply_attr(thread, req, ino, r, &reply.attr, validity_changed(thread->client->validity, ino, &answer));
}

static void stat_file_system(fuse_req_t req, fuse_ino_t ino)
{
	struct thread *thread = thread_current();
	struct proto_statfs_request request = { .node = wire(thread, ino) };
	struct proto_statfs_reply reply;
	int r = rpc_statfs(&thread->request, &request, &reply);

	if (r == 0) {
		struct statvfs st = {
			.f_bsize = reply.statfs.bsize,
			.f_frsize = reply.statfs.frsize,
			.f_blocks = reply.statfs.blocks,
			.f_bfree = reply.statfs.bfree,
			.f_bavail = reply.statfs.bavail,
			.f_files = reply.statfs.files,
			.f_ffree = reply.statfs.ffree,
			.f_namemax = reply.statfs.namelen,
		};

		(void) fuse_reply_statfs(req, &st);
		return;
	}
	reply_error(req, r);
}

/* Only under permissions=host: else the kernel decides. */
static void check_access(fuse_req_t req, fuse_ino_t ino, int mask)
{
	struct thread *thread = thread_current();
	struct proto_access_request request = { .mask = (uint32_t) (mask & 7) };
	struct proto_access_reply reply;
	int r = target_of(thread, ino, &request.node);

	reply_error(req, r < 0 ? r : rpc_access(&thread->request, &request, &reply));
}

/*
 * The server keeps user.* and trusted.*, which the kernel has asked CAP_SYS_ADMIN for. Tools ask for security.selinux
 * and ACLs of each file that they list: the answer is known without a message. 0: ask the server.
 */
static int known_answer(const char *name)
{
	if (strncmp(name, "user.", 5) == 0)
		return name[5] == '\0' ? -EINVAL : 0;
	if (strncmp(name, "trusted.", 8) == 0)
		return name[8] == '\0' ? -EINVAL : 0;
	return -EOPNOTSUPP;
}

static bool is_bare(struct thread *thread, uint64_t node)
{
	return (objects_flags(thread->client->objects, thread->client->validity, node) & PROTO_ATTR_BARE) != 0;
}

/* Removes trusted.* from a list of names, which only some may see. Returns the new length. */
static size_t hide_trusted(char *names, size_t length)
{
	size_t kept = 0, size;

	for (size_t at = 0; at < length; at += size) {
		size = strnlen(names + at, length - at) + 1;
		if (at + size > length)
			break;
		if (strncmp(names + at, "trusted.", 8) != 0) {
			memmove(names + kept, names + at, size);
			kept += size;
		}
	}
	return kept;
}

static int xattr_name_set(struct proto_name *ret_name, const char *name)
{
	ret_name->length = strlen(name);
	if (ret_name->length > PROTO_NAME_MAX)
		return -ERANGE;
	memcpy(ret_name->text, name, ret_name->length + 1);
	return 0;
}

/* size 0 asks how much there is. */
static void reply_blob(fuse_req_t req, const struct proto_blob *blob, size_t size)
{
	if (size == 0)
		(void) fuse_reply_xattr(req, blob->length);
	else if (blob->length > size)
		reply_error(req, -ERANGE);
	else
		(void) fuse_reply_buf(req, blob->bytes, blob->length);
}

static void get_xattr(fuse_req_t req, fuse_ino_t ino, const char *name, size_t size)
{
	struct thread *thread = thread_current();
	struct proto_getxattr_request request = { .node = 0 };
	struct proto_getxattr_reply reply;
	int r = known_answer(name);

	if (r == 0)
		r = xattr_name_set(&request.name, name);
	if (r == 0)
		r = target_of(thread, ino, &request.node);
	if (r == 0 && is_bare(thread, request.node))
		r = -ENODATA;
	if (r == 0)
		r = rpc_getxattr(&thread->request, &request, &reply);
	if (r == 0)
		reply_blob(req, &reply.value, size);
	else
		reply_error(req, r);
}

/* XATTR_CREATE and XATTR_REPLACE together: one of them always fails. */
static int set_contradiction(struct thread *thread, const struct proto_setxattr_request *set)
{
	struct proto_getxattr_request request = { .node = set->node, .name = set->name };
	struct proto_getxattr_reply reply;
	int r = rpc_getxattr(&thread->request, &request, &reply);

	return r == 0 ? -EEXIST : r;
}

static void set_xattr(fuse_req_t req, fuse_ino_t ino, const char *name, const char *value, size_t size, int flags)
{
	struct thread *thread = thread_current();
	struct proto_setxattr_request request = { .value = { .length = size, .bytes = value } };
	struct proto_setxattr_reply reply;
	int r = known_answer(name);

	if (r == 0)
		r = xattr_name_set(&request.name, name);
	if (r == 0)
		r = target_of(thread, ino, &request.node);
	if (r == 0 && (flags & ~(XATTR_CREATE | XATTR_REPLACE)) != 0)
		r = -EINVAL;
	if (r == 0 && flags == (XATTR_CREATE | XATTR_REPLACE))
		r = set_contradiction(thread, &request);
	if (r == 0) {
		request.flags = flags == XATTR_CREATE    ? PROTO_XATTR_CREATE
		                : flags == XATTR_REPLACE ? PROTO_XATTR_REPLACE
		                                         : 0;
		r = rpc_setxattr(&thread->request, &request, &reply);
	}
	if (r == 0)
		effects_changed(thread, request.node);
	reply_error(req, r);
}

/* Removes names that the process may not see. They lie in the connection's memory. */
static void show_names(fuse_req_t req, struct proto_blob *names)
{
	bool trusted = names->length > 0 && memmem(names->bytes, names->length, "trusted.", 8) != NULL;

	if (trusted && !caller_has_capability(fuse_req_ctx(req)->pid, CAP_SYS_ADMIN))
		names->length = hide_trusted((char *) names->bytes, names->length);
}

static void list_xattrs(fuse_req_t req, fuse_ino_t ino, size_t size)
{
	struct thread *thread = thread_current();
	struct proto_listxattr_request request = { .node = 0 };
	struct proto_listxattr_reply reply = { .names = { .length = 0 } };
	int r = target_of(thread, ino, &request.node);

	if (r == 0 && !is_bare(thread, request.node))
		r = rpc_listxattr(&thread->request, &request, &reply);
	if (r == 0)
		show_names(req, &reply.names);
	if (r == 0)
		reply_blob(req, &reply.names, size);
	else
		reply_error(req, r);
}

static void remove_xattr(fuse_req_t req, fuse_ino_t ino, const char *name)
{
	struct thread *thread = thread_current();
	struct proto_removexattr_request request = { .node = 0 };
	struct proto_removexattr_reply reply;
	int r = known_answer(name);

	if (r == 0)
		r = xattr_name_set(&request.name, name);
	if (r == 0)
		r = target_of(thread, ino, &request.node);
	if (r == 0)
		r = rpc_removexattr(&thread->request, &request, &reply);
	if (r == 0)
		effects_changed(thread, request.node);
	reply_error(req, r);
}

void operations_fill_attributes(struct fuse_lowlevel_ops *ops)
{
	ops->getattr = get_attributes;
	ops->setattr = set_attributes;
	ops->statfs = stat_file_system;
	ops->access = check_access;
	ops->getxattr = get_xattr;
	ops->setxattr = set_xattr;
	ops->listxattr = list_xattrs;
	ops->removexattr = remove_xattr;
}
