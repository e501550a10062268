/* SPDX-License-Identifier: Apache-2.0 */
/* Running in the background. */
#include "guest-fuse/mount/background.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "guest-fuse/mount/exits.h"
#include "protocol/cleanup.h"
#include "protocol/faults.h"

/* All that the parent still does. */
static _Noreturn void wait_for(pid_t child, int fd)
{
	int status;
	char byte;
	ssize_t n;

	do
		n = read(fd, &byte, 1);
	while (n < 0 && errno == EINTR);
	if (n == 1)
		exit(EXITS_OK);
	/* It ended, and its reason is on stderr, which is also ours. */
	while (waitpid(child, &status, 0) < 0 && errno == EINTR)
		;
	exit(WIFEXITED(status) ? WEXITSTATUS(status) : EXITS_SYSTEM);
}

int background_start(void)
{
	int fds[2];
	pid_t child;

	if (FAULT(MOUNT_PIPE, pipe2(fds, O_CLOEXEC)) < 0)
		return -errno;
	child = FAULT(MOUNT_FORK, fork());
	if (child < 0) {
		int saved = errno;

		close_fd(fds[0]);
		close_fd(fds[1]);
		return -saved;
	}
	if (child > 0) {
		close_fd(fds[1]);
		wait_for(child, fds[0]);
	}
	close_fd(fds[0]);
	(void) setsid();
	return fds[1];
}

/* The logger writes each line with one call, and each call is one message for the system's log. */
static int system_log(void)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX, .sun_path = "/dev/log" };
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0 || connect(fd, (struct sockaddr *) &address, sizeof(address)) < 0)
		return -errno;
	return TAKE_FD(fd);
}

void background_ready(int fd)
{
	_cleanup_close_ int nothing = open("/dev/null", O_RDWR | O_CLOEXEC), log = system_log();

	(void) !chdir("/");
	if (nothing >= 0) {
		(void) dup2(nothing, STDIN_FILENO);
		(void) dup2(nothing, STDOUT_FILENO);
		(void) dup2(log >= 0 ? log : nothing, STDERR_FILENO);
	}
	(void) !write(fd, "", 1);
	close_fd(fd);
}
