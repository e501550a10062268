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

#include <stdbool.h>
#include <stdint.h>

enum { STALE_TOLD = 64 /* threads at most that were told so not long ago */ };

struct fuse_in_header;
struct stale;

/* NULL: out of memory. */
struct stale *stale_new(void);
void stale_free(struct stale *stale);
/*
 * At the begin of a request: when (clock_ns()) the one was answered with -ESTALE of which this is the second try, about
 * the same object or one that the kernel has looked up since; 0: it is none. looked_up: when it asked last where a name
 * leads, and the answer was the request's object.
 */
int64_t stale_second_of(struct stale *stale, const struct fuse_in_header *in, int64_t looked_up);
/* Whether there is any such, so that looked_up is worth finding out. */
bool stale_is_awaited(const struct stale *stale);
/* The client itself answers with -ESTALE, for the kernel to look and ask again. */
void stale_note(struct stale *stale, const struct fuse_in_header *in);
/* The server says -ESTALE. True: the kernel will look up and ask again. False: nobody will, the object is meant. */
bool stale_tell(struct stale *stale, const struct fuse_in_header *in);

/*
 * Whether the system call in a line of /proc/PID/syscall that makes the kernel send opcode (FUSE_*) means an object by
 * path: 1; by descriptor, or it is not known: 0; -1: the line says nothing.
 */
int stale_call_is_by_name(const char *line, uint32_t opcode);
