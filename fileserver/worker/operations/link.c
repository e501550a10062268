/* SPDX-License-Identifier: Apache-2.0 */
/* LINK. */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "fileserver/common/resolve.h"
#include "fileserver/worker/host/durable.h"
#include "fileserver/worker/host/entries.h"
#include "fileserver/worker/operations/handlers.h"
#include "fileserver/worker/host/lift.h"
#include "fileserver/worker/host/link-owners.h"
#include "fileserver/worker/operations/make.h"
#include "fileserver/worker/host/reach.h"
#include "protocol/faults.h"

/* Links by /proc/self/fd, which leads to the object itself: a symbolic link is linked, not followed. */
static int link_to(struct session *session, int fd, const struct pinned *directory, const char *name)
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

/* Fills the reply. If that fails, the new name is removed again. */
static int linked(struct session *session, struct node *node, int fd, const struct pinned *directory, const char *name,
                  struct proto_link_reply *ret_reply)
{
	struct statx stx;
	int r = reach_stat(session, fd, &stx);

	if (r == 0) {
		link_owners_copy(session, node, directory->fd.fd, &stx);
		r = durable_names(session, directory->fd.fd);
	}
	if (r == 0)
		r = entries_learn(session, directory, name, &stx, -EBADF, &ret_reply->entry, NULL);
	if (r == 0)
		entries_changed(session, directory, &ret_reply->parent);
	else
		make_undo(session, directory, name, 0);
	return r;
}

int worker_link(struct call *call, const struct worker_link *request, struct proto_link_reply *ret_reply)
{
	const struct pinned *object = request->node;
	int r = link_to(call->session, object->fd.fd, request->parent, request->name);

	return r < 0 ? r
	             : linked(call->session, object->node, object->fd.fd, request->parent, request->name, ret_reply);
}
