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
#include <xxhash.h>

#include "fileserver/worker/dispatch.h"
#include "fileserver/worker/durable.h"
#include "fileserver/worker/lift.h"
#include "fileserver/worker/resolve.h"
#include "protocol/cleanup.h"
#include "protocol/faults.h"

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

enum { STAT_TRIES = 16 };

int attributes_stat(struct session *session, int fd, struct statx *ret_stx)
{
	for (int i = 0; i < STAT_TRIES; i++) {
		uint64_t before = atomic_load(&session->lift_sequence);

		if (FAULT(WORKER_STAT, statx(fd, "", AT_EMPTY_PATH | AT_NO_AUTOMOUNT, NODES_STATX, ret_stx)) < 0)
			return -errno;
		if (!lift_disturbed(session, before, ret_stx))
			break;
	}
	return 0;
}

static int stat_name_once(struct session *session, int directory, const char *name, struct statx *ret_stx)
{
	int flags = AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT;

	for (int i = 0; i < STAT_TRIES; i++) {
		uint64_t before = atomic_load(&session->lift_sequence);

		if (FAULT(WORKER_STAT_NAME, statx(directory, name, flags, NODES_STATX, ret_stx)) < 0)
			return -errno;
		if (!lift_disturbed(session, before, ret_stx))
			break;
	}
	return 0;
}

int attributes_stat_name(struct session *session, int directory, const char *name, struct statx *ret_stx)
{
	struct lift lift = LIFT_INIT(session, directory, -1);
	int r;

	do
		r = stat_name_once(session, directory, name, ret_stx);
	while (lift_again(&lift, r));
	return r;
}

/* File systems mounted inside the share have numbers of their own: the device goes into the number. */
uint64_t attributes_inode(const struct session *session, const struct statx *stx)
{
	uint64_t parts[2] = { ((uint64_t) stx->stx_dev_major << 32) | stx->stx_dev_minor, stx->stx_ino };

	if (nodes_on_root_device(session->nodes, stx))
		return stx->stx_ino;
	return XXH3_64bits(parts, sizeof(parts)) | (1ULL << 63);
}

static struct proto_time time_of(const struct statx_timestamp *stamp)
{
	return (struct proto_time){ .seconds = stamp->tv_sec, .nanoseconds = stamp->tv_nsec };
}

bool attributes_fill(struct session *session, struct node *node, const struct ownership_place *place, struct statx *stx,
                     struct proto_attr *ret_attr)
{
	struct ownership view;
	/* A record that cannot be read hides no file. */
	bool read = ownership_view(session, node, place, stx, &view) > 0;

	*ret_attr = (struct proto_attr){
		.ino = attributes_inode(session, stx),
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
	return read;
}

int attributes_of(struct session *session, struct node *node, int fd, struct proto_attr *ret_attr,
                  struct statx *ret_stx)
{
	struct ownership_place place = { .fd = fd };
	struct statx stx;
	int r = attributes_stat(session, fd, &stx);

	if (r < 0)
		return r;
	(void) attributes_fill(session, node, &place, &stx, ret_attr);
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
	struct lift lift = LIFT_INIT(session, fd, -1);
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

static int set_mode(struct session *session, int fd, mode_t mode)
{
	char path[RESOLVE_PATH_SIZE];
	int r;

	/* Who lifts would put the old mode back over it. */
	pthread_mutex_lock(&session->lift_lock);
	r = FAULT(WORKER_CHMOD, chmod(resolve_path(fd, path), mode)) < 0 ? -errno : 0;
	pthread_mutex_unlock(&session->lift_lock);
	return r;
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

/* After the last step failed: owner and mode as they were. */
static void put_back(struct session *session, int fd, const struct proto_setattr *set, const struct statx *before)
{
	struct proto_setattr owner = { .valid = set->valid, .uid = before->stx_uid, .gid = before->stx_gid };

	(void) set_real_owner(session, fd, &owner);
	if ((set->valid & PROTO_SET_MODE) != 0)
		(void) set_mode(session, fd, before->stx_mode & 07777);
}

/* Owner and mode: what is real is set for real, the rest goes into the record. */
static int set_owner_and_mode(struct session *session, struct node *node, int fd, const struct proto_setattr *set)
{
	struct ownership_place place = { .fd = fd };
	struct space_claim claim = { .disk = NULL };
	struct ownership wanted;
	struct statx stx, before;
	int r = attributes_stat(session, fd, &stx);

	if (r == 0)
		r = ownership_view(session, node, &place, &stx, &wanted);
	if (r >= 0 && (set->valid & PROTO_SET_MODE) != 0 && S_ISLNK(stx.stx_mode))
		r = -EOPNOTSUPP;
	before = stx;
	if (r >= 0)
		r = set_real_owner(session, fd, set);
	if (r < 0)
		return r;
	if ((set->valid & PROTO_SET_UID) != 0)
		wanted.uid = set->uid;
	if ((set->valid & PROTO_SET_GID) != 0)
		wanted.gid = set->gid;
	if ((set->valid & PROTO_SET_MODE) != 0) {
		/* setuid, setgid and sticky never reach the host's inode; those that the host set may stay. */
		r = set_mode(session, fd, (set->mode & 0777) | (set->mode & before.stx_mode & 07000));
		wanted.mode = (wanted.mode & S_IFMT) | (set->mode & 07777);
		if (r == 0)
			r = attributes_stat(session, fd, &stx);
	}
	if (r == 0 && !ownership_is_default(session, &stx, &wanted))
		r = space_claim_attribute(session, node, fd, 0, &claim);
	if (r == 0)
		r = ownership_record(session, fd, &stx, &wanted);
	space_settle(session, &claim);
	if (r < 0)
		put_back(session, fd, set, &before);
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
