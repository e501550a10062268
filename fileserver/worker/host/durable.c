/* SPDX-License-Identifier: Apache-2.0 */
/* Brings changes to the host's disk before the guest has its reply. */
#include "fileserver/worker/host/durable.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "fileserver/common/resolve.h"
#include "fileserver/worker/host/lift.h"
#include "protocol/cleanup.h"
#include "protocol/faults.h"

static int sync_file(int fd, bool data_only)
{
	int r;

	do
		r = FAULT(WORKER_SYNC, data_only ? fdatasync(fd) : fsync(fd)) < 0 ? -errno : 0;
	while (r == -EINTR);
	return r;
}

/* fd may be an O_PATH descriptor, on which fsync(2) fails. */
static int sync_object(struct session *session, int fd)
{
	struct lift lift = LIFT_INIT(session);
	_cleanup_close_ int opened = -EBADF;

	lift.record = true;
	do
		opened = resolve_reopen(fd, O_RDONLY);
	while (lift_again(&lift, opened < 0 ? opened : 0));
	if (opened < 0)
		return opened == -ELOOP || opened == -ENXIO ? 0 : opened; /* links and special files cannot be opened */
	return sync_file(opened, false);
}

int durable_names(struct session *session, int directory)
{
	return (session->config.flags & PROTO_HELLO_DIRSYNC) == 0 ? 0 : sync_object(session, directory);
}

int durable_contents(const struct session *session, int fd)
{
	return (session->config.flags & PROTO_HELLO_SYNC) == 0 ? 0 : sync_file(fd, true);
}

int durable_attributes(struct session *session, int fd)
{
	return (session->config.flags & PROTO_HELLO_SYNC) == 0 ? 0 : sync_object(session, fd);
}

int durable_write(int fd, uint32_t flags)
{
	if ((flags & (PROTO_WRITE_SYNC | PROTO_WRITE_DSYNC)) == 0)
		return 0;
	return sync_file(fd, (flags & PROTO_WRITE_SYNC) == 0);
}
