/* SPDX-License-Identifier: Apache-2.0 */
/* Opening a path that must be what it says: which links on its way count is the caller's word, not the path's. */
#pragma once

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <linux/openat2.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

/* flags: O_*, O_CLOEXEC is added; resolve: RESOLVE_*, no magic links is added. A descriptor or a negative errno. */
static inline int open_resolve(int directory, const char *path, int flags, uint64_t resolve)
{
	const struct open_how how = {
		.flags = (unsigned) flags | O_CLOEXEC,
		.resolve = resolve | RESOLVE_NO_MAGICLINKS,
	};
	int fd;

	do
		fd = (int) syscall(SYS_openat2, directory, path, &how, sizeof(how));
	while (fd < 0 && (errno == EINTR || errno == EAGAIN));
	return fd < 0 ? -errno : fd;
}

/* No symbolic link anywhere on its way is followed: -ELOOP, there is one. */
static inline int open_plain(const char *path, int flags)
{
	return open_resolve(AT_FDCWD, path, flags, RESOLVE_NO_SYMLINKS);
}

/* What lies in a directory at path ("": itself), as O_PATH, and not what it links to; resolve: see above. */
static inline int open_beneath(int directory, const char *path, uint64_t resolve)
{
	return open_resolve(directory, path[0] == '\0' ? "." : path, O_PATH | O_NOFOLLOW, resolve | RESOLVE_BENEATH);
}

/* It may lie in a share, where what is made or removed is made or removed on the host. */
static inline bool open_is_shared(int fd)
{
	struct statfs st;

	return fstatfs(fd, &st) < 0 || st.f_type == FUSE_SUPER_MAGIC;
}
