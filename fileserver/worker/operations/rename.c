/* SPDX-License-Identifier: Apache-2.0 */
/* RENAME. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "fileserver/worker/host/durable.h"
#include "fileserver/worker/host/entries.h"
#include "fileserver/worker/operations/handlers.h"
#include "fileserver/worker/host/lift.h"
#include "fileserver/worker/host/link-owners.h"
#include "fileserver/worker/host/reach.h"
#include "fileserver/worker/leases/leases.h"
#include "fileserver/worker/operations/remove.h"
#include "fileserver/worker/operations/whiteout.h"
#include "protocol/cleanup.h"
#include "protocol/faults.h"

static int rename_flags(uint32_t flags)
{
	return (flags & PROTO_RENAME_NOREPLACE) != 0  ? RENAME_NOREPLACE
	       : (flags & PROTO_RENAME_EXCHANGE) != 0 ? RENAME_EXCHANGE
	                                              : 0;
}

static int rename_lifted(struct session *session, const struct pinned *from, const struct pinned *to,
                         const struct worker_rename *request)
{
	struct lift lift = LIFT_INIT(session);
	int r;

	do
		r = FAULT(WORKER_RENAME, renameat2(from->fd.fd, request->name, to->fd.fd, request->new_name,
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
 * Renames, and leaves a whiteout at the old name if that was asked for. same: both names are one object's, so nothing
 * happens. If the whiteout fails, the rename is undone, unless it replaced an object.
 */
static int rename_leaving(struct session *session, const struct pinned *from, const struct pinned *to,
                          const struct worker_rename *request, bool replaces, bool same)
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
	r = whiteout_place(session, whiteout, from, request->name);
	if (r < 0 && !replaces) {
		struct lift lift = LIFT_INIT(session);
		int back;

		do
			back = renameat2(to->fd.fd, request->new_name, from->fd.fd, request->name, RENAME_NOREPLACE) < 0
			               ? -errno
			               : 0;
		while (lift_again(&lift, back));
	}
	return r;
}

/* Moves the recorded owners of links to the other directory. back: the object exchanged for it, or NULL. */
static void rename_links(struct session *session, const struct pinned *from, const struct pinned *to,
                         const struct statx *moved, const struct statx *back)
{
	if (from->node == to->node)
		return;
	link_owners_move(session, from->fd.fd, to->fd.fd, moved);
	if (back != NULL)
		link_owners_move(session, to->fd.fd, from->fd.fd, back);
}

/* What the guest was told of an object that has this name now is as before, but for ctime. */
static void rename_told(struct session *session, const struct pinned *to, const char *name, const struct statx *before)
{
	struct statx after;

	if (session->leases != NULL && !S_ISDIR(before->stx_mode) && leases_is_told(session->leases, before) &&
	    reach_stat_name(session, to->fd.fd, name, &after) == 0)
		leases_renamed(session->leases, before, &after);
}

static void changed_directories(struct session *session, const struct pinned *from, const struct pinned *to,
                                struct proto_rename_reply *ret_reply)
{
	entries_changed(session, from, &ret_reply->parent);
	if (from->node != to->node) {
		entries_changed(session, to, &ret_reply->new_parent);
		return;
	}
	ret_reply->new_parent = ret_reply->parent;
	if (!to->leased)
		ret_reply->new_parent.flags &= ~(uint32_t) PROTO_ATTR_LEASED;
}

static int rename_between(struct session *session, const struct pinned *from, const struct pinned *to,
                          const struct worker_rename *request, struct proto_rename_reply *ret_reply)
{
	_cleanup_close_ int leaving = -EBADF;
	bool exchange = (request->flags & PROTO_RENAME_EXCHANGE) != 0, replaces;
	struct statx moved, replaced;
	int r = reach_stat_name(session, from->fd.fd, request->name, &moved);

	if (r < 0)
		return r;
	replaces = reach_stat_name(session, to->fd.fd, request->new_name, &replaced) == 0;
	if (replaces && !exchange)
		leaving = remove_pin(session, to, request->new_name, &replaced);
	r = rename_leaving(session, from, to, request, replaces, replaces && same_object(&moved, &replaced));
	if (r < 0)
		return r;
	/* With two names of one object rename(2) does nothing. */
	if (!replaces || !same_object(&moved, &replaced)) {
		if (replaces && !exchange)
			nodes_orphan(session->nodes, &replaced, to->node, request->new_name, TAKE_FD(leaving));
		if (replaces && !exchange && replaced.stx_nlink <= 1)
			link_owners_forget(session, to->fd.fd, &replaced);
		nodes_moved(session->nodes, &moved, from->node, request->name, to->node, request->new_name);
		if (exchange && replaces)
			nodes_moved(session->nodes, &replaced, to->node, request->new_name, from->node, request->name);
		rename_links(session, from, to, &moved, exchange && replaces ? &replaced : NULL);
		rename_told(session, to, request->new_name, &moved);
		if (exchange && replaces)
			rename_told(session, from, request->name, &replaced);
	}
	ret_reply->node = nodes_find(session->nodes, &moved);
	ret_reply->replaced = replaces ? nodes_find(session->nodes, &replaced) : 0;
	changed_directories(session, from, to, ret_reply);
	r = durable_names(session, to->fd.fd);
	return r < 0 || from->node == to->node ? r : durable_names(session, from->fd.fd);
}

int worker_rename(struct call *call, const struct worker_rename *request, struct proto_rename_reply *ret_reply)
{
	struct session *session = call->session;
	struct pinned *from = request->parent;
	int r = 0;

	/* The whiteout is a new object. */
	if ((request->flags & PROTO_RENAME_WHITEOUT) != 0)
		r = space_claim_name(&session->space, from->node, from->fd.fd, &from->claim);
	return r < 0 ? r : rename_between(session, from, request->new_parent, request, ret_reply);
}
