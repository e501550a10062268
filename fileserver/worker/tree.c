/* SPDX-License-Identifier: Apache-2.0 */
/* The operations on names: looking up, making, removing, renaming. */
#include "fileserver/worker/tree.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "fileserver/common/resolve.h"
#include "fileserver/worker/dispatch.h"
#include "fileserver/worker/durable.h"
#include "fileserver/worker/io.h"
#include "fileserver/worker/lift.h"
#include "fileserver/worker/links.h"
#include "protocol/cleanup.h"
#include "protocol/faults.h"

int tree_enter(struct session *session, uint64_t id, struct tree_directory *ret_directory)
{
	struct node *node;
	int r = nodes_get(session->nodes, id, &node);

	if (r < 0)
		return r;
	r = nodes_type(node) == S_IFDIR ? nodes_fd(session->nodes, node, &ret_directory->fd) : -ENOTDIR;
	if (r < 0) {
		nodes_put(session->nodes, node);
		return r;
	}
	ret_directory->node = node;
	ret_directory->claim = (struct space_claim){ .disk = NULL };
	return 0;
}

int tree_check(const struct lane *lane, struct node *node)
{
	return lane->anew ? 0 : nodes_check(lane->session->nodes, node);
}

int tree_enter_to_change(struct lane *lane, uint64_t id, struct tree_directory *ret_directory)
{
	int r = tree_enter(lane->session, id, ret_directory);

	if (r < 0)
		return r;
	r = tree_check(lane, ret_directory->node);
	if (r < 0)
		tree_leave(lane->session, ret_directory);
	return r;
}

int tree_enter_to_make(struct lane *lane, uint64_t id, struct tree_directory *ret_directory)
{
	int r = tree_enter_to_change(lane, id, ret_directory);

	if (r < 0)
		return r;
	r = space_claim_name(lane->session, ret_directory->node, ret_directory->fd.fd, &ret_directory->claim);
	if (r < 0)
		tree_leave(lane->session, ret_directory);
	return r;
}

void tree_leave(struct session *session, struct tree_directory *directory)
{
	space_settle(session, &directory->claim);
	nodes_fd_done(session->nodes, &directory->fd);
	nodes_put(session->nodes, directory->node);
}

void tree_unmake(struct session *session, const struct tree_directory *directory, const char *name, int flags)
{
	struct lift lift = LIFT_INIT(session);
	int r;

	do
		r = unlinkat(directory->fd.fd, name, flags) < 0 ? -errno : 0;
	while (lift_again(&lift, r));
}

void tree_changed(struct session *session, const struct tree_directory *directory, struct proto_attr *ret_attr)
{
	if (attributes_of(session, directory->node, directory->fd.fd, ret_attr, NULL) < 0)
		*ret_attr = (struct proto_attr){ .mode = 0 };
}

int tree_entry(struct session *session, const struct tree_directory *directory, const char *name, struct statx *stx,
               int pinned, struct proto_entry *ret_entry, struct node **ret_node)
{
	struct node *node;
	bool read;
	int r;

	/* Before the node takes the descriptor, and may close it. */
	r = pinned >= 0 ? attributes_fill(session, NULL, pinned, stx, &ret_entry->attr)
	                : attributes_fill_name(session, directory->fd.fd, name, stx, &ret_entry->attr);
	if (r < 0)
		return r;
	links_show(session, directory->fd.fd, stx, &ret_entry->attr);
	read = r > 0;
	r = nodes_learn(session->nodes, directory->node, name, stx, pinned, true, &node);
	if (r < 0)
		return r;
	if (read)
		ownership_keep(session, node, stx, &ret_entry->attr);
	ret_entry->node = nodes_id(node);
	if (ret_node != NULL)
		*ret_node = node;
	else
		nodes_put(session->nodes, node);
	return 0;
}

int tree_pin_name(struct session *session, int directory, const char *name)
{
	struct lift lift = LIFT_INIT(session);
	int fd;

	do
		fd = resolve_pin(directory, name);
	while (lift_again(&lift, fd < 0 ? fd : 0));
	return fd;
}

/*
 * A directory is pinned at once: it may become somebody's working directory without another word from the guest. So is
 * everything else while names change under us.
 */
static int lookup(struct session *session, const struct tree_directory *directory, const char *name,
                  struct proto_entry *ret_entry)
{
	_cleanup_close_ int pinned = -EBADF;
	struct statx stx;
	int r = attributes_stat_name(session, directory->fd.fd, name, &stx);

	if (r < 0)
		return r;
	if (S_ISDIR(stx.stx_mode) || nodes_names_move(session->nodes)) {
		pinned = tree_pin_name(session, directory->fd.fd, name);
		r = pinned < 0 ? pinned : attributes_stat(session, pinned, &stx);
		if (r < 0)
			return r;
	}
	r = tree_entry(session, directory, name, &stx, pinned, ret_entry, NULL);
	if (r == 0)
		(void) TAKE_FD(pinned);
	return r;
}

int worker_lookup(struct lane *lane, const struct proto_lookup_request *request, struct proto_lookup_reply *ret_reply)
{
	struct session *session = lane->session;
	struct tree_directory directory;
	int r = tree_enter(session, request->parent, &directory);

	if (r < 0)
		return r;
	r = lookup(session, &directory, request->name.text, &ret_reply->entry);
	tree_leave(session, &directory);
	return r;
}

int worker_readlink(struct lane *lane, const struct proto_readlink_request *request,
                    struct proto_readlink_reply *ret_reply)
{
	struct session *session = lane->session;
	struct node *node;
	struct node_fd fd;
	ssize_t n = -1;
	int r = nodes_get(session->nodes, request->node, &node);

	if (r < 0)
		return r;
	r = nodes_type(node) == S_IFLNK ? nodes_fd(session->nodes, node, &fd) : -EINVAL;
	if (r == 0) {
		n = FAULT(WORKER_READLINK, readlinkat(fd.fd, "", ret_reply->target.text, PROTO_TARGET_MAX));
		r = n < 0 ? -errno : n == 0 ? -EINVAL : 0;
		nodes_fd_done(session->nodes, &fd);
	}
	nodes_put(session->nodes, node);
	if (r == 0)
		ret_reply->target.length = (size_t) n;
	return r;
}

/* The real owner of a new object, where root serves real numbers. */
static int chown_new(struct session *session, int fd, const struct ownership *parent, const struct proto_owner *owner)
{
	gid_t gid = (parent->mode & S_ISGID) != 0 ? parent->gid : owner->gid;

	if ((session->config.flags & PROTO_HELLO_OWNER_HOST) == 0 || session->uid != 0)
		return 0;
	return FAULT(WORKER_CHOWN, fchownat(fd, "", owner->uid, gid, AT_EMPTY_PATH)) < 0 ? -errno : 0;
}

int tree_made(struct session *session, const struct tree_directory *directory, const char *name, int fd, int pinned,
              const struct proto_owner *owner, mode_t mode, uint32_t rdev, struct proto_entry *ret_entry,
              struct proto_attr *ret_parent, struct node **ret_node)
{
	bool special = !S_ISREG(mode) && !S_ISDIR(mode) && !S_ISLNK(mode), set_mode, record;
	char path[RESOLVE_PATH_SIZE];
	struct ownership parent = { 0 }, wanted;
	struct statx stx;
	int r = attributes_of(session, directory->node, directory->fd.fd, ret_parent, NULL);

	if (r < 0)
		return r;
	parent.mode = ret_parent->mode;
	parent.gid = ret_parent->gid;
	r = chown_new(session, fd, &parent, owner);
	if (r == 0)
		r = attributes_stat(session, fd, &stx);
	if (r < 0)
		return r;
	ownership_of_new(session, &parent, owner, mode, rdev, &wanted);
	set_mode = !S_ISLNK(stx.stx_mode) && (stx.stx_mode & 0777) != (mode & 0777);
	if (set_mode && FAULT(WORKER_CHMOD, chmod(resolve_path(fd, path), (mode & 0777) | (stx.stx_mode & 07000))) < 0)
		return -errno;
	/* What has just been made has no record that could be in the way. */
	record = !ownership_is_default(session, &stx, &wanted);
	if (record && S_ISLNK(stx.stx_mode)) {
		links_record(session, directory->fd.fd, &stx, wanted.uid, wanted.gid);
		tree_changed(session, directory, ret_parent);
	} else if (record)
		r = ownership_record(session, fd, &stx, &wanted);
	/* A file system without user xattrs shows the default owner; a FIFO or a device cannot be without. */
	if (r < 0 && (special || r != -EPERM))
		return r;
	if (set_mode || record) {
		r = attributes_stat(session, fd, &stx);
		if (r < 0)
			return r;
	}
	if (name == NULL)
		return 0;
	r = durable_names(session, directory);
	return r < 0 ? r : tree_entry(session, directory, name, &stx, pinned, ret_entry, ret_node);
}

/* Pins what was just made, and finishes it; what cannot be finished is removed again. */
static int finish(struct session *session, const struct tree_directory *directory, const char *name,
                  const struct proto_owner *owner, mode_t mode, uint32_t rdev, struct proto_entry *ret_entry,
                  struct proto_attr *ret_parent)
{
	_cleanup_close_ int pinned = tree_pin_name(session, directory->fd.fd, name);
	int r = pinned;

	if (pinned >= 0)
		r = tree_made(session, directory, name, pinned, pinned, owner, mode, rdev, ret_entry, ret_parent, NULL);
	if (r == 0)
		(void) TAKE_FD(pinned);
	else
		tree_unmake(session, directory, name, S_ISDIR(mode) ? AT_REMOVEDIR : 0);
	return r < 0 ? r : 0;
}

int worker_symlink(struct lane *lane, const struct proto_symlink_request *request,
                   struct proto_symlink_reply *ret_reply)
{
	struct session *session = lane->session;
	struct tree_directory directory;
	int r = tree_enter_to_make(lane, request->parent, &directory);

	if (r < 0)
		return r;
	struct lift lift = LIFT_INIT(session);
	do
		r = FAULT(WORKER_SYMLINK, symlinkat(request->target.text, directory.fd.fd, request->name.text)) < 0
		            ? -errno
		            : 0;
	while (lift_again(&lift, r));
	if (r == 0)
		r = finish(session, &directory, request->name.text, &request->owner, S_IFLNK | 0777, 0,
		           &ret_reply->entry, &ret_reply->parent);
	tree_leave(session, &directory);
	return r;
}

int worker_mkdir(struct lane *lane, const struct proto_mkdir_request *request, struct proto_mkdir_reply *ret_reply)
{
	struct session *session = lane->session;
	mode_t mode = (request->mode & 07777) | S_IFDIR;
	struct tree_directory directory;
	int r = tree_enter_to_make(lane, request->parent, &directory);

	if (r < 0)
		return r;
	struct lift lift = LIFT_INIT(session);
	do
		r = FAULT(WORKER_MKDIR, mkdirat(directory.fd.fd, request->name.text, mode & 0777)) < 0 ? -errno : 0;
	while (lift_again(&lift, r));
	if (r == 0)
		r = finish(session, &directory, request->name.text, &request->owner, mode, 0, &ret_reply->entry,
		           &ret_reply->parent);
	tree_leave(session, &directory);
	return r;
}

/* Makes a regular file; with lifting. A descriptor, or a negative errno. */
static int create(struct session *session, const struct tree_directory *directory, const char *name, int flags,
                  mode_t mode)
{
	struct lift lift = LIFT_INIT(session);
	int fd;

	do
		fd = resolve_create(directory->fd.fd, name, flags, mode);
	while (lift_again(&lift, fd < 0 ? fd : 0));
	return fd;
}

int worker_mknod(struct lane *lane, const struct proto_mknod_request *request, struct proto_mknod_reply *ret_reply)
{
	struct session *session = lane->session;
	mode_t mode = (request->mode & S_IFMT) == 0 ? request->mode | S_IFREG : request->mode;
	struct tree_directory directory;
	int r;

	if (S_ISDIR(mode) || S_ISLNK(mode))
		return -EINVAL;
	r = tree_enter_to_make(lane, request->parent, &directory);
	if (r < 0)
		return r;
	/* Whatever kind was asked for, on the host it is an empty regular file. */
	r = create(session, &directory, request->name.text, O_WRONLY, mode);
	if (r >= 0) {
		close_fd(r);
		r = finish(session, &directory, request->name.text, &request->owner, mode,
		           S_ISBLK(mode) || S_ISCHR(mode) ? request->rdev : 0, &ret_reply->entry, &ret_reply->parent);
	}
	tree_leave(session, &directory);
	return r;
}

static int open_flags(uint32_t flags)
{
	int access = (flags & PROTO_OPEN_WRITE) == 0 ? O_RDONLY : (flags & PROTO_OPEN_READ) != 0 ? O_RDWR : O_WRONLY;

	return access | ((flags & PROTO_OPEN_TRUNCATE) != 0 ? O_TRUNC : 0) |
	       ((flags & PROTO_OPEN_SYNC) != 0 ? O_SYNC : 0) | ((flags & PROTO_OPEN_DSYNC) != 0 ? O_DSYNC : 0) |
	       ((flags & PROTO_OPEN_NOATIME) != 0 ? O_NOATIME : 0);
}

/* Opens a pinned regular file as the guest asked; with lifting. */
static int reopen(struct session *session, int pinned, uint32_t flags)
{
	struct lift lift = LIFT_INIT(session);
	int opened = open_flags(flags), fd;

	do {
		fd = resolve_reopen(pinned, opened);
		if (fd == -EPERM && (opened & O_NOATIME) != 0) /* another user's file */
			fd = resolve_reopen(pinned, opened & ~O_NOATIME);
	} while (lift_again(&lift, fd < 0 ? fd : 0));
	return fd;
}

int worker_open(struct lane *lane, const struct proto_open_request *request, struct proto_open_reply *ret_reply)
{
	struct session *session = lane->session;
	_cleanup_close_ int opened = -EBADF;
	struct handle *handle;
	struct node *node;
	struct node_fd fd;
	int r;

	if (request->size > PROTO_CHUNK || (request->size > 0 && (request->flags & PROTO_OPEN_READ) == 0))
		return -EINVAL;
	r = nodes_get(session->nodes, request->node, &node);
	if (r < 0)
		return r;
	r = nodes_type(node) == S_IFDIR ? -EISDIR : tree_check(lane, node);
	if (r == 0)
		r = nodes_fd(session->nodes, node, &fd);
	if (r == 0) {
		opened = reopen(session, fd.fd, request->flags);
		r = opened < 0 ? opened : 0;
		if (r == 0 && (request->flags & PROTO_OPEN_TRUNCATE) != 0)
			r = ownership_kill_privileges(session, fd.fd);
		if (r == 0 && (request->flags & PROTO_OPEN_TRUNCATE) != 0)
			r = durable_contents(session, opened);
		if (r == 0)
			r = attributes_of(session, node, opened, &ret_reply->attr, NULL);
		nodes_fd_done(session->nodes, &fd);
	}
	if (r == 0)
		r = nodes_open(session->nodes, node, opened, false, (request->flags & PROTO_OPEN_READ) != 0,
		               (request->flags & PROTO_OPEN_WRITE) != 0, &ret_reply->handle, &handle);
	if (r == 0) {
		/* After the attributes: older contents must not be taken for theirs. */
		io_read_first(lane, opened, request->size, &ret_reply->data);
		(void) TAKE_FD(opened);
		nodes_handle_put(session->nodes, handle);
	}
	nodes_put(session->nodes, node);
	return r;
}

/* The file is there already: opens it, unless it is no regular file. *ret_pinned and *ret_fd are the caller's. */
static int open_existing(struct session *session, const struct tree_directory *directory, const char *name,
                         uint32_t flags, int *ret_pinned, int *ret_fd)
{
	_cleanup_close_ int pinned = tree_pin_name(session, directory->fd.fd, name);
	struct stat st;
	int fd;

	if (pinned < 0)
		return pinned;
	if (fstat(pinned, &st) < 0)
		return -errno;
	if (S_ISDIR(st.st_mode))
		return -EISDIR;
	fd = protect_permit_object(session, st.st_dev, st.st_ino);
	if (fd < 0)
		return fd;
	fd = reopen(session, pinned, flags);
	if (fd < 0)
		return fd;
	*ret_fd = fd;
	*ret_pinned = TAKE_FD(pinned);
	return 0;
}

static int create_or_open(struct session *session, struct tree_directory *directory,
                          const struct proto_create_request *request, struct proto_create_reply *ret_reply, int *ret_fd,
                          struct node **ret_node, bool *ret_made)
{
	const char *name = request->name.text;
	mode_t mode = (request->mode & 07777) | S_IFREG;
	_cleanup_close_ int pinned = -EBADF, fd = -EBADF;
	struct statx stx;
	bool made, full;
	int r;

	r = space_claim_name(session, directory->node, directory->fd.fd, &directory->claim);
	fd = r < 0 ? r : create(session, directory, name, open_flags(request->flags) & ~O_TRUNC, mode);
	made = fd >= 0;
	if (made) {
		r = tree_made(session, directory, name, fd, -EBADF, &request->owner, mode, 0, &ret_reply->entry,
		              &ret_reply->parent, ret_node);
		if (r < 0)
			tree_unmake(session, directory, name, 0);
	} else if ((fd == -EEXIST || fd == -ENOSPC) && (request->flags & PROTO_OPEN_EXCLUSIVE) == 0) {
		full = fd == -ENOSPC;
		r = open_existing(session, directory, name, request->flags, &pinned, &fd);
		if (r == -ENOENT && full)
			r = -ENOSPC;
		if (r == 0 && (request->flags & PROTO_OPEN_TRUNCATE) != 0)
			r = durable_contents(session, fd);
		if (r == 0)
			r = attributes_stat(session, fd, &stx);
		if (r == 0)
			r = tree_entry(session, directory, name, &stx, pinned, &ret_reply->entry, ret_node);
		if (r == 0) {
			(void) TAKE_FD(pinned);
			tree_changed(session, directory, &ret_reply->parent);
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

int worker_create(struct lane *lane, const struct proto_create_request *request, struct proto_create_reply *ret_reply)
{
	struct session *session = lane->session;
	_cleanup_close_ int fd = -EBADF;
	struct tree_directory directory;
	struct handle *handle;
	struct node *node;
	bool made;
	int r = tree_enter_to_change(lane, request->parent, &directory);

	if (r < 0)
		return r;
	r = create_or_open(session, &directory, request, ret_reply, &fd, &node, &made);
	if (r == 0) {
		r = nodes_open(session->nodes, node, fd, false, (request->flags & PROTO_OPEN_READ) != 0,
		               (request->flags & PROTO_OPEN_WRITE) != 0, &ret_reply->handle, &handle);
		if (r == 0) {
			(void) TAKE_FD(fd);
			nodes_handle_put(session->nodes, handle);
		} else {
			nodes_forget(session->nodes, ret_reply->entry.node, 1);
			if (made)
				tree_unmake(session, &directory, request->name.text, 0);
		}
		nodes_put(session->nodes, node);
	}
	tree_leave(session, &directory);
	return r;
}

int worker_tmpfile(struct lane *lane, const struct proto_tmpfile_request *request,
                   struct proto_tmpfile_reply *ret_reply)
{
	struct session *session = lane->session;
	mode_t mode = (request->mode & 07777) | S_IFREG;
	int flags = open_flags(request->flags & ~(uint32_t) PROTO_OPEN_TRUNCATE);
	_cleanup_close_ int fd = -EBADF, pinned = -EBADF;
	struct tree_directory directory;
	struct proto_attr parent;
	struct handle *handle;
	struct node *node = NULL;
	struct statx stx;
	int r = tree_enter_to_make(lane, request->parent, &directory);

	if (r < 0)
		return r;
	struct lift lift = LIFT_INIT(session);
	do
		fd = resolve_create_unnamed(directory.fd.fd, flags, mode);
	while (lift_again(&lift, fd < 0 ? fd : 0));
	r = fd < 0 ? fd
	           : tree_made(session, &directory, NULL, fd, -EBADF, &request->owner, mode, 0, &ret_reply->entry,
	                       &parent, NULL);
	if (r == 0)
		r = attributes_of(session, NULL, fd, &ret_reply->entry.attr, &stx);
	/* It outlives the handle when somebody has it by O_PATH, and no name leads to it. */
	if (r == 0)
		r = pinned = resolve_reopen(fd, O_PATH);
	if (r >= 0)
		r = nodes_learn(session->nodes, NULL, NULL, &stx, -EBADF, true, &node);
	if (r == 0)
		r = nodes_open(session->nodes, node, fd, false, (request->flags & PROTO_OPEN_READ) != 0,
		               (request->flags & PROTO_OPEN_WRITE) != 0, &ret_reply->handle, &handle);
	if (r == 0) {
		(void) TAKE_FD(fd);
		nodes_orphan(session->nodes, &stx, NULL, NULL, TAKE_FD(pinned));
		ret_reply->entry.node = nodes_id(node);
		nodes_handle_put(session->nodes, handle);
	} else if (node != NULL) {
		nodes_forget(session->nodes, nodes_id(node), 1);
	}
	nodes_put(session->nodes, node);
	tree_leave(session, &directory);
	return r;
}
