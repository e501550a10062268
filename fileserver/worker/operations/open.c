/* SPDX-License-Identifier: Apache-2.0 */
/* Operations that open regular files: OPEN, CREATE, TMPFILE. */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "fileserver/common/resolve.h"
#include "fileserver/worker/host/attributes.h"
#include "fileserver/worker/host/durable.h"
#include "fileserver/worker/host/entries.h"
#include "fileserver/worker/operations/handlers.h"
#include "fileserver/worker/operations/io.h"
#include "fileserver/worker/host/lift.h"
#include "fileserver/worker/operations/make.h"
#include "fileserver/worker/host/ownership.h"
#include "fileserver/worker/host/reach.h"
#include "fileserver/worker/leases/leases.h"
#include "protocol/cleanup.h"

/* Makes a handle of a file for the access that PROTO_OPEN_* ask for. Takes over fd on success. */
static int open_handle(struct session *session, struct node *node, int fd, uint32_t flags,
                       const struct proto_attr *attr, uint64_t *ret_id)
{
	struct handle *handle;
	int r = nodes_open(session->nodes, node, fd, false, (flags & PROTO_OPEN_READ) != 0,
	                   (flags & PROTO_OPEN_WRITE) != 0, ret_id, &handle);

	if (r < 0)
		return r;
	leases_opened(session->leases, handle, &attr->mtime);
	nodes_handle_put(session->nodes, handle);
	return 0;
}

/* The file is open; before anything is read from it. */
static int begin_contents(struct session *session, struct pinned *file, int fd, uint32_t flags, bool others,
                          struct proto_attr *ret_attr, struct statx *ret_stx)
{
	int r = (flags & PROTO_OPEN_TRUNCATE) == 0 ? 0 : ownership_kill_privileges(session, file->fd.fd);

	if ((flags & PROTO_OPEN_WRITE) == 0)
		others = leases_others_write(session->leases, file->node, fd);
	if (r == 0 && (flags & PROTO_OPEN_TRUNCATE) != 0)
		r = durable_contents(session, fd);
	if (r == 0)
		r = attributes_of(session, file->node, fd, ret_attr, ret_stx);
	if (r == 0 && others)
		ret_attr->flags |= PROTO_ATTR_WRITERS;
	return r;
}

static int open_file(struct call *call, const struct worker_open *request, bool others,
                     struct proto_open_reply *ret_reply)
{
	struct session *session = call->session;
	struct pinned *file = request->node;
	_cleanup_close_ int opened = reach_open(session, file->fd.fd, request->flags);
	struct statx stx;
	bool held;
	int r;

	if (opened < 0)
		return opened;
	held = (request->flags & ~(uint32_t) PROTO_OPEN_NOATIME) == PROTO_OPEN_READ &&
	       leases_hold_contents(session->leases, file->node, opened);
	r = begin_contents(session, file, opened, request->flags, others, &ret_reply->attr, &stx);
	if (r < 0)
		return r;
	/* O_TRUNC has changed it. */
	if ((request->flags & PROTO_OPEN_TRUNCATE) == 0)
		leases_seen(session->leases, file->node, &stx);
	/* Gives the node's descriptor back first: it may have to make room for the handle's. */
	nodes_fd_done(session->nodes, &file->fd);
	/* After the attributes: contents older than these would be taken for current. */
	io_read_first(call, opened, request->size, &ret_reply->data);
	r = open_handle(session, file->node, opened, request->flags, &ret_reply->attr, &ret_reply->handle);
	if (r == 0)
		(void) TAKE_FD(opened);
	/*
	 * From here on who opens the file is found by its handle. A file system that is mounted in the share is not to
	 * be kept from being unmounted.
	 */
	if (r == 0 && held && nodes_on_root_device(session->nodes, &stx) &&
	    leases_has_contents(session->leases, file->node)) {
		ret_reply->attr.flags |= PROTO_ATTR_KEEP;
		nodes_keeps(session->nodes, ret_reply->handle);
	}
	return r;
}

int worker_open(struct call *call, const struct worker_open *request, struct proto_open_reply *ret_reply)
{
	struct leases *leases = call->session->leases;
	struct node *node = request->node->node;
	bool writes = (request->flags & PROTO_OPEN_WRITE) != 0, others = false;
	int r;

	if (request->size > PROTO_CHUNK || (request->size > 0 && (request->flags & PROTO_OPEN_READ) == 0))
		return -EINVAL;
	if (writes)
		others = leases_write_begin(leases, node, request->node->fd.fd);
	r = open_file(call, request, others, ret_reply);
	if (writes)
		leases_write_end(leases, node);
	return r;
}

/*
 * Opens a file that exists already, unless it is not a regular one. The caller owns *ret_pinned and *ret_fd.
 * *ret_others: whether others had it open for writing.
 */
static int open_existing(struct session *session, const struct pinned *directory, const char *name, uint32_t flags,
                         int *ret_pinned, int *ret_fd, bool *ret_others)
{
	_cleanup_close_ int pinned = reach_pin(session, directory->fd.fd, name);
	struct stat st;
	int fd;

	if (pinned < 0)
		return pinned;
	if (fstat(pinned, &st) < 0)
		return -errno;
	if (S_ISDIR(st.st_mode))
		return -EISDIR;
	fd = protect_object(&session->protect, st.st_dev, st.st_ino);
	if (fd < 0)
		return fd;
	*ret_others = (flags & PROTO_OPEN_WRITE) != 0 && leases_others_were(session->leases, directory->node, pinned);
	fd = reach_open(session, pinned, flags);
	if (fd < 0)
		return fd;
	*ret_fd = fd;
	*ret_pinned = TAKE_FD(pinned);
	return 0;
}

static int create_or_open(struct session *session, const struct worker_create *request,
                          struct proto_create_reply *ret_reply, int *ret_fd, struct node **ret_node, bool *ret_made,
                          bool *ret_others)
{
	struct pinned *directory = request->parent;
	const char *name = request->name;
	mode_t mode = (request->mode & 07777) | S_IFREG;
	_cleanup_close_ int pinned = -EBADF, fd = -EBADF;
	struct statx stx;
	bool made, full;
	int r;

	r = space_claim_name(&session->space, directory->node, directory->fd.fd, &directory->claim);
	fd = r < 0 ? r : reach_create(session, directory->fd.fd, name, reach_flags(request->flags) & ~O_TRUNC, mode);
	made = fd >= 0;
	if (made) {
		r = make_known(session, directory, name, fd, -EBADF, &request->owner, mode, 0, &ret_reply->entry,
		               &ret_reply->parent, ret_node);
		if (r < 0)
			make_undo(session, directory, name, 0);
	} else if ((fd == -EEXIST || fd == -ENOSPC) && (request->flags & PROTO_OPEN_EXCLUSIVE) == 0) {
		full = fd == -ENOSPC;
		r = open_existing(session, directory, name, request->flags, &pinned, &fd, ret_others);
		if (r == -ENOENT && full)
			r = -ENOSPC;
		if (r == 0 && (request->flags & PROTO_OPEN_TRUNCATE) != 0)
			r = durable_contents(session, fd);
		if (r == 0)
			r = reach_stat(session, fd, &stx);
		if (r == 0)
			r = entries_learn(session, directory, name, &stx, pinned, &ret_reply->entry, ret_node);
		if (r == 0) {
			(void) TAKE_FD(pinned);
			entries_changed(session, directory, &ret_reply->parent);
		}
	} else {
		r = fd;
	}
	if (r == 0) {
		*ret_made = made;
		*ret_fd = TAKE_FD(fd);
	}
	return r;
}

/* Makes the handle of a file that was created, or was there already. Takes over fd on success. */
static int created_handle(struct session *session, struct node *node, int fd, bool made, bool others,
                          const struct worker_create *request, struct proto_create_reply *ret_reply)
{
	bool writes = (request->flags & PROTO_OPEN_WRITE) != 0 && !made;
	int r;

	if (writes)
		others = leases_write_begun(session->leases, node, others);
	else
		others = !made && leases_others_write(session->leases, node, fd);
	if (others)
		ret_reply->entry.attr.flags |= PROTO_ATTR_WRITERS;
	r = open_handle(session, node, fd, request->flags, &ret_reply->entry.attr, &ret_reply->handle);
	if (writes)
		leases_write_end(session->leases, node);
	return r;
}

int worker_create(struct call *call, const struct worker_create *request, struct proto_create_reply *ret_reply)
{
	struct session *session = call->session;
	_cleanup_close_ int fd = -EBADF;
	struct node *node = NULL;
	bool made = false, others = false;
	int r = create_or_open(session, request, ret_reply, &fd, &node, &made, &others);

	if (r < 0)
		return r;
	r = created_handle(session, node, fd, made, others, request, ret_reply);
	if (r == 0) {
		(void) TAKE_FD(fd);
	} else {
		nodes_forget(session->nodes, ret_reply->entry.node, 1);
		if (made)
			make_undo(session, request->parent, request->name, 0);
	}
	nodes_put(session->nodes, node);
	return r;
}

/* Makes a file without a name, with lifting. */
static int create_unnamed(struct session *session, const struct pinned *directory, int flags, mode_t mode)
{
	struct lift lift = LIFT_INIT(session);
	int fd;

	do
		fd = resolve_create_unnamed(directory->fd.fd, flags, mode);
	while (lift_again(&lift, fd < 0 ? fd : 0));
	return fd;
}

int worker_tmpfile(struct call *call, const struct worker_tmpfile *request, struct proto_tmpfile_reply *ret_reply)
{
	struct session *session = call->session;
	mode_t mode = (request->mode & 07777) | S_IFREG;
	_cleanup_close_ int fd = -EBADF, pinned = -EBADF;
	struct proto_attr parent;
	struct node *node = NULL;
	struct statx stx;
	int r;

	fd = create_unnamed(session, request->parent, reach_flags(request->flags & ~(uint32_t) PROTO_OPEN_TRUNCATE),
	                    mode);
	r = fd < 0 ? fd
	           : make_known(session, request->parent, NULL, fd, -EBADF, &request->owner, mode, 0, &ret_reply->entry,
	                        &parent, NULL);
	if (r == 0)
		r = attributes_of(session, NULL, fd, &ret_reply->entry.attr, &stx);
	/* No name leads to it, and it outlives the handle if the guest holds an O_PATH descriptor. */
	if (r == 0)
		r = pinned = resolve_reopen(fd, O_PATH);
	if (r >= 0)
		r = nodes_learn(session->nodes, NULL, NULL, &stx, -EBADF, true, &node);
	if (r < 0)
		return r;
	r = open_handle(session, node, fd, request->flags, &ret_reply->entry.attr, &ret_reply->handle);
	if (r == 0) {
		(void) TAKE_FD(fd);
		nodes_orphan(session->nodes, &stx, NULL, NULL, TAKE_FD(pinned));
		ret_reply->entry.node = nodes_id(node);
	} else {
		nodes_forget(session->nodes, nodes_id(node), 1);
	}
	nodes_put(session->nodes, node);
	return r;
}
