/* SPDX-License-Identifier: Apache-2.0 */
/* Access to objects on the host. */
#include "fileserver/worker/host/reach.h"

#include <errno.h>
#include <fcntl.h>

#include "fileserver/common/resolve.h"
#include "fileserver/worker/host/lift.h"
#include "protocol/faults.h"

int reach_stat(struct session *session, int fd, struct statx *ret_stx)
{
	if (FAULT(WORKER_STAT, statx(fd, "", AT_EMPTY_PATH | AT_NO_AUTOMOUNT, NODES_STATX, ret_stx)) < 0)
		return -errno;
	nodes_meet(session->nodes, ret_stx, fd, NULL);
	return 0;
}

int reach_stat_name(struct session *session, int directory, const char *name, struct statx *ret_stx)
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

int reach_pin(struct session *session, int directory, const char *name)
{
	struct lift lift = LIFT_INIT(session);
	int fd;

	do
		fd = resolve_pin(directory, name);
	while (lift_again(&lift, fd < 0 ? fd : 0));
	return fd;
}

int reach_create(struct session *session, int directory, const char *name, int flags, mode_t mode)
{
	struct lift lift = LIFT_INIT(session);
	int fd;

	do
		fd = resolve_create(directory, name, flags, mode);
	while (lift_again(&lift, fd < 0 ? fd : 0));
	return fd;
}

int reach_flags(uint32_t flags)
{
	int access = (flags & PROTO_OPEN_WRITE) == 0 ? O_RDONLY : (flags & PROTO_OPEN_READ) != 0 ? O_RDWR : O_WRONLY;

	return access | ((flags & PROTO_OPEN_TRUNCATE) != 0 ? O_TRUNC : 0) |
	       ((flags & PROTO_OPEN_SYNC) != 0 ? O_SYNC : 0) | ((flags & PROTO_OPEN_DSYNC) != 0 ? O_DSYNC : 0) |
	       ((flags & PROTO_OPEN_NOATIME) != 0 ? O_NOATIME : 0);
}

int reach_open(struct session *session, int pinned, uint32_t flags)
{
	struct lift lift = LIFT_INIT(session);
	int opened = reach_flags(flags), fd;

	do {
		fd = resolve_reopen(pinned, opened);
		if (fd == -EPERM && (opened & O_NOATIME) != 0) /* O_NOATIME needs one's own file */
			fd = resolve_reopen(pinned, opened & ~O_NOATIME);
	} while (lift_again(&lift, fd < 0 ? fd : 0));
	return fd;
}
