/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What system call a thread is in that waits for the answer to a request: proc(5), /proc/PID/syscall. FUSE does not say
 * it. Threads cannot be seen whose process belongs to nobody here (pid 0), or that this process may not trace.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum { THREAD_CALL_LINE = 256 };

/* The line of the file; its length, 0: the thread cannot be seen. */
size_t thread_call_read(pid_t pid, char line[THREAD_CALL_LINE]);
/*
 * line: of a thread for which the kernel sent opcode (FUSE_*). 1: its system call names the object by path. 0: by
 * descriptor, or that is not known. -1: the line does not tell the call.
 */
int thread_call_is_by_name(const char *line, uint32_t opcode);
/*
 * Whether the call makes a name (mkdir, mknod, symlink, link), and its path ends in this one. 1; 0; -1: that cannot be
 * seen.
 */
int thread_call_makes(pid_t pid, const char *name);
/*
 * Whether the call makes a name or opens it with O_CREAT, so that it asks the server for it in any case, and its path
 * ends in this one, which is no directory on the way there. False also when that cannot be seen at once.
 */
bool thread_call_creates(pid_t pid, const char *name);
/* line: of that thread. 0 and the addresses of paths: the one that it makes, and the one from before (0: none); or -1.
 */
struct thread_call_created {
	unsigned long long path, old;
};
int thread_call_created(const char *line, struct thread_call_created *ret_created);
/* The last component of the path, and no other one, is name. */
bool thread_call_path_only_ends_in(const char *path, const char *name);
bool thread_call_path_ends_in(const char *path, const char *name);
/* Whether it is link(2) or linkat(2). */
bool thread_call_links(pid_t pid);
