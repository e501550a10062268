/* SPDX-License-Identifier: Apache-2.0 */
/* Extended attributes by descriptor. */
#include "fileserver/worker/host/xattr-at.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "fileserver/common/resolve.h"
#include "protocol/faults.h"

/* include/uapi/asm-generic/unistd.h of Linux 6.13; the same on all architectures that this runs on. */
#ifndef SYS_getxattrat
#define SYS_getxattrat 464
#endif
#ifndef SYS_listxattrat
#define SYS_listxattrat 465
#endif

/* struct xattr_args of include/uapi/linux/xattr.h */
struct arguments {
	uint64_t value __attribute__((aligned(8)));
	uint32_t size, flags;
};

enum { PATH_SIZE = RESOLVE_PATH_SIZE + 1 + NAME_MAX + 1 };

/* The kernel, or a seccomp filter, does not have the system calls. */
static _Atomic bool missing;

static bool is_missing(long n)
{
	if (n >= 0 || errno != ENOSYS)
		return false;
	atomic_store_explicit(&missing, true, memory_order_relaxed);
	return true;
}

static const char *path_of(int fd, const char *name, char path[PATH_SIZE])
{
	size_t length;

	(void) resolve_path(fd, path);
	length = strlen(path);
	if (name != NULL)
		(void) snprintf(path + length, PATH_SIZE - length, "/%s", name);
	return path;
}

static ssize_t result(long n)
{
	return n < 0 ? -errno : n;
}

static ssize_t get_by_name(int fd, const char *name, const char *attribute, void *value, size_t size)
{
	struct arguments arguments = { .value = (uint64_t) (uintptr_t) value, .size = (uint32_t) size };
	char path[PATH_SIZE];
	long n = -1;

	if (!atomic_load_explicit(&missing, memory_order_relaxed)) {
		n = FAULT(WORKER_GETXATTR, syscall(SYS_getxattrat, fd, name, AT_SYMLINK_NOFOLLOW, attribute, &arguments,
		                                   sizeof(arguments)));
		if (!is_missing(n))
			return result(n);
	}
	return result(lgetxattr(path_of(fd, name, path), attribute, value, size));
}

/*
 * fgetxattr(2) fails on an O_PATH descriptor. For a directory that may be searched, its entry "." works and costs a
 * third of the way by /proc.
 */
static ssize_t get_by_path(int fd, const char *attribute, void *value, size_t size)
{
	struct arguments arguments = { .value = (uint64_t) (uintptr_t) value, .size = (uint32_t) size };
	char path[PATH_SIZE];
	long n;

	if (!atomic_load_explicit(&missing, memory_order_relaxed)) {
		n = syscall(SYS_getxattrat, fd, ".", AT_SYMLINK_NOFOLLOW, attribute, &arguments, sizeof(arguments));
		if (n >= 0 || errno == ENODATA)
			return result(n);
	}
	return result(getxattr(path_of(fd, NULL, path), attribute, value, size));
}

ssize_t xattr_at_get(int fd, const char *name, const char *attribute, void *value, size_t size)
{
	ssize_t n;

	if (name != NULL)
		return get_by_name(fd, name, attribute, value, size);
	n = FAULT(WORKER_GETXATTR, fgetxattr(fd, attribute, value, size));
	return n < 0 && errno == EBADF ? get_by_path(fd, attribute, value, size) : result(n);
}

/* As get_by_path(). */
static ssize_t list_by_path(int fd, char *names, size_t size)
{
	char path[PATH_SIZE];
	long n;

	if (!atomic_load_explicit(&missing, memory_order_relaxed)) {
		n = syscall(SYS_listxattrat, fd, ".", AT_SYMLINK_NOFOLLOW, names, size);
		if (n >= 0)
			return n;
	}
	return result(listxattr(path_of(fd, NULL, path), names, size));
}

ssize_t xattr_at_list(int fd, const char *name, char *names, size_t size)
{
	char path[PATH_SIZE];
	ssize_t n;

	if (name != NULL && !atomic_load_explicit(&missing, memory_order_relaxed)) {
		n = FAULT(WORKER_LISTXATTR, syscall(SYS_listxattrat, fd, name, AT_SYMLINK_NOFOLLOW, names, size));
		if (!is_missing(n))
			return result(n);
	}
	if (name != NULL)
		return result(llistxattr(path_of(fd, name, path), names, size));
	n = FAULT(WORKER_LISTXATTR, flistxattr(fd, names, size));
	return n < 0 && errno == EBADF ? list_by_path(fd, names, size) : result(n);
}

int xattr_at_set(int fd, const char *attribute, const void *value, size_t size, int flags)
{
	char path[PATH_SIZE];
	int r = FAULT(WORKER_SETXATTR, fsetxattr(fd, attribute, value, size, flags));

	if (r < 0 && errno == EBADF)
		r = setxattr(path_of(fd, NULL, path), attribute, value, size, flags);
	return (int) result(r);
}

int xattr_at_remove(int fd, const char *attribute)
{
	char path[PATH_SIZE];
	int r = FAULT(WORKER_REMOVEXATTR, fremovexattr(fd, attribute));

	if (r < 0 && errno == EBADF)
		r = removexattr(path_of(fd, NULL, path), attribute);
	return (int) result(r);
}
