/* SPDX-License-Identifier: Apache-2.0 */
/* Operations that change nothing: LOOKUP, FORGET, GETATTR, READLINK, ACCESS, STATFS, SYNCFS. */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "fileserver/common/resolve.h"
#include "fileserver/worker/host/attributes.h"
#include "fileserver/worker/host/entries.h"
#include "fileserver/worker/operations/handlers.h"
#include "fileserver/worker/host/lift.h"
#include "fileserver/worker/host/reach.h"
#include "fileserver/worker/leases/leases.h"
#include "protocol/cleanup.h"
#include "protocol/faults.h"

/*
 * Whether the directory does not exist any more. Its name may lead to another one by now, in which the guest means to
 * look: its kernel is to look that up before it takes the name for missing.
 */
static bool is_removed(int directory)
{
	struct stat st;

	return fstat(directory, &st) == 0 && st.st_nlink == 0;
}

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

	if (r == -ENOENT && session->leases != NULL && !call->anew && is_removed(directory->fd.fd))
		return -ESTALE;
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

/*
 * Whether the attributes of what is no directory, as they are in *ret_stx, are leased: it is in a directory that is
 * watched, and that is its only name. The name must still lead there: an event about the last but one name may be on
 * its way.
 */
static bool is_leased_by_name(struct session *session, const struct pinned *object, struct statx *ret_stx)
{
	char name[PROTO_NAME_MAX + 1];
	struct node *directory;
	struct node_fd fd;
	bool leased = false;

	if (nodes_watched_name(session->nodes, object->node, &directory, name) < 0)
		return false;
	if (nodes_fd(session->nodes, directory, &fd) == 0) {
		leased = leases_hold(session->leases, directory, fd.fd) &&
		         reach_stat_name(session, fd.fd, name, ret_stx) == 0 && ret_stx->stx_nlink == 1 &&
		         nodes_find(session->nodes, ret_stx) == nodes_id(object->node);
		nodes_fd_done(session->nodes, &fd);
	}
	nodes_put(session->nodes, directory);
	return leased;
}

/* What is watched itself is leased whatever its names are. */
static bool is_leased_itself(struct session *session, const struct pinned *object)
{
	return S_ISDIR(nodes_type(object->node)) ? leases_hold(session->leases, object->node, object->fd.fd)
	                                         : leases_hold_file(session->leases, object->node, object->fd.fd);
}

int worker_getattr(struct call *call, const struct worker_getattr *request, struct proto_getattr_reply *ret_reply)
{
	struct session *session = call->session;
	const struct pinned *object = request->node;
	uint32_t told = leases_before_change(object->node);
	struct statx stx;
	bool by_name = session->leases != NULL && is_leased_by_name(session, object, &stx);
	bool itself = session->leases != NULL && !by_name && is_leased_itself(session, object);
	int r = 0;

	if (by_name)
		attributes_from(session, object->node, object->fd.fd, &stx, &ret_reply->attr);
	else
		r = attributes_of(session, object->node, object->fd.fd, &ret_reply->attr, &stx);

	if (r == 0 &&
	    (itself || ((by_name || told != 0) && leases_told(session->leases, object->node, &stx) && by_name)))
		ret_reply->attr.flags |= PROTO_ATTR_LEASED;
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
