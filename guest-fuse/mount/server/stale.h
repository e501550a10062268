/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What becomes of -ESTALE, with which the server answers a change of an object that is not at its name any more.
 *
 * For a call by name the kernel looks the names up and asks once more (fs/namei.c, retry_estale()). When that leads to
 * the same object again, by way of /proc/self/fd, a working directory, or another name that is still right, the second
 * request says so (PROTO_FRAME_ANEW). For a call by descriptor there is no second try: the object itself is meant, and
 * the client asks again at once.
 */
#pragma once

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct lane;

enum { STALE_TOLD = 64 };

struct stale {
	pthread_mutex_t lock;
	_Atomic unsigned count;
	/* Threads that were told so, and of what, not long ago. */
	struct stale_told {
		int64_t when; /* clock_ns(); 0: free */
		uint64_t nodeid;
		uint64_t call; /* a sum of the thread's system call; 0: it cannot be seen */
		pid_t pid;
	} told[STALE_TOLD];
};

void stale_init(struct stale *stale);
void stale_done(struct stale *stale);
/*
 * At the begin of a request: when (clock_ns()) the one was answered with -ESTALE of which this is the second try, about
 * the same object or one that the kernel has looked up since; 0: it is none. looked_up: when it asked last where a name
 * leads, and the answer was the request's object.
 */
int64_t stale_second_of(struct stale *stale, const struct lane *lane, int64_t looked_up);
/* Whether there is any such, so that looked_up is worth finding out. */
bool stale_is_awaited(const struct stale *stale);
/* The client itself answers with -ESTALE, for the kernel to look and ask again. */
void stale_note(struct stale *stale, const struct lane *lane);
/* The server says -ESTALE. True: the kernel will look up and ask again. False: nobody will, the object is meant. */
bool stale_tell(struct stale *stale, const struct lane *lane);

/*
 * Whether the system call in a line of /proc/PID/syscall that makes the kernel send opcode (FUSE_*) means an object by
 * path: 1; by descriptor, or it is not known: 0; -1: the line says nothing.
 */
int stale_call_is_by_name(const char *line, uint32_t opcode);
