/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What to do about ESTALE, the server's answer to a change of an object that is no longer at its name, and to a look-up
 * in a directory that does not exist any more.
 *
 * After a system call by path the kernel looks the path up again and sends the request a second time (fs/namei.c,
 * retry_estale()). When that leads to the same object (by /proc/self/fd, a working directory, or another name that is
 * still right), the second request tells the server so (PROTO_FRAME_ANEW). After a call by file descriptor there is no
 * second try: the object itself is meant, and the client asks again at once.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

enum { STALE_TOLD = 64 /* the most threads whose second try is waited for */ };

struct fuse_in_header;
struct stale;

/* NULL: out of memory. */
struct stale *stale_new(void);
void stale_free(struct stale *stale);
/*
 * When a request comes: is it a second try? It is when its thread got ESTALE before, and it is about the same object or
 * one that the kernel has looked up since. Returns when (clock_ns()) that ESTALE was answered; 0: no second try.
 * looked_up: the last LOOKUP of the request's object (objects_looked_up_at()).
 */
int64_t stale_second_of(struct stale *stale, const struct fuse_in_header *in, int64_t looked_up);
/* Whether any second try is waited for; if not, looked_up need not be found out. */
bool stale_is_awaited(const struct stale *stale);
/* Whether the second try of this thread is waited for. */
bool stale_awaits(struct stale *stale, pid_t pid);
/* The request is answered with ESTALE, and a second try will come. */
void stale_note(struct stale *stale, const struct fuse_in_header *in);
/*
 * A LOOKUP that was answered with ESTALE may be one by which the kernel looks whether a name that it knows is still
 * right (d_revalidate()). Then it takes the error for "no", and sends the same LOOKUP again in the same try.
 */
void stale_expect_twice(struct stale *stale, const struct fuse_in_header *in);
/* The request that stale_note() was called for is answered otherwise: there will be no second try. */
void stale_forget(struct stale *stale, const struct fuse_in_header *in);
/* The server answered ESTALE. True: a second try will come. False: none will, the object itself is meant. */
bool stale_tell(struct stale *stale, const struct fuse_in_header *in);
