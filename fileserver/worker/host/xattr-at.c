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
 * fgetxattr(2) fails on an O_PATH descriptor, and that of a directory mostly is one. If the directory may be searched,
 * its entry "." works and costs a third of the way by /proc. Returns false if another way is to be tried.
 */
static bool get_of_directory(int fd, const char *attribute, void *value, size_t size, ssize_t *ret_n)
{
	struct arguments arguments = { .value = (uint64_t) (uintptr_t) value, .size = (uint32_t) size };
	long n;

	if (atomic_load_explicit(&missing, memory_order_relaxed))
		return false;
	n = FAULT(WORKER_GETXATTR,
	          syscall(SYS_getxattrat, fd, ".", AT_SYMLINK_NOFOLLOW, attribute, &arguments, sizeof(arguments)));
	*ret_n = result(n);
	return !is_missing(n) && (n >= 0 || errno == ENODATA);
}

ssize_t xattr_at_get(int fd, const char *name, bool directory, const char *attribute, void *value, size_t size)
{
	char path[PATH_SIZE];
	ssize_t n;

	if (name != NULL)
		return get_by_name(fd, name, attribute, value, size);
	if (directory && get_of_directory(fd, attribute, value, size, &n))
		return n;
	n = FAULT(WORKER_GETXATTR, fgetxattr(fd, attribute, value, size));
	return result(n < 0 && errno == EBADF ? getxattr(path_of(fd, NULL, path), attribute, value, size) : n);
}

/* As get_of_directory(). */
static bool list_of_directory(int fd, char *names, size_t size, ssize_t *ret_n)
{
	long n;

	if (atomic_load_explicit(&missing, memory_order_relaxed))
		return false;
	n = FAULT(WORKER_LISTXATTR, syscall(SYS_listxattrat, fd, ".", AT_SYMLINK_NOFOLLOW, names, size));
	*ret_n = n;
	return !is_missing(n) && n >= 0;
}

ssize_t xattr_at_list(int fd, const char *name, bool directory, char *names, size_t size)
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
	if (directory && list_of_directory(fd, names, size, &n))
		return n;
	n = FAULT(WORKER_LISTXATTR, flistxattr(fd, names, size));
	return result(n < 0 && errno == EBADF ? listxattr(path_of(fd, NULL, path), names, size) : n);
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
