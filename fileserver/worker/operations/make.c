/* SPDX-License-Identifier: Apache-2.0 */
/* Operations that make an object: SYMLINK, MKNOD, MKDIR, and what CREATE, TMPFILE and LINK share with them. */
#include "fileserver/worker/operations/make.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "fileserver/common/resolve.h"
#include "fileserver/worker/host/attributes.h"
#include "fileserver/worker/host/durable.h"
#include "fileserver/worker/host/entries.h"
#include "fileserver/worker/operations/handlers.h"
#include "fileserver/worker/host/lift.h"
#include "fileserver/worker/host/link-owners.h"
#include "fileserver/worker/host/ownership.h"
#include "fileserver/worker/host/reach.h"
#include "protocol/cleanup.h"
#include "protocol/faults.h"

/* Sets the real owner of a new object, if root serves with owner=host. */
static int chown_new(struct session *session, int fd, const struct ownership *parent, const struct proto_owner *owner)
{
	gid_t gid = (parent->mode & S_ISGID) != 0 ? parent->gid : owner->gid;

	if ((session->config.flags & PROTO_HELLO_OWNER_HOST) == 0 || session->uid != 0)
		return 0;
	return FAULT(WORKER_CHOWN, fchownat(fd, "", owner->uid, gid, AT_EMPTY_PATH)) < 0 ? -errno : 0;
}

/*
 * Tells of a file that fd has made. record: what was recorded of it, or NULL. Who reads its attributes' names finds
 * none: whoever has added one meanwhile has raised an event, if the directory is watched.
 */
static int learn_new(struct session *session, const struct pinned *directory, const char *name, int fd,
                     const struct statx *stx, const struct ownership *record, struct proto_entry *ret_entry,
                     struct node **ret_node)
{
	int r = 0;

	if (directory->leased)
		attributes_fill_new(session, stx, record, &ret_entry->attr);
	else
		r = attributes_fill(session, NULL, fd, stx, &ret_entry->attr);
	return r < 0 ? r : entries_learn_read(session, directory, name, stx, -EBADF, r > 0, ret_entry, ret_node);
}

int make_known(struct session *session, const struct pinned *directory, const char *name, int fd, int pinned,
               const struct proto_owner *owner, mode_t mode, uint32_t rdev, struct proto_entry *ret_entry,
               struct proto_attr *ret_parent, struct node **ret_node)
{
	bool special = !S_ISREG(mode) && !S_ISDIR(mode) && !S_ISLNK(mode), set_mode, record, recorded;
	char path[RESOLVE_PATH_SIZE];
	struct ownership parent = { 0 }, wanted;
	struct statx stx;
	int r = attributes_of(session, directory->node, directory->fd.fd, ret_parent, &stx);

	if (r < 0)
		return r;
	if (name != NULL)
		entries_left(directory, &stx);
	parent.mode = ret_parent->mode;
	parent.gid = ret_parent->gid;
	r = chown_new(session, fd, &parent, owner);
	if (r == 0)
		r = reach_stat(session, fd, &stx);
	if (r < 0)
		return r;
	ownership_of_new(session, &parent, owner, mode, rdev, &wanted);
	set_mode = !S_ISLNK(stx.stx_mode) && (stx.stx_mode & 0777) != (mode & 0777);
	if (set_mode && FAULT(WORKER_CHMOD, chmod(resolve_path(fd, path), (mode & 0777) | (stx.stx_mode & 07000))) < 0)
		return -errno;
	/* A new object has no older record that would have to be removed. */
	record = !ownership_is_default(session, &stx, &wanted);
	if (record && S_ISLNK(stx.stx_mode)) {
		link_owners_record(session, directory->fd.fd, &stx, wanted.uid, wanted.gid);
		entries_changed(session, directory, ret_parent);
	} else if (record)
		r = ownership_record(session, fd, &stx, &wanted);
	recorded = record && r == 0;
	/* Without user.* attributes a file shows the default owner; a FIFO or device exists only as a record. */
	if (r < 0 && (special || r != -EPERM))
		return r;
	if (set_mode || record) {
		r = reach_stat(session, fd, &stx);
		if (r < 0)
			return r;
	}
	if (name == NULL)
		return 0;
	if (directory->leased)
		ret_parent->flags |= PROTO_ATTR_LEASED;
	r = durable_names(session, directory->fd.fd);
	if (r < 0)
		return r;
	/* A pinned object was found by its name, and may be another one than was made. */
	return pinned < 0
	               ? learn_new(session, directory, name, fd, &stx, recorded ? &wanted : NULL, ret_entry, ret_node)
	               : entries_learn(session, directory, name, &stx, pinned, ret_entry, ret_node);
}

void make_undo(struct session *session, const struct pinned *directory, const char *name, int flags)
{
	struct lift lift = LIFT_INIT(session);
	int r;

	do
		r = unlinkat(directory->fd.fd, name, flags) < 0 ? -errno : 0;
	while (lift_again(&lift, r));
}

/* Opens the new object with O_PATH and finishes it; if that fails, the object is removed again. */
static int finish(struct session *session, const struct pinned *directory, const char *name,
                  const struct proto_owner *owner, mode_t mode, uint32_t rdev, struct proto_entry *ret_entry,
                  struct proto_attr *ret_parent)
{
	_cleanup_close_ int pinned = reach_pin(session, directory->fd.fd, name);
	int r = pinned;

	if (pinned >= 0)
		r = make_known(session, directory, name, pinned, pinned, owner, mode, rdev, ret_entry, ret_parent,
		               NULL);
	if (r == 0)
		(void) TAKE_FD(pinned);
	else
		make_undo(session, directory, name, S_ISDIR(mode) ? AT_REMOVEDIR : 0);
	return r < 0 ? r : 0;
}

int worker_symlink(struct call *call, const struct worker_symlink *request, struct proto_symlink_reply *ret_reply)
{
	struct lift lift = LIFT_INIT(call->session);
	int r;

	do
		r = FAULT(WORKER_SYMLINK, symlinkat(request->target.text, request->parent->fd.fd, request->name)) < 0
		            ? -errno
		            : 0;
	while (lift_again(&lift, r));
	return r < 0 ? r
	             : finish(call->session, request->parent, request->name, &request->owner, S_IFLNK | 0777, 0,
	                      &ret_reply->entry, &ret_reply->parent);
}

int worker_mkdir(struct call *call, const struct worker_mkdir *request, struct proto_mkdir_reply *ret_reply)
{
	mode_t mode = (request->mode & 07777) | S_IFDIR;
	struct lift lift = LIFT_INIT(call->session);
	int r;

	do
		r = FAULT(WORKER_MKDIR, mkdirat(request->parent->fd.fd, request->name, mode & 0777)) < 0 ? -errno : 0;
	while (lift_again(&lift, r));
	return r < 0 ? r
	             : finish(call->session, request->parent, request->name, &request->owner, mode, 0,
	                      &ret_reply->entry, &ret_reply->parent);
}

int worker_mknod(struct call *call, const struct worker_mknod *request, struct proto_mknod_reply *ret_reply)
{
	mode_t mode = (request->mode & S_IFMT) == 0 ? request->mode | S_IFREG : request->mode;
	int fd;

	if (S_ISDIR(mode) || S_ISLNK(mode))
		return -EINVAL;
	/* Whatever type was asked for, on the host it is an empty regular file. */
	fd = reach_create(call->session, request->parent->fd.fd, request->name, O_WRONLY, mode);
	if (fd < 0)
		return fd;
	close_fd(fd);
	return finish(call->session, request->parent, request->name, &request->owner, mode,
	              S_ISBLK(mode) || S_ISCHR(mode) ? request->rdev : 0, &ret_reply->entry, &ret_reply->parent);
}
