/* SPDX-License-Identifier: Apache-2.0 */
/* From statx(2) to the attributes that the guest sees. */
#include "fileserver/worker/host/attributes.h"

#include <errno.h>
#include <linux/magic.h>
#include <sys/vfs.h>

#include "fileserver/worker/host/link-owners.h"
#include "fileserver/worker/host/ownership.h"
#include "fileserver/worker/host/reach.h"
#include "protocol/cleanup.h"

/* How often to look again at a name that leads to another object each time. */
enum { NAME_TRIES = 8 };

/* Magic numbers: statfs(2). A disk reserves space at the time of the write; a network file system need not. */
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

struct proto_time attributes_time(const struct statx_timestamp *stamp)
{
	return (struct proto_time){ .seconds = stamp->tv_sec, .nanoseconds = stamp->tv_nsec };
}

static void fill_from(struct session *session, const struct statx *stx, const struct ownership *view,
                      struct proto_attr *ret_attr)
{
	*ret_attr = (struct proto_attr){
		.ino = inodes_number(&session->inodes, session->nodes, stx),
		.size = stx->stx_size,
		.blocks = stx->stx_blocks,
		.atime = attributes_time(&stx->stx_atime),
		.mtime = attributes_time(&stx->stx_mtime),
		.ctime = attributes_time(&stx->stx_ctime),
		.mode = view->mode,
		.nlink = stx->stx_nlink,
		.uid = view->uid,
		.gid = view->gid,
		.rdev = view->rdev,
	};
	if (view->bare && (session->config.features & PROTO_FEATURE_ATTR_FLAGS) != 0)
		ret_attr->flags = PROTO_ATTR_BARE;
}

static int fill(struct session *session, struct node *node, const struct ownership_place *place,
                const struct statx *stx, struct proto_attr *ret_attr)
{
	struct ownership view;
	/* A record that cannot be read must not hide the file. */
	int r = ownership_view(session, node, place, stx, &view);

	fill_from(session, stx, &view, ret_attr);
	return r;
}

void attributes_fill_new(struct session *session, const struct statx *stx, const struct ownership *record,
                         struct proto_attr *ret_attr)
{
	struct ownership view;

	ownership_view_new(session, stx, record, &view);
	fill_from(session, stx, &view, ret_attr);
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
			return 0; /* no record was read */
		r = reach_stat_name(session, directory, name, &again);
		if (r < 0)
			return r;
		if (same_state(stx, &again))
			return read > 0;
		*stx = again;
	}
	/* The host keeps changing the name: read both by one descriptor. */
	pinned = reach_pin(session, directory, name);
	r = pinned < 0 ? pinned : reach_stat(session, pinned, stx);
	return r < 0 ? r : attributes_fill(session, NULL, pinned, stx, ret_attr) > 0;
}

void attributes_from(struct session *session, struct node *node, int fd, const struct statx *stx,
                     struct proto_attr *ret_attr)
{
	(void) attributes_fill(session, node, fd, stx, ret_attr);
	if (node != NULL)
		link_owners_show_node(session, node, stx, ret_attr);
}

int attributes_of(struct session *session, struct node *node, int fd, struct proto_attr *ret_attr,
                  struct statx *ret_stx)
{
	struct statx stx;
	int r = reach_stat(session, fd, &stx);

	if (r < 0)
		return r;
	attributes_from(session, node, fd, &stx, ret_attr);
	if (ret_stx != NULL)
		*ret_stx = stx;
	return 0;
}
