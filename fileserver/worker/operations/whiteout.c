/* SPDX-License-Identifier: Apache-2.0 */
/* RENAME_WHITEOUT: makes the whiteout that takes the old name. */
#include "fileserver/worker/operations/whiteout.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "fileserver/common/resolve.h"
#include "fileserver/worker/host/lift.h"
#include "fileserver/worker/host/ownership.h"
#include "fileserver/worker/host/reach.h"
#include "protocol/cleanup.h"
#include "protocol/faults.h"

/* The kernel's whiteouts have mode 0, but then the record could be read only with lifting. */
enum { WHITEOUT_MODE = 0400 };

int whiteout_make(struct session *session, const struct pinned *directory)
{
	static const struct ownership whiteout = { .mode = S_IFCHR | WHITEOUT_MODE };
	struct lift lift = LIFT_INIT(session);
	_cleanup_close_ int fd = -EBADF;
	struct statx stx;
	int r;

	do
		fd = resolve_create_unnamed(directory->fd.fd, O_WRONLY, WHITEOUT_MODE);
	while (lift_again(&lift, fd < 0 ? fd : 0));
	if (fd < 0)
		return fd == -EOPNOTSUPP ? -EINVAL : fd;
	r = reach_stat(session, fd, &stx);
	if (r == 0)
		r = ownership_record(session, fd, &stx, &whiteout);
	if (r < 0)
		return r == -EPERM ? -EINVAL : r;
	return TAKE_FD(fd);
}

int whiteout_place(struct session *session, int whiteout, const struct pinned *directory, const char *name)
{
	struct lift lift = LIFT_INIT(session);
	char path[RESOLVE_PATH_SIZE];
	int r;

	(void) resolve_path(whiteout, path);
	do
		r = FAULT(WORKER_LINK, linkat(AT_FDCWD, path, directory->fd.fd, name, AT_SYMLINK_FOLLOW)) < 0 ? -errno
		                                                                                              : 0;
	while (lift_again(&lift, r));
	return r;
}
