/* SPDX-License-Identifier: Apache-2.0 */
/* One thread that serves the kernel. */
#include "guest-fuse/mount/kernel/thread.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <stdlib.h>
#include <sys/ioctl.h>

#include "protocol/cleanup.h"
#include "protocol/faults.h"

static __thread struct thread *current;

struct thread *thread_current(void)
{
	return current;
}

void thread_set_current(struct thread *thread)
{
	current = thread;
}

/* A request must be answered on the descriptor that it was read from; each clone has its own list of them. */
static int clone_device(int device)
{
	_cleanup_close_ int fd = FAULT(MOUNT_FUSE_OPEN, open("/dev/fuse", O_RDWR | O_CLOEXEC | O_NONBLOCK));
	uint32_t from = (uint32_t) device;

	if (fd < 0 || FAULT(MOUNT_FUSE_CLONE, ioctl(fd, FUSE_DEV_IOC_CLONE, &from)) < 0)
		return -errno;
	return TAKE_FD(fd);
}

int thread_new(struct client *client, struct thread **ret_thread)
{
	struct thread *thread = FAULT_NULL(MOUNT_LANE, calloc(1, sizeof(*thread)));
	int r;

	if (thread == NULL)
		return -ENOMEM;
	thread->client = client;
	thread->device = -EBADF;
	sleeper_init(&thread->sleeper);
	connection_init(&thread->connection, client->server);
	r = request_init(&thread->request, -EBADF, &thread->connection);
	if (r == 0) {
		thread->device = thread->request.device = clone_device(client->device);
		r = thread->device < 0 ? thread->device : 0;
	}
	if (r < 0) {
		thread_free(thread);
		return r;
	}
	*ret_thread = thread;
	return 0;
}

void thread_free(struct thread *thread)
{
	if (thread == NULL)
		return;
	close_fd(thread->device);
	connection_done(&thread->connection);
	request_done(&thread->request);
	sleeper_done(&thread->sleeper);
	free(thread);
}
