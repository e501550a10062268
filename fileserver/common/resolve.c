/* SPDX-License-Identifier: Apache-2.0 */
/* From names to descriptors: the only file of the server that calls openat2. */
#include "fileserver/common/resolve.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "protocol/faults.h"

static int open_beneath(int directory, const char *name, int flags, mode_t mode, uint64_t resolve)
{
	struct open_how how = {
		.flags = (uint64_t) (flags | O_CLOEXEC | O_NOFOLLOW),
		.mode = mode,
		.resolve = resolve | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS,
	};
	long fd;

	do
		fd = FAULT(WORKER_OPEN, syscall(SYS_openat2, directory, name, &how, sizeof(how)));
	while (fd < 0 && (errno == EINTR || errno == EAGAIN)); /* EAGAIN: a rename raced with RESOLVE_BENEATH */
	return fd < 0 ? -errno : (int) fd;
}

int resolve_open_root(const char *path)
{
	return open_beneath(AT_FDCWD, path, O_PATH | O_DIRECTORY, 0, 0);
}

int resolve_pin(int directory, const char *name)
{
	return open_beneath(directory, name, O_PATH, 0, RESOLVE_BENEATH);
}

int resolve_create(int directory, const char *name, int flags, mode_t mode)
{
	return open_beneath(directory, name, flags | O_CREAT | O_EXCL, mode & 0777, RESOLVE_BENEATH);
}

int resolve_create_unnamed(int directory, int flags, mode_t mode)
{
	return open_beneath(directory, ".", flags | O_TMPFILE, mode & 0777, RESOLVE_BENEATH);
}

int resolve_reopen(int pinned, int flags)
{
	char path[RESOLVE_PATH_SIZE];
	struct stat st;
	int fd;

	if (fstat(pinned, &st) < 0)
		return -errno;
	if (S_ISLNK(st.st_mode))
		return -ELOOP;
	if (!S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode))
		return -ENXIO;
	do
		fd = FAULT(WORKER_REOPEN, open(resolve_path(pinned, path), flags | O_CLOEXEC | O_NOCTTY));
	while (fd < 0 && errno == EINTR);
	return fd < 0 ? -errno : fd;
}

const char *resolve_path(int pinned, char path[RESOLVE_PATH_SIZE])
{
	(void) snprintf(path, RESOLVE_PATH_SIZE, "/proc/self/fd/%d", pinned);
	return path;
}
