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
bool thread_call_path_ends_in(const char *path, const char *name);
/* Whether it is link(2) or linkat(2). */
bool thread_call_links(pid_t pid);
