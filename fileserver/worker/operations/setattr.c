/* SPDX-License-Identifier: Apache-2.0 */
/* SETATTR: mode, owner, size, times. */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fileserver/common/resolve.h"
#include "fileserver/worker/host/attributes.h"
#include "fileserver/worker/host/durable.h"
#include "fileserver/worker/operations/handlers.h"
#include "fileserver/worker/host/lift.h"
#include "fileserver/worker/host/link-owners.h"
#include "fileserver/worker/host/ownership.h"
#include "fileserver/worker/host/reach.h"
#include "protocol/cleanup.h"
#include "protocol/faults.h"

/* handle: one open for writing, or NULL. */
static int set_size(struct session *session, int fd, const struct handle *handle, uint64_t size)
{
	struct lift lift = LIFT_INIT(session);
	_cleanup_close_ int opened = -EBADF;
	int r;

	if (handle == NULL) {
		do
			opened = resolve_reopen(fd, O_WRONLY);
		while (lift_again(&lift, opened < 0 ? opened : 0));
		if (opened < 0)
			return opened == -ENXIO || opened == -ELOOP ? -EINVAL : opened;
	}
	do
		r = FAULT(WORKER_TRUNCATE, ftruncate(handle == NULL ? opened : handle->fd, (off_t) size)) < 0 ? -errno
		                                                                                              : 0;
	while (r == -EINTR);
	return r;
}

static int set_times(int fd, const struct proto_setattr *set)
{
	char path[RESOLVE_PATH_SIZE];
	struct timespec times[2] = {
		{ .tv_sec = set->atime.seconds, .tv_nsec = set->atime.nanoseconds },
		{ .tv_sec = set->mtime.seconds, .tv_nsec = set->mtime.nanoseconds },
	};

	if ((set->valid & PROTO_SET_ATIME_NOW) != 0)
		times[0].tv_nsec = UTIME_NOW;
	else if ((set->valid & PROTO_SET_ATIME) == 0)
		times[0].tv_nsec = UTIME_OMIT;
	if ((set->valid & PROTO_SET_MTIME_NOW) != 0)
		times[1].tv_nsec = UTIME_NOW;
	else if ((set->valid & PROTO_SET_MTIME) == 0)
		times[1].tv_nsec = UTIME_OMIT;
	return FAULT(WORKER_TIMES, utimensat(AT_FDCWD, resolve_path(fd, path), times, 0)) < 0 ? -errno : 0;
}

/*
 * The mode bits to set on the host. setuid, setgid and sticky never reach the host's inode. A directory keeps those
 * that the host set and the guest leaves on: chmod(2) without them would clear them, and new files would lose the
 * group.
 */
static mode_t real_mode(mode_t now, mode_t wanted)
{
	return (wanted & 0777) | (S_ISDIR(now) ? now & wanted & 07000 : 0);
}

static int set_mode(int fd, mode_t type, mode_t mode)
{
	struct stat st = { .st_mode = type };
	char path[RESOLVE_PATH_SIZE];

	/* Of a directory alone it matters which bits the host has set by now. */
	if (S_ISDIR(type) && fstat(fd, &st) < 0)
		return -errno;
	return FAULT(WORKER_CHMOD, chmod(resolve_path(fd, path), real_mode(st.st_mode, mode))) < 0 ? -errno : 0;
}

/* Sets the real owner, with owner=host. */
static int set_real_owner(const struct session *session, int fd, const struct proto_setattr *set)
{
	uid_t uid = (set->valid & PROTO_SET_UID) != 0 ? set->uid : (uid_t) -1;
	gid_t gid = (set->valid & PROTO_SET_GID) != 0 ? set->gid : (gid_t) -1;

	if ((session->config.flags & PROTO_HELLO_OWNER_HOST) == 0 ||
	    (set->valid & (PROTO_SET_UID | PROTO_SET_GID)) == 0)
		return 0;
	return FAULT(WORKER_CHOWN, fchownat(fd, "", uid, gid, AT_EMPTY_PATH)) < 0 ? -errno : 0;
}

/*
 * Sets owner and mode: for real what can be real, the rest in the record. The mode comes last, so that no older mode
 * needs to be restored, which could undo a change that the host made meanwhile.
 */
static int set_owner_and_mode(struct session *session, struct node *node, int fd, const struct proto_setattr *set)
{
	struct ownership_place place = { .fd = fd };
	struct space_claim claim = { .disk = NULL };
	struct proto_setattr owner = { .valid = set->valid };
	struct ownership before, wanted;
	struct statx stx, after;
	int r = reach_stat(session, fd, &stx);

	if (r == 0)
		r = ownership_view(session, node, &place, &stx, &before);
	if (r >= 0 && (set->valid & PROTO_SET_MODE) != 0 && S_ISLNK(stx.stx_mode))
		r = -EOPNOTSUPP;
	if (r >= 0)
		r = set_real_owner(session, fd, set);
	if (r < 0)
		return r;
	if (S_ISLNK(stx.stx_mode)) {
		link_owners_change(session, node, &stx, set);
		return 0;
	}
	wanted = before;
	before.unrecorded = false; /* to go back to it, a record may have to be removed */
	owner.uid = stx.stx_uid;
	owner.gid = stx.stx_gid;
	if ((set->valid & PROTO_SET_UID) != 0)
		wanted.uid = set->uid;
	if ((set->valid & PROTO_SET_GID) != 0)
		wanted.gid = set->gid;
	after = stx;
	if ((set->valid & PROTO_SET_MODE) != 0) {
		wanted.mode = (wanted.mode & S_IFMT) | (set->mode & 07777);
		after.stx_mode = (uint16_t) ((stx.stx_mode & S_IFMT) | real_mode(stx.stx_mode, set->mode));
	}
	if (!ownership_is_default(session, &after, &wanted))
		r = space_claim_attribute(&session->space, node, fd, 0, &claim);
	if (r >= 0)
		r = ownership_record(session, fd, &after, &wanted);
	if (r == 0 && (set->valid & PROTO_SET_MODE) != 0) {
		r = set_mode(fd, stx.stx_mode & S_IFMT, set->mode);
		if (r < 0)
			(void) ownership_record(session, fd, &stx, &before);
	}
	space_settle(&session->space, &claim);
	if (r < 0)
		(void) set_real_owner(session, fd, &owner);
	return r;
}

/* Updates ctime, as a change of owner does. The host would let every user do that to every file: not here. */
static int touch_ctime(const struct session *session, int fd)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return -errno;
	if (st.st_uid != session->uid && session->uid != 0)
		return 0;
	return FAULT(WORKER_CHOWN, fchownat(fd, "", (uid_t) -1, (gid_t) -1, AT_EMPTY_PATH)) < 0 ? -errno : 0;
}

static int set_attributes(struct session *session, struct node *node, int fd, const struct handle *handle,
                          const struct proto_setattr *set)
{
	uint32_t owner = PROTO_SET_UID | PROTO_SET_GID;
	bool nothing = set->valid == 0; /* chown(-1, -1), which clears setuid and setgid like any other */
	int r = 0;

	if (nothing || (set->valid & owner) != 0)
		r = touch_ctime(session, fd);
	if (r == 0 && (set->valid & PROTO_SET_SIZE) != 0)
		r = set_size(session, fd, handle, set->size);
	if (r == 0 && (nothing || (set->valid & PROTO_SET_KILL_PRIVILEGES) != 0))
		r = ownership_kill_privileges(session, fd);
	if (r == 0 && (set->valid & (PROTO_SET_MODE | PROTO_SET_UID | PROTO_SET_GID)) != 0)
		r = set_owner_and_mode(session, node, fd, set);
	if (r == 0 &&
	    (set->valid & (PROTO_SET_ATIME | PROTO_SET_MTIME | PROTO_SET_ATIME_NOW | PROTO_SET_MTIME_NOW)) != 0)
		r = set_times(fd, set);
	return r;
}

int worker_setattr(struct call *call, const struct worker_setattr *request, struct proto_setattr_reply *ret_reply)
{
	struct session *session = call->session;
	const struct pinned *object = request->node;
	int r = set_attributes(session, object->node, object->fd.fd, request->handle, &request->set);

	if (r == 0)
		r = durable_attributes(session, object->fd.fd);
	return r < 0 ? r : attributes_of(session, object->node, object->fd.fd, &ret_reply->attr, NULL);
}
