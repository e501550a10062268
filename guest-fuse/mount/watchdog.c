/* SPDX-License-Identifier: Apache-2.0 */
/* Ends the kernel's side of the mount when this process dies. */
#include "guest-fuse/mount/watchdog.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "protocol/cleanup.h"
#include "protocol/faults.h"

/* The kernel's file that ends this mount (Documentation/filesystems/fuse, "Control filesystem"), wherever it is
 * mounted. */
static int open_abort(unsigned minor)
{
	_cleanup_close_ int context = fsopen("fusectl", FSOPEN_CLOEXEC), control = -EBADF;
	char path[32];
	int fd;

	if (context < 0 || fsconfig(context, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
		return -errno;
	control = fsmount(context, FSMOUNT_CLOEXEC, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC);
	if (control < 0)
		return -errno;
	(void) snprintf(path, sizeof(path), "%u/abort", minor);
	fd = openat(control, path, O_WRONLY | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

/* Nothing here takes a lock that a thread may have held at fork(2). */
static _Noreturn void watch(int abort_file, pid_t watched, const sigset_t *end)
{
	siginfo_t info;

	(void) prctl(PR_SET_NAME, "bindshare-watch");
	(void) setsid();
	(void) !chdir("/");
	/* Comes when the thread dies that has made this process, even if others of its process do not. */
	if (prctl(PR_SET_PDEATHSIG, SIGUSR1) < 0)
		_exit(1);
	if (abort_file != 0)
		(void) dup2(abort_file, 0);
	(void) close_range(1, ~0U, 0);
	/* From others than the watched process the signal means nothing. */
	while (getppid() == watched)
		if (sigwaitinfo(end, &info) > 0 && info.si_pid == watched)
			break;
	/* Where the mount has ended in order, its file leads to nothing any more. */
	(void) !write(0, "1", 1);
	_exit(0);
}

int watchdog_start(unsigned minor)
{
	_cleanup_close_ int abort_file = open_abort(minor), ready = -EBADF, starting = -EBADF;
	pid_t watched = getpid(), child;
	sigset_t all, end, before;
	int fds[2];
	char byte;

	if (abort_file < 0)
		return abort_file;
	if (pipe2(fds, O_CLOEXEC) < 0)
		return -errno;
	ready = fds[0];
	starting = fds[1];
	sigfillset(&all);
	sigemptyset(&end);
	sigaddset(&end, SIGUSR1);
	(void) sigprocmask(SIG_BLOCK, &all, &before);
	child = FAULT(MOUNT_WATCHDOG, fork());
	if (child == 0)
		watch(abort_file, watched, &end);
	(void) sigprocmask(SIG_SETMASK, &before, NULL);
	if (child < 0)
		return -errno;
	close_fd(TAKE_FD(starting));
	/* Until it has closed what it does not need. */
	while (read(ready, &byte, 1) < 0 && errno == EINTR)
		;
	return 0;
}
