/* SPDX-License-Identifier: Apache-2.0 */
/* Operations that change nothing: LOOKUP, FORGET, GETATTR, READLINK, ACCESS, STATFS, SYNCFS. */
#include <errno.h>
#include <fcntl.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "fileserver/common/resolve.h"
#include "fileserver/worker/host/attributes.h"
#include "fileserver/worker/host/entries.h"
#include "fileserver/worker/operations/handlers.h"
#include "fileserver/worker/host/lift.h"
#include "fileserver/worker/host/reach.h"
#include "protocol/cleanup.h"
#include "protocol/faults.h"

/*
 * A directory gets a descriptor at once: it may become a working directory without another request from the guest. So
 * does any other object while the host is changing names.
 */
int worker_lookup(struct call *call, const struct worker_lookup *request, struct proto_lookup_reply *ret_reply)
{
	struct session *session = call->session;
	const struct pinned *directory = request->parent;
	_cleanup_close_ int pinned = -EBADF;
	struct statx stx;
	int r = reach_stat_name(session, directory->fd.fd, request->name, &stx);

	if (r < 0)
		return r;
	if (S_ISDIR(stx.stx_mode) || nodes_names_move(session->nodes)) {
		pinned = reach_pin(session, directory->fd.fd, request->name);
		r = pinned < 0 ? pinned : reach_stat(session, pinned, &stx);
		if (r < 0)
			return r;
	}
	r = entries_learn(session, directory, request->name, &stx, pinned, &ret_reply->entry, NULL);
	if (r == 0)
		(void) TAKE_FD(pinned);
	return r;
}

int worker_forget(struct call *call, const struct worker_forget *request, struct proto_forget_reply *ret_reply)
{
	uint64_t node, count;

	for (uint32_t i = 0; i < request->forgets.count; i++) {
		proto_forgets_at(&request->forgets, i, &node, &count);
		nodes_forget(call->session->nodes, node, count);
	}
	return 0;
}

int worker_getattr(struct call *call, const struct worker_getattr *request, struct proto_getattr_reply *ret_reply)
{
	struct statx stx;
	int r = attributes_of(call->session, request->node->node, request->node->fd.fd, &ret_reply->attr, &stx);

	if (r == 0 && (stx.stx_mask & STATX_BTIME) != 0)
		ret_reply->btime = attributes_time(&stx.stx_btime);
	return r;
}

int worker_readlink(struct call *call, const struct worker_readlink *request, struct proto_readlink_reply *ret_reply)
{
	ssize_t n =
	        FAULT(WORKER_READLINK, readlinkat(request->node->fd.fd, "", ret_reply->target.text, PROTO_TARGET_MAX));

	if (n <= 0)
		return n < 0 ? -errno : -EINVAL;
	ret_reply->target.length = (size_t) n;
	return 0;
}

int worker_access(struct call *call, const struct worker_access *request, struct proto_access_reply *ret_reply)
{
	char path[RESOLVE_PATH_SIZE];

	if ((request->mask & ~(uint32_t) (R_OK | W_OK | X_OK)) != 0)
		return -EINVAL;
	if ((request->mask & W_OK) != 0 && session_is_read_only(call->session))
		return -EROFS;
	return access(resolve_path(request->node->fd.fd, path), (int) request->mask) < 0 ? -errno : 0;
}

int worker_statfs(struct call *call, const struct worker_statfs *request, struct proto_statfs_reply *ret_reply)
{
	struct statvfs st;

	if (FAULT(WORKER_SPACE, fstatvfs(request->node->fd.fd, &st)) < 0)
		return -errno;
	space_hide_reserve(&call->session->space, &st);
	ret_reply->statfs = (struct proto_statfs){
		.blocks = st.f_blocks,
		.bfree = st.f_bfree,
		.bavail = st.f_bavail,
		.files = st.f_files,
		.ffree = st.f_ffree,
		.bsize = (uint32_t) st.f_bsize,
		.namelen = (uint32_t) (st.f_namemax < PROTO_NAME_MAX ? st.f_namemax : PROTO_NAME_MAX),
		.frsize = (uint32_t) st.f_frsize,
	};
	return 0;
}

int worker_syncfs(struct call *call, const struct worker_syncfs *request, struct proto_syncfs_reply *ret_reply)
{
	struct lift lift = LIFT_INIT(call->session);
	_cleanup_close_ int fd = -EBADF;

	lift.record = true;
	do
		fd = resolve_reopen(request->node->fd.fd, O_RDONLY);
	while (lift_again(&lift, fd < 0 ? fd : 0));
	return fd < 0 ? fd : sync_wait(&call->session->sync, fd);
}
