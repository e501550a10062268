/* SPDX-License-Identifier: Apache-2.0 */
/* From statx to what the guest is told, and the operations on attributes. */
#include "fileserver/worker/attributes.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <linux/magic.h>
#include <sys/statvfs.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "fileserver/common/resolve.h"
#include "fileserver/worker/dispatch.h"
#include "fileserver/worker/durable.h"
#include "fileserver/worker/lift.h"
#include "fileserver/worker/links.h"
#include "fileserver/worker/tree.h"
#include "protocol/cleanup.h"
#include "protocol/faults.h"

/* How often a name is looked at again that leads to another object each time. */
enum { NAME_TRIES = 8 };

/* statfs(2) has the list. Disks reserve space when something is written; what is asked over a network need not. */
bool attributes_late_errors(int fd)
{
	static const uint32_t late[] = { NFS_SUPER_MAGIC,  SMB_SUPER_MAGIC,  CIFS_SUPER_MAGIC, SMB2_SUPER_MAGIC,
		                         V9FS_MAGIC,       CEPH_SUPER_MAGIC, AFS_SUPER_MAGIC,  AFS_FS_MAGIC,
		                         CODA_SUPER_MAGIC, FUSE_SUPER_MAGIC };
	struct statfs st;

	if (fstatfs(fd, &st) < 0)
		return false;
	for (size_t i = 0; i < ARRAY_SIZE(late); i++)
		if ((uint32_t) st.f_type == late[i])
			return true;
	return false;
}

int attributes_stat(struct session *session, int fd, struct statx *ret_stx)
{
	if (FAULT(WORKER_STAT, statx(fd, "", AT_EMPTY_PATH | AT_NO_AUTOMOUNT, NODES_STATX, ret_stx)) < 0)
		return -errno;
	nodes_meet(session->nodes, ret_stx, fd, NULL);
	return 0;
}

int attributes_stat_name(struct session *session, int directory, const char *name, struct statx *ret_stx)
{
	int r, flags = AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT;
	struct lift lift = LIFT_INIT(session);

	do
		r = FAULT(WORKER_STAT_NAME, statx(directory, name, flags, NODES_STATX, ret_stx)) < 0 ? -errno : 0;
	while (lift_again(&lift, r));
	if (r == 0)
		nodes_meet(session->nodes, ret_stx, directory, name);
	return r;
}

static struct proto_time time_of(const struct statx_timestamp *stamp)
{
	return (struct proto_time){ .seconds = stamp->tv_sec, .nanoseconds = stamp->tv_nsec };
}

static int fill(struct session *session, struct node *node, const struct ownership_place *place,
                const struct statx *stx, struct proto_attr *ret_attr)
{
	struct ownership view;
	/* A record that cannot be read hides no file. */
	int r = ownership_view(session, node, place, stx, &view);

	*ret_attr = (struct proto_attr){
		.ino = inodes_number(session, stx),
		.size = stx->stx_size,
		.blocks = stx->stx_blocks,
		.atime = time_of(&stx->stx_atime),
		.mtime = time_of(&stx->stx_mtime),
		.ctime = time_of(&stx->stx_ctime),
		.mode = view.mode,
		.nlink = stx->stx_nlink,
		.uid = view.uid,
		.gid = view.gid,
		.rdev = view.rdev,
	};
	if (view.bare && (session->config.features & PROTO_FEATURE_ATTR_FLAGS) != 0)
		ret_attr->flags = PROTO_ATTR_BARE;
	return r;
}

int attributes_fill(struct session *session, struct node *node, int fd, const struct statx *stx,
                    struct proto_attr *ret_attr)
{
	return fill(session, node, &(struct ownership_place){ .fd = fd }, stx, ret_attr);
}

static bool same_state(const struct statx *left, const struct statx *right)
{
	return left->stx_ino == right->stx_ino && left->stx_dev_major == right->stx_dev_major &&
	       left->stx_dev_minor == right->stx_dev_minor && left->stx_mode == right->stx_mode &&
	       left->stx_ctime.tv_sec == right->stx_ctime.tv_sec && left->stx_ctime.tv_nsec == right->stx_ctime.tv_nsec;
}

int attributes_fill_name(struct session *session, int directory, const char *name, struct statx *stx,
                         struct proto_attr *ret_attr)
{
	const struct ownership_place place = { .fd = directory, .name = name };
	_cleanup_close_ int pinned = -EBADF;
	struct statx again;
	int r;

	for (int tries = 0; tries < NAME_TRIES; tries++) {
		int read = fill(session, NULL, &place, stx, ret_attr);

		if (read == 0)
			return 0; /* no record was asked for */
		r = attributes_stat_name(session, directory, name, &again);
		if (r < 0)
			return r;
		if (same_state(stx, &again))
			return read > 0;
		*stx = again;
	}
	/* Somebody changes it all the time. */
	pinned = tree_pin_name(session, directory, name);
	r = pinned < 0 ? pinned : attributes_stat(session, pinned, stx);
	return r < 0 ? r : attributes_fill(session, NULL, pinned, stx, ret_attr) > 0;
}

int attributes_of(struct session *session, struct node *node, int fd, struct proto_attr *ret_attr,
                  struct statx *ret_stx)
{
	struct statx stx;
	int r = attributes_stat(session, fd, &stx);

	if (r < 0)
		return r;
	(void) attributes_fill(session, node, fd, &stx, ret_attr);
	if (node != NULL)
		links_show_node(session, node, &stx, ret_attr);
	if (ret_stx != NULL)
		*ret_stx = stx;
	return 0;
}

int worker_getattr(struct lane *lane, const struct proto_getattr_request *request,
                   struct proto_getattr_reply *ret_reply)
{
	struct session *session = lane->session;
	struct node *node;
	struct node_fd fd;
	struct statx stx;
	int r = nodes_get(session->nodes, request->node, &node);

	if (r < 0)
		return r;
	r = nodes_fd(session->nodes, node, &fd);
	if (r == 0) {
		r = attributes_of(session, node, fd.fd, &ret_reply->attr, &stx);
		if (r == 0 && (stx.stx_mask & STATX_BTIME) != 0)
			ret_reply->btime = time_of(&stx.stx_btime);
		nodes_fd_done(session->nodes, &fd);
	}
	nodes_put(session->nodes, node);
	return r;
}

/* handle: open for writing, or NULL. */
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
 * The permission bits. setuid, setgid and sticky never reach the host's inode. A directory keeps those that the host
 * gave it where the guest leaves them on: chmod(2) would take them away, and new files their group.
 */
static mode_t real_mode(mode_t now, mode_t wanted)
{
	return (wanted & 0777) | (S_ISDIR(now) ? now & wanted & 07000 : 0);
}

static int set_mode(int fd, mode_t mode)
{
	char path[RESOLVE_PATH_SIZE];
	struct stat st;

	if (fstat(fd, &st) < 0)
		return -errno;
	return FAULT(WORKER_CHMOD, chmod(resolve_path(fd, path), real_mode(st.st_mode, mode))) < 0 ? -errno : 0;
}

/* The real owner, where it is shown. */
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
 * Owner and mode: what is real is set for real, the rest goes into the record. The mode comes last, so that nothing
 * needs to put an older one back, which could undo what the host set meanwhile.
 */
static int set_owner_and_mode(struct session *session, struct node *node, int fd, const struct proto_setattr *set)
{
	struct ownership_place place = { .fd = fd };
	struct space_claim claim = { .disk = NULL };
	struct proto_setattr owner = { .valid = set->valid };
	struct ownership before, wanted;
	struct statx stx, after;
	int r = attributes_stat(session, fd, &stx);

	if (r == 0)
		r = ownership_view(session, node, &place, &stx, &before);
	if (r >= 0 && (set->valid & PROTO_SET_MODE) != 0 && S_ISLNK(stx.stx_mode))
		r = -EOPNOTSUPP;
	if (r >= 0)
		r = set_real_owner(session, fd, set);
	if (r < 0)
		return r;
	if (S_ISLNK(stx.stx_mode)) {
		links_change(session, node, &stx, set);
		return 0;
	}
	wanted = before;
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
		r = space_claim_attribute(session, node, fd, 0, &claim);
	if (r >= 0)
		r = ownership_record(session, fd, &after, &wanted);
	if (r == 0 && (set->valid & PROTO_SET_MODE) != 0) {
		r = set_mode(fd, set->mode);
		if (r < 0)
			(void) ownership_record(session, fd, &stx, &before);
	}
	space_settle(session, &claim);
	if (r < 0)
		(void) set_real_owner(session, fd, &owner);
	return r;
}

/* Whatever the owner becomes, ctime changes. The host lets everybody do so to every file: not here. */
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
	bool nothing = set->valid == 0; /* chown(-1, -1), which clears setuid like every other */
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

int worker_setattr(struct lane *lane, const struct proto_setattr_request *request,
                   struct proto_setattr_reply *ret_reply)
{
	struct session *session = lane->session;
	struct handle *handle = NULL;
	struct node *node;
	struct node_fd fd;
	int r = nodes_get(session->nodes, request->node, &node);

	if (r < 0)
		return r;
	if (request->handle != 0)
		r = nodes_handle(session->nodes, request->handle, &handle);
	/* The guest can name a handle of another file, or one for reading, here. */
	if (handle != NULL && (handle->node != node || !handle->writable))
		r = -EBADF;
	if (r == 0 && handle == NULL)
		r = tree_check(lane, node);
	if (r == 0)
		r = nodes_fd(session->nodes, node, &fd);
	if (r == 0) {
		r = set_attributes(session, node, fd.fd, handle, &request->set);
		if (r == 0)
			r = durable_attributes(session, fd.fd);
		if (r == 0)
			r = attributes_of(session, node, fd.fd, &ret_reply->attr, NULL);
		nodes_fd_done(session->nodes, &fd);
	}
	nodes_handle_put(session->nodes, handle);
	nodes_put(session->nodes, node);
	return r;
}

int worker_access(struct lane *lane, const struct proto_access_request *request, struct proto_access_reply *ret_reply)
{
	struct session *session = lane->session;
	char path[RESOLVE_PATH_SIZE];
	struct node *node;
	struct node_fd fd;
	int r;

	if ((request->mask & ~(uint32_t) (R_OK | W_OK | X_OK)) != 0)
		return -EINVAL;
	if ((request->mask & W_OK) != 0 && session_is_read_only(session))
		return -EROFS;
	r = nodes_get(session->nodes, request->node, &node);
	if (r < 0)
		return r;
	r = nodes_fd(session->nodes, node, &fd);
	if (r == 0) {
		r = access(resolve_path(fd.fd, path), (int) request->mask) < 0 ? -errno : 0;
		nodes_fd_done(session->nodes, &fd);
	}
	nodes_put(session->nodes, node);
	return r;
}

int worker_statfs(struct lane *lane, const struct proto_statfs_request *request, struct proto_statfs_reply *ret_reply)
{
	struct session *session = lane->session;
	struct statvfs st;
	struct node *node;
	struct node_fd fd;
	int r = nodes_get(session->nodes, request->node, &node);

	if (r < 0)
		return r;
	r = nodes_fd(session->nodes, node, &fd);
	if (r == 0) {
		r = FAULT(WORKER_SPACE, fstatvfs(fd.fd, &st)) < 0 ? -errno : 0;
		if (r == 0)
			space_hide_reserve(session, &st);
		nodes_fd_done(session->nodes, &fd);
	}
	nodes_put(session->nodes, node);
	if (r < 0)
		return r;
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

int worker_forget(struct lane *lane, const struct proto_forget_request *request, struct proto_forget_reply *ret_reply)
{
	uint64_t node, count;

	for (uint32_t i = 0; i < request->forgets.count; i++) {
		proto_forgets_at(&request->forgets, i, &node, &count);
		nodes_forget(lane->session->nodes, node, count);
	}
	return 0;
}
