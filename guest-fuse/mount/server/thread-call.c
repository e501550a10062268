/* SPDX-License-Identifier: Apache-2.0 */
/* What system call a thread is in. */
#include "guest-fuse/mount/server/thread-call.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "protocol/cleanup.h"

/* Linux 6.6 and 6.13; the same on all architectures that this runs on. */
#ifndef SYS_fchmodat2
#define SYS_fchmodat2 452
#endif
#ifndef SYS_setxattrat
#define SYS_setxattrat 463
#endif
#ifndef SYS_removexattrat
#define SYS_removexattrat 466
#endif

enum { RUNNING_TRIES = 500, RUNNING_US = 100, ARGUMENTS = 6, PATH_BYTES = 4096, PAGE_LEAST = 4096 };

static size_t read_once(pid_t pid, char line[THREAD_CALL_LINE])
{
	_cleanup_close_ int fd = -EBADF;
	char path[64];
	ssize_t n = -1;

	(void) snprintf(path, sizeof(path), "/proc/%d/syscall", (int) pid);
	fd = pid == 0 ? -EBADF : open(path, O_RDONLY | O_CLOEXEC);
	if (fd >= 0)
		n = read(fd, line, THREAD_CALL_LINE - 1);
	line[n < 0 ? 0 : n] = '\0';
	return n < 0 ? 0 : (size_t) n;
}

/* The thread waits for the answer to its request, or is about to; until it sleeps the file says "running". */
size_t thread_call_read(pid_t pid, char line[THREAD_CALL_LINE])
{
	for (int tries = 0; tries < RUNNING_TRIES; tries++) {
		size_t length = read_once(pid, line);

		if (line[0] != 'r')
			return length;
		(void) usleep(RUNNING_US);
	}
	return 0;
}

static bool is_by_name(long number, const unsigned long long arguments[ARGUMENTS], uint32_t opcode)
{
	switch (number) {
#ifdef SYS_open /* calls that newer architectures do without */
	case SYS_open:
	case SYS_creat:
#endif
	case SYS_openat:
	case SYS_openat2: /* O_TRUNC is of what it has just opened */
		return opcode != FUSE_SETATTR;
#ifdef SYS_open
	case SYS_chmod:
	case SYS_chown:
	case SYS_lchown:
	case SYS_utime:
	case SYS_utimes:
	case SYS_futimesat:
	case SYS_mknod:
	case SYS_mkdir:
	case SYS_rmdir:
	case SYS_unlink:
	case SYS_symlink:
	case SYS_link:
	case SYS_rename:
#endif
#ifdef SYS_renameat
	case SYS_renameat:
#endif
	case SYS_execve:
	case SYS_execveat:
	case SYS_truncate:
	case SYS_fchmodat:
	case SYS_mknodat:
	case SYS_mkdirat:
	case SYS_unlinkat:
	case SYS_symlinkat:
	case SYS_linkat:
	case SYS_renameat2:
	case SYS_setxattr:
	case SYS_lsetxattr:
	case SYS_removexattr:
	case SYS_lremovexattr:
		return true;
	case SYS_fchmodat2:
		return (arguments[3] & AT_EMPTY_PATH) == 0;
	case SYS_fchownat:
		return (arguments[4] & AT_EMPTY_PATH) == 0;
	case SYS_utimensat: /* without a path: futimens() */
		return arguments[1] != 0 && (arguments[3] & AT_EMPTY_PATH) == 0;
	case SYS_setxattrat:
	case SYS_removexattrat:
		return (arguments[2] & AT_EMPTY_PATH) == 0;
	default:
		return false;
	}
}

/* 1; 0: the call is one that is not known here; -1: the line does not tell it. */
static int parse(const char *line, long *ret_number, unsigned long long arguments[ARGUMENTS])
{
	unsigned long long stack;

	/* proc(5): the number, six arguments, stack pointer, program counter. */
	/* NOLINTNEXTLINE(cert-err34-c) */
	if (sscanf(line, "%ld %llx %llx %llx %llx %llx %llx %llx", ret_number, &arguments[0], &arguments[1],
	           &arguments[2], &arguments[3], &arguments[4], &arguments[5], &stack) != ARGUMENTS + 2)
		return -1;
	/* A 32-bit program on a 64-bit kernel has other numbers. */
	return sizeof(long) == 8 && stack <= UINT32_MAX ? 0 : 1;
}

int thread_call_is_by_name(const char *line, uint32_t opcode)
{
	unsigned long long arguments[ARGUMENTS];
	long number;
	int r = parse(line, &number, arguments);

	return r <= 0 ? r : (int) is_by_name(number, arguments, opcode);
}

/* Which argument is the path of the name that the call makes; -1: it makes none. */
static int made_path(long number)
{
	switch (number) {
#ifdef SYS_mkdir
	case SYS_mkdir:
	case SYS_mknod:
		return 0;
	case SYS_symlink:
	case SYS_link:
		return 1;
#endif
	case SYS_mkdirat:
	case SYS_mknodat:
		return 1;
	case SYS_symlinkat:
		return 2;
	case SYS_linkat:
		return 3;
	default:
		return -1;
	}
}

bool thread_call_path_ends_in(const char *path, const char *name)
{
	size_t length = strlen(path), name_length = strlen(name);

	while (length > 0 && path[length - 1] == '/')
		length--;
	return length >= name_length && memcmp(path + length - name_length, name, name_length) == 0 &&
	       (length == name_length || path[length - name_length - 1] == '/');
}

/* The string at an address of the thread's. By pieces: what follows its page need not be there. */
static int read_path(pid_t pid, unsigned long long address, char path[PATH_BYTES])
{
	size_t done = 0;

	while (done < PATH_BYTES) {
		size_t left = PAGE_LEAST - (address + done) % PAGE_LEAST;
		struct iovec to = { .iov_base = path + done,
			            .iov_len = left < PATH_BYTES - done ? left : PATH_BYTES - done };
		struct iovec from = { .iov_base = (void *) (uintptr_t) (address + done), .iov_len = to.iov_len };
		ssize_t n = process_vm_readv(pid, &to, 1, &from, 1, 0);

		if (n <= 0)
			return -1;
		if (memchr(path + done, '\0', (size_t) n) != NULL)
			return 0;
		done += (size_t) n;
	}
	return -1;
}

int thread_call_makes(pid_t pid, const char *name)
{
	unsigned long long arguments[ARGUMENTS];
	char line[THREAD_CALL_LINE], path[PATH_BYTES];
	long number;
	int argument;

	if (thread_call_read(pid, line) == 0 || parse(line, &number, arguments) <= 0)
		return -1;
	argument = made_path(number);
	if (argument < 0)
		return 0;
	if (read_path(pid, arguments[argument], path) < 0)
		return -1;
	return thread_call_path_ends_in(path, name) ? 1 : 0;
}

/*
 * Which argument is the path that the call makes, also by O_CREAT or as the new name of a file; -1: none. *ret_old:
 * that of the file's name from before, which is looked up as well; -1: there is none.
 */
static int created_path(long number, const unsigned long long arguments[ARGUMENTS], int *ret_old)
{
	*ret_old = -1;
	switch (number) {
#ifdef SYS_open
	case SYS_open:
		return (arguments[1] & O_CREAT) != 0 ? 0 : -1;
	case SYS_creat:
		return 0;
	case SYS_rename:
	case SYS_link:
		*ret_old = 0;
		return 1;
#endif
#ifdef SYS_renameat
	case SYS_renameat:
#endif
	case SYS_renameat2:
	case SYS_linkat:
		*ret_old = 1;
		return 3;
	case SYS_openat:
		return (arguments[2] & O_CREAT) != 0 ? 1 : -1;
	default:
		return made_path(number);
	}
}

int thread_call_created(const char *line, struct thread_call_created *ret_created)
{
	unsigned long long arguments[ARGUMENTS];
	int path, old;
	long number;

	if (parse(line, &number, arguments) <= 0)
		return -1;
	path = created_path(number, arguments, &old);
	if (path < 0)
		return -1;
	ret_created->path = arguments[path];
	ret_created->old = old < 0 ? 0 : arguments[old];
	return 0;
}

bool thread_call_path_only_ends_in(const char *path, const char *name)
{
	size_t length = strlen(name);

	if (!thread_call_path_ends_in(path, name))
		return false;
	for (const char *at = path; (at = strstr(at, name)) != NULL; at += length)
		if ((at == path || at[-1] == '/') && at[length] == '/' && at[length + strspn(at + length, "/")] != '\0')
			return false;
	return true;
}

bool thread_call_creates(pid_t pid, const char *name)
{
	char line[THREAD_CALL_LINE], path[PATH_BYTES];
	struct thread_call_created created;

	/* It waits for the answer by now, or to ask the server is as quick. */
	if (read_once(pid, line) == 0 || thread_call_created(line, &created) < 0 ||
	    read_path(pid, created.path, path) < 0 || !thread_call_path_only_ends_in(path, name))
		return false;
	return created.old == 0 || (read_path(pid, created.old, path) == 0 && !thread_call_path_ends_in(path, name));
}

bool thread_call_links(pid_t pid)
{
	unsigned long long arguments[ARGUMENTS];
	char line[THREAD_CALL_LINE];
	long number;

	if (thread_call_read(pid, line) == 0 || parse(line, &number, arguments) <= 0)
		return false;
#ifdef SYS_link
	if (number == SYS_link)
		return true;
#endif
	return number == SYS_linkat;
}
