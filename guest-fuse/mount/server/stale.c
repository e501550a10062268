/* SPDX-License-Identifier: Apache-2.0 */
/* What to do about ESTALE. */
#include "guest-fuse/mount/server/stale.h"

#include <fcntl.h>
#include <linux/fuse.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <xxhash.h>

#include "protocol/cleanup.h"
#include "protocol/clock.h"
#include "protocol/lock.h"

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

/* The longest that a second try takes. */
#define TOLD_NS INT64_C(10000000000)

enum {
	RUNNING_TRIES = 50,
	RUNNING_US = 100,
	STALE_STATX = 52 /* FUSE_STATX of Linux 6.6 */,
	ARGUMENTS = 6,
	SYSCALL_LINE = 256
};

struct stale {
	struct lock lock;
	_Atomic unsigned count;
	/* Threads whose second try is waited for. */
	struct stale_told {
		int64_t when; /* clock_ns(); 0: free */
		uint64_t nodeid;
		uint64_t call; /* hash of the thread's system call with its arguments; 0: it cannot be seen */
		pid_t pid;
	} told[STALE_TOLD];
};

struct stale *stale_new(void)
{
	struct stale *stale = calloc(1, sizeof(*stale));

	if (stale != NULL)
		lock_init(&stale->lock);
	return stale;
}

void stale_free(struct stale *stale)
{
	if (stale == NULL)
		return;
	lock_done(&stale->lock);
	free(stale);
}

bool stale_is_awaited(const struct stale *stale)
{
	return atomic_load_explicit(&stale->count, memory_order_relaxed) != 0;
}

static size_t read_once(const char *path, char line[SYSCALL_LINE])
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, line, SYSCALL_LINE - 1);

	line[n < 0 ? 0 : n] = '\0';
	return n < 0 ? 0 : (size_t) n;
}

/*
 * The thread's system call, as in proc(5); length 0: it cannot be seen. The thread waits for the answer to its request,
 * or is about to; until it sleeps the file says "running", and is read again.
 */
static size_t read_call(pid_t pid, char line[SYSCALL_LINE])
{
	char path[64];
	size_t length = 0;

	line[0] = '\0';
	if (pid == 0)
		return 0;
	(void) snprintf(path, sizeof(path), "/proc/%d/syscall", (int) pid);
	for (int tries = 0; tries < RUNNING_TRIES; tries++) {
		length = read_once(path, line);
		if (line[0] != 'r')
			return length;
		(void) usleep(RUNNING_US);
	}
	return 0;
}

static uint64_t sum_of_call(pid_t pid)
{
	char line[SYSCALL_LINE];
	size_t length = read_call(pid, line);

	return length == 0 ? 0 : XXH3_64bits(line, length);
}

/* Requests that the kernel may send while it looks up a path again, before the second try. */
static bool is_on_the_way(uint32_t opcode)
{
	return opcode == FUSE_LOOKUP || opcode == FUSE_GETXATTR || opcode == STALE_STATX || opcode == FUSE_GETATTR ||
	       opcode == FUSE_READLINK || opcode == FUSE_ACCESS || opcode == FUSE_FORGET ||
	       opcode == FUSE_BATCH_FORGET || opcode == FUSE_INTERRUPT || opcode == FUSE_RELEASE;
}

/* Takes the thread's entry out. False: there is none. */
static bool take(struct stale *stale, pid_t pid, struct stale_told *ret_told)
{
	int64_t now = clock_ns();
	bool found = false;

	lock_take(&stale->lock);
	for (unsigned i = 0; i < STALE_TOLD; i++) {
		struct stale_told *told = &stale->told[i];
		bool mine = told->pid == pid, late = now - told->when > TOLD_NS;

		if (told->when == 0 || (!mine && !late))
			continue;
		if (mine && !late) {
			*ret_told = *told;
			found = true;
		}
		told->when = 0;
		atomic_fetch_sub(&stale->count, 1);
	}
	lock_give(&stale->lock);
	return found;
}

/* A look-up in a directory, or attributes, about which the thread's last request got ESTALE. The entry stays. */
static int64_t looked_up_again(struct stale *stale, const struct fuse_in_header *in)
{
	int64_t now = clock_ns(), when = 0;

	lock_take(&stale->lock);
	for (unsigned i = 0; i < STALE_TOLD; i++) {
		const struct stale_told *told = &stale->told[i];

		if (told->when != 0 && told->pid == (pid_t) in->pid && told->nodeid == in->nodeid &&
		    now - told->when <= TOLD_NS)
			when = told->when;
	}
	lock_give(&stale->lock);
	return when;
}

int64_t stale_second_of(struct stale *stale, const struct fuse_in_header *in, int64_t looked_up)
{
	pid_t pid = (pid_t) in->pid;
	struct stale_told told;
	uint64_t call;

	if (stale_is_awaited(stale) && (in->opcode == FUSE_LOOKUP || in->opcode == FUSE_GETATTR))
		return looked_up_again(stale, in);
	/* Any other request means that the call has ended without a second try. */
	if (!stale_is_awaited(stale) || is_on_the_way(in->opcode) || !take(stale, pid, &told) ||
	    (told.nodeid != in->nodeid && looked_up <= told.when))
		return 0;
	call = sum_of_call(pid);
	return told.call == 0 || call == 0 || told.call == call ? told.when : 0;
}

void stale_note(struct stale *stale, const struct fuse_in_header *in)
{
	uint64_t call = sum_of_call((pid_t) in->pid);
	struct stale_told *oldest = &stale->told[0];

	lock_take(&stale->lock);
	for (unsigned i = 0; i < STALE_TOLD; i++) {
		if (stale->told[i].when != 0 && stale->told[i].pid == (pid_t) in->pid) {
			oldest = &stale->told[i];
			break;
		}
		if (stale->told[i].when < oldest->when)
			oldest = &stale->told[i];
	}
	if (oldest->when == 0)
		atomic_fetch_add(&stale->count, 1);
	*oldest = (struct stale_told){ .when = clock_ns(), .nodeid = in->nodeid, .call = call, .pid = (pid_t) in->pid };
	lock_give(&stale->lock);
}

void stale_forget(struct stale *stale, const struct fuse_in_header *in)
{
	struct stale_told told;

	(void) take(stale, (pid_t) in->pid, &told);
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

int stale_call_is_by_name(const char *line, uint32_t opcode)
{
	unsigned long long arguments[ARGUMENTS], stack;
	long number;

	/* proc(5): the number, six arguments, stack pointer, program counter. */
	/* NOLINTNEXTLINE(cert-err34-c) */
	if (sscanf(line, "%ld %llx %llx %llx %llx %llx %llx %llx", &number, &arguments[0], &arguments[1], &arguments[2],
	           &arguments[3], &arguments[4], &arguments[5], &stack) != ARGUMENTS + 2)
		return -1;
	/* A 32-bit program on a 64-bit kernel has other numbers. */
	if (sizeof(long) == 8 && stack <= UINT32_MAX)
		return 0;
	return is_by_name(number, arguments, opcode) ? 1 : 0;
}

/* The kernel does not look again after ESTALE for the name that is to be made (fs/namei.c, filename_create()). */
static bool makes_name(long number)
{
	switch (number) {
#ifdef SYS_mkdir
	case SYS_mkdir:
	case SYS_mknod:
	case SYS_symlink:
	case SYS_link:
#endif
	case SYS_mkdirat:
	case SYS_mknodat:
	case SYS_symlinkat:
	case SYS_linkat:
		return true;
	default:
		return false;
	}
}

bool stale_call_makes_name(pid_t pid)
{
	char line[SYSCALL_LINE], *end;
	long number;

	if (read_call(pid, line) == 0)
		return true;
	number = strtol(line, &end, 10);
	return end == line || makes_name(number);
}

bool stale_call_links(pid_t pid)
{
	char line[SYSCALL_LINE], *end;
	long number;

	if (read_call(pid, line) == 0)
		return false;
	number = strtol(line, &end, 10);
#ifdef SYS_link
	if (number == SYS_link)
		return end != line;
#endif
	return end != line && number == SYS_linkat;
}

static int thread_asks_by_name(pid_t pid, uint32_t opcode)
{
	char line[SYSCALL_LINE];

	return read_call(pid, line) == 0 ? -1 : stale_call_is_by_name(line, opcode);
}

bool stale_tell(struct stale *stale, const struct fuse_in_header *in)
{
	int by_name = thread_asks_by_name((pid_t) in->pid, in->opcode);

	/* When the thread cannot be looked at: by path, if requests of this kind always are. */
	if (by_name < 0)
		by_name = in->opcode != FUSE_SETATTR && in->opcode != FUSE_SETXATTR && in->opcode != FUSE_REMOVEXATTR;
	if (by_name == 0)
		return false;
	stale_note(stale, in);
	return true;
}
