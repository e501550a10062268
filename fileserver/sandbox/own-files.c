/* SPDX-License-Identifier: Apache-2.0 */
/* A user namespace in which the process may override the mode bits of its own files. */
#include "fileserver/sandbox/own-files.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "protocol/cleanup.h"
#include "protocol/log.h"

/* The id that the kernel shows for unmapped ids (/proc/sys/kernel/overflowuid). */
enum { OVERFLOW_ID = 65534, INSTEAD_OF_OVERFLOW = 1 };

static int write_line(const char *path, const char *line)
{
	_cleanup_close_ int fd = open(path, O_WRONLY | O_CLOEXEC);
	ssize_t n;

	if (fd < 0)
		return -errno;
	n = write(fd, line, strlen(line));
	return n < 0 ? -errno : 0;
}

/* Maps one id, the process's own: an ordinary user may map no other. */
static int map_id(const char *path, unsigned id)
{
	char line[64];

	(void) snprintf(line, sizeof(line), "%u %u 1\n", id == OVERFLOW_ID ? INSTEAD_OF_OVERFLOW : id, id);
	return write_line(path, line);
}

static int enter(void)
{
	unsigned uid = geteuid(), gid = getegid();
	int r;

	if (unshare(CLONE_NEWUSER) < 0)
		return -errno;
	r = map_id("/proc/self/uid_map", uid);
	/* user_namespaces(7): an ordinary user may write gid_map only after this. */
	if (r == 0)
		r = write_line("/proc/self/setgroups", "deny");
	return r < 0 ? r : map_id("/proc/self/gid_map", gid);
}

/*
 * Some machines let a process make the namespace and then forbid everything in it, and there is no way back: so a child
 * tries it first.
 */
static int try_entering(void)
{
	int status;
	/* In place of fork(): under the thread sanitizer, fork() gives the child a second thread. */
	pid_t child = (pid_t) syscall(SYS_clone, (unsigned long) SIGCHLD, NULL, NULL, NULL, 0UL);

	if (child < 0)
		return -errno;
	if (child == 0)
		_exit(-enter());
	while (waitpid(child, &status, 0) < 0)
		if (errno != EINTR)
			return -errno;
	return WIFEXITED(status) ? -WEXITSTATUS(status) : -EPERM;
}

static int keep_permitted(uint32_t permitted)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = { { .permitted = permitted } };

	return syscall(SYS_capset, &header, data) < 0 ? -errno : 0;
}

int own_files_enter(bool wanted)
{
	int r;

	/* Root serves with its own privileges: owner=host. */
	if (geteuid() == 0)
		return 0;
	r = wanted ? try_entering() : -EOPNOTSUPP;
	if (wanted && r < 0)
		log_info("no user namespace (%s): files that their owner's mode bits close stay closed to the guest",
		         strerror(-r));
	if (r < 0)
		return keep_permitted(0);
	r = enter();
	return r < 0 ? r : keep_permitted(CAP_TO_MASK(CAP_DAC_OVERRIDE));
}
