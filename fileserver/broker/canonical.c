/* SPDX-License-Identifier: Apache-2.0 */
/* Where a path of the host leads. */
#include "fileserver/broker/canonical.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "protocol/cleanup.h"

int canonical_path(const char *path, char ret_path[PATH_MAX], struct stat *ret_st)
{
	struct open_how how = { .flags = O_PATH | O_CLOEXEC, .resolve = RESOLVE_NO_MAGICLINKS };
	_cleanup_close_ int fd = (int) syscall(SYS_openat2, AT_FDCWD, path, &how, sizeof(how));
	char link[40];
	ssize_t length;

	if (fd < 0 || fstat(fd, ret_st) < 0)
		return -errno;
	(void) snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	length = readlink(link, ret_path, PATH_MAX - 1);
	if (length < 0)
		return -errno;
	ret_path[length] = '\0';
	/* Removed meanwhile, or not beneath this process's root: there is no path to it. */
	return ret_path[0] != '/' || ret_st->st_nlink == 0 ? -ENOENT : 0;
}

unsigned canonical_depth(const char *path)
{
	unsigned depth = 0;

	for (; *path != '\0'; path++)
		depth += path[0] == '/' && path[1] != '\0' && path[1] != '/';
	return depth;
}
