/* SPDX-License-Identifier: Apache-2.0 */
/* The operations that take names away or move them: unlink, rmdir, rename, link. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "fileserver/common/resolve.h"
#include "fileserver/worker/dispatch.h"
#include "fileserver/worker/durable.h"
#include "fileserver/worker/lift.h"
#include "fileserver/worker/links.h"
#include "fileserver/worker/tree.h"
#include "fileserver/worker/whiteout.h"
#include "protocol/cleanup.h"
#include "protocol/faults.h"

/* What is about to lose its name stays within reach: an O_PATH descriptor when it needs one, or -EBADF. */
static int pin_leaving(struct session *session, const struct tree_directory *directory, const char *name,
                       const struct statx *stx)
{
	struct statx found;
	int fd = nodes_needs_pin(session->nodes, stx) ? tree_pin_name(session, directory->fd.fd, name) : -EBADF;

	/* The host may have put another file there since. */
	if (fd >= 0 && (attributes_stat(session, fd, &found) < 0 ||
	                nodes_find(session->nodes, &found) != nodes_find(session->nodes, stx)))
		fd = close_fd(fd);
	return fd < 0 ? -EBADF : fd;
}

static int remove_name(struct lane *lane, uint64_t parent, const char *name, int flags, uint64_t *ret_node,
                       struct proto_attr *ret_parent)
{
	struct session *session = lane->session;
	_cleanup_close_ int leaving = -EBADF;
	struct tree_directory directory;
	struct statx stx;
	int r = tree_enter_to_change(lane, parent, &directory);

	if (r < 0)
		return r;
	r = attributes_stat_name(session, directory.fd.fd, name, &stx);
	if (r == 0) {
		struct lift lift = LIFT_INIT(session);

		leaving = pin_leaving(session, &directory, name, &stx);
		do
			r = FAULT(WORKER_UNLINK, unlinkat(directory.fd.fd, name, flags)) < 0 ? -errno : 0;
		while (lift_again(&lift, r));
	}
	if (r == 0) {
		nodes_orphan(session->nodes, &stx, directory.node, name, TAKE_FD(leaving));
		if (stx.stx_nlink <= 1)
			links_forget(session, directory.fd.fd, &stx);
		*ret_node = nodes_find(session->nodes, &stx);
		tree_changed(session, &directory, ret_parent);
		r = durable_names(session, &directory);
	}
	tree_leave(session, &directory);
	return r;
}

int worker_unlink(struct lane *lane, const struct proto_unlink_request *request, struct proto_unlink_reply *ret_reply)
{
	return remove_name(lane, request->parent, request->name.text, 0, &ret_reply->node, &ret_reply->parent);
}

int worker_rmdir(struct lane *lane, const struct proto_rmdir_request *request, struct proto_rmdir_reply *ret_reply)
{
	return remove_name(lane, request->parent, request->name.text, AT_REMOVEDIR, &ret_reply->node,
	                   &ret_reply->parent);
}

static int rename_flags(uint32_t flags)
{
	return (flags & PROTO_RENAME_NOREPLACE) != 0  ? RENAME_NOREPLACE
	       : (flags & PROTO_RENAME_EXCHANGE) != 0 ? RENAME_EXCHANGE
	                                              : 0;
}

static int rename_lifted(struct session *session, const struct tree_directory *from, const struct tree_directory *to,
                         const struct proto_rename_request *request)
{
	struct lift lift = LIFT_INIT(session);
	int r;

	do
		r = FAULT(WORKER_RENAME, renameat2(from->fd.fd, request->name.text, to->fd.fd, request->new_name.text,
		                                   (unsigned) rename_flags(request->flags))) < 0
		            ? -errno
		            : 0;
	while (lift_again(&lift, r));
	return r;
}

static bool same_object(const struct statx *left, const struct statx *right)
{
	return left->stx_ino == right->stx_ino && left->stx_dev_major == right->stx_dev_major &&
	       left->stx_dev_minor == right->stx_dev_minor;
}

/*
 * With a whiteout at the old name, when it is asked for. same: both names are one object's, so that nothing happens.
 * Where that fails, the name goes back, unless another object has lost it meanwhile.
 */
static int rename_leaving(struct session *session, const struct tree_directory *from, const struct tree_directory *to,
                          const struct proto_rename_request *request, bool replaces, bool same)
{
	_cleanup_close_ int whiteout = -EBADF;
	int r;

	if ((request->flags & PROTO_RENAME_WHITEOUT) == 0 || same)
		return rename_lifted(session, from, to, request);
	whiteout = whiteout_make(session, from);
	if (whiteout < 0)
		return whiteout;
	r = rename_lifted(session, from, to, request);
	if (r < 0)
		return r;
	r = whiteout_place(session, whiteout, from, request->name.text);
	if (r < 0 && !replaces) {
		struct lift lift = LIFT_INIT(session);
		int back;

		do
			back = renameat2(to->fd.fd, request->new_name.text, from->fd.fd, request->name.text,
			                 RENAME_NOREPLACE) < 0
			               ? -errno
			               : 0;
		while (lift_again(&lift, back));
	}
	return r;
}

/* The owners of links go along to another directory. back: what came from there, or NULL. */
static void rename_links(struct session *session, const struct tree_directory *from, const struct tree_directory *to,
                         const struct statx *moved, const struct statx *back)
{
	if (from->node == to->node)
		return;
	links_move(session, from->fd.fd, to->fd.fd, moved);
	if (back != NULL)
		links_move(session, to->fd.fd, from->fd.fd, back);
}

static int rename_between(struct session *session, const struct tree_directory *from, const struct tree_directory *to,
                          const struct proto_rename_request *request, struct proto_rename_reply *ret_reply)
{
	_cleanup_close_ int leaving = -EBADF;
	bool exchange = (request->flags & PROTO_RENAME_EXCHANGE) != 0, replaces;
	struct statx moved, replaced;
	int r = attributes_stat_name(session, from->fd.fd, request->name.text, &moved);

	if (r < 0)
		return r;
	replaces = attributes_stat_name(session, to->fd.fd, request->new_name.text, &replaced) == 0;
	if (replaces && !exchange)
		leaving = pin_leaving(session, to, request->new_name.text, &replaced);
	r = rename_leaving(session, from, to, request, replaces, replaces && same_object(&moved, &replaced));
	if (r < 0)
		return r;
	/* Two names of one object: rename(2) has done nothing. */
	if (!replaces || !same_object(&moved, &replaced)) {
		if (replaces && !exchange)
			nodes_orphan(session->nodes, &replaced, to->node, request->new_name.text, TAKE_FD(leaving));
		if (replaces && !exchange && replaced.stx_nlink <= 1)
			links_forget(session, to->fd.fd, &replaced);
		nodes_moved(session->nodes, &moved, from->node, request->name.text, to->node, request->new_name.text);
		if (exchange && replaces)
			nodes_moved(session->nodes, &replaced, to->node, request->new_name.text, from->node,
			            request->name.text);
		rename_links(session, from, to, &moved, exchange && replaces ? &replaced : NULL);
	}
	ret_reply->node = nodes_find(session->nodes, &moved);
	ret_reply->replaced = replaces ? nodes_find(session->nodes, &replaced) : 0;
	tree_changed(session, from, &ret_reply->parent);
	tree_changed(session, to, &ret_reply->new_parent);
	r = durable_names(session, to);
	return r < 0 || from->node == to->node ? r : durable_names(session, from);
}

int worker_rename(struct lane *lane, const struct proto_rename_request *request, struct proto_rename_reply *ret_reply)
{
	struct session *session = lane->session;
	bool makes = (request->flags & PROTO_RENAME_WHITEOUT) != 0;
	struct tree_directory from, to;
	int r = makes ? tree_enter_to_make(lane, request->parent, &from)
	              : tree_enter_to_change(lane, request->parent, &from);

	if (r < 0)
		return r;
	r = tree_enter_to_change(lane, request->new_parent, &to);
	if (r == 0) {
		r = rename_between(session, &from, &to, request, ret_reply);
		tree_leave(session, &to);
	}
	tree_leave(session, &from);
	return r;
}

/* By way of /proc/self/fd, which ends at the object itself: a symbolic link is linked, not followed. */
static int link_to(struct session *session, int fd, const struct tree_directory *directory, const char *name)
{
	struct lift lift = LIFT_INIT(session);
	char path[RESOLVE_PATH_SIZE];
	int r;

	(void) resolve_path(fd, path);
	do
		r = FAULT(WORKER_LINK, linkat(AT_FDCWD, path, directory->fd.fd, name, AT_SYMLINK_FOLLOW)) < 0 ? -errno
		                                                                                              : 0;
	while (lift_again(&lift, r));
	return r;
}

/* What cannot be told is taken back. */
static int linked(struct session *session, struct node *node, int fd, const struct tree_directory *directory,
                  const char *name, struct proto_link_reply *ret_reply)
{
	struct statx stx;
	int r = attributes_stat(session, fd, &stx);

	if (r == 0) {
		links_copy(session, node, directory->fd.fd, &stx);
		r = durable_names(session, directory);
	}
	if (r == 0)
		r = tree_entry(session, directory, name, &stx, -EBADF, &ret_reply->entry, NULL);
	if (r == 0)
		tree_changed(session, directory, &ret_reply->parent);
	else
		tree_unmake(session, directory, name, 0);
	return r;
}

int worker_link(struct lane *lane, const struct proto_link_request *request, struct proto_link_reply *ret_reply)
{
	struct session *session = lane->session;
	struct tree_directory directory;
	struct node *node;
	struct node_fd fd = { .fd = -EBADF };
	int r = nodes_get(session->nodes, request->node, &node);

	if (r < 0)
		return r;
	r = nodes_type(node) == S_IFDIR ? -EPERM : tree_check(lane, node);
	if (r == 0)
		r = nodes_fd(session->nodes, node, &fd);
	if (r < 0) {
		nodes_put(session->nodes, node);
		return r;
	}
	r = tree_enter_to_make(lane, request->parent, &directory);
	if (r == 0) {
		r = link_to(session, fd.fd, &directory, request->name.text);
		if (r == 0)
			r = linked(session, node, fd.fd, &directory, request->name.text, ret_reply);
		tree_leave(session, &directory);
	}
	nodes_fd_done(session->nodes, &fd);
	nodes_put(session->nodes, node);
	return r;
}
