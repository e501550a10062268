/* SPDX-License-Identifier: Apache-2.0 */
/* Opening a path that must be what it says: no symbolic link anywhere on its way is followed. */
#pragma once

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/syscall.h>
#include <unistd.h>

/* The descriptor, or a negative errno: -ELOOP, there is a symbolic link. flags: O_*, O_CLOEXEC is added. */
static inline int open_plain(const char *path, int flags)
{
	const struct open_how how = {
		.flags = (unsigned) flags | O_CLOEXEC,
		.resolve = RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS,
	};
	int fd;

	do
		fd = (int) syscall(SYS_openat2, AT_FDCWD, path, &how, sizeof(how));
	while (fd < 0 && errno == EINTR);
	return fd < 0 ? -errno : fd;
}
