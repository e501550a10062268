/* SPDX-License-Identifier: Apache-2.0 */
/* Operations that remove a name: UNLINK and RMDIR. */
#include "fileserver/worker/operations/remove.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "fileserver/worker/host/durable.h"
#include "fileserver/worker/host/entries.h"
#include "fileserver/worker/operations/handlers.h"
#include "fileserver/worker/host/lift.h"
#include "fileserver/worker/host/link-owners.h"
#include "fileserver/worker/host/reach.h"
#include "protocol/cleanup.h"
#include "protocol/faults.h"

int remove_pin(struct session *session, const struct pinned *directory, const char *name, const struct statx *stx)
{
	struct statx found;
	int fd = nodes_needs_pin(session->nodes, stx) ? reach_pin(session, directory->fd.fd, name) : -EBADF;

	/* The host may have put another object there meanwhile. */
	if (fd >= 0 && (reach_stat(session, fd, &found) < 0 ||
	                nodes_find(session->nodes, &found) != nodes_find(session->nodes, stx)))
		fd = close_fd(fd);
	return fd < 0 ? -EBADF : fd;
}

static int remove_name(struct session *session, const struct pinned *directory, const char *name, int flags,
                       uint64_t *ret_node, struct proto_attr *ret_parent)
{
	struct lift lift = LIFT_INIT(session);
	_cleanup_close_ int leaving = -EBADF;
	struct statx stx;
	int r = reach_stat_name(session, directory->fd.fd, name, &stx);

	if (r < 0)
		return r;
	leaving = remove_pin(session, directory, name, &stx);
	do
		r = FAULT(WORKER_UNLINK, unlinkat(directory->fd.fd, name, flags)) < 0 ? -errno : 0;
	while (lift_again(&lift, r));
	if (r < 0)
		return r;
	nodes_orphan(session->nodes, &stx, directory->node, name, TAKE_FD(leaving));
	if (stx.stx_nlink <= 1)
		link_owners_forget(session, directory->fd.fd, &stx);
	*ret_node = nodes_find(session->nodes, &stx);
	entries_changed(session, directory, ret_parent);
	return durable_names(session, directory->fd.fd);
}

int worker_unlink(struct call *call, const struct worker_unlink *request, struct proto_unlink_reply *ret_reply)
{
	return remove_name(call->session, request->parent, request->name, 0, &ret_reply->node, &ret_reply->parent);
}

int worker_rmdir(struct call *call, const struct worker_rmdir *request, struct proto_rmdir_reply *ret_reply)
{
	return remove_name(call->session, request->parent, request->name, AT_REMOVEDIR, &ret_reply->node,
	                   &ret_reply->parent);
}
