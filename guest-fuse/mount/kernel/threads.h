/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The threads that serve the kernel: as many as there are requests at once, up to a limit.
 *
 * One thread reads the kernel's requests as long as it answers them fast enough. So a process that works alone is
 * always served by the same thread, with warm caches, and no other thread is woken. When the server is slow to reply,
 * or several requests in a row had to wait, a parked thread is woken to read as well, or another one is started. A
 * thread that finds another one waiting for the kernel parks itself.
 *
 * With FUSE over io_uring (uring.h) that goes for each ring, and for /dev/fuse, where FORGET and INTERRUPT come from;
 * what is parked is there for all of them.
 */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

enum { THREADS_MAX = 64 };

struct client;
struct thread;
struct threads;

/* serve() is called for each request, which lies in thread->request. NULL: out of memory. */
struct threads *threads_new(struct client *client, void (*serve)(struct thread *thread));
/* After threads_join(). */
void threads_free(struct threads *threads);

/* Before threads_start(): the most threads that there may be, up to THREADS_MAX. */
void threads_limit(struct threads *threads, unsigned max);
/* Connects the first ones to the server and starts them. 0 or a negative errno. */
int threads_start(struct threads *threads);
/*
 * By the thread that answers INIT. Before the answer: makes rings, and connects threads for them; false: it must not
 * ask for them.
 */
bool threads_make_uring(struct threads *threads);
/* After it: from now on requests come by the rings. 0; or a negative errno, and the threads end. */
int threads_use_uring(struct threads *threads);
/* Requests come by rings. Any thread. */
bool threads_have_uring(const struct threads *threads);
/* A thread was started, and not joined yet. */
bool threads_are_there(struct threads *threads);

/* Somebody waits where the calling thread's request came from, or is about to. Any thread. */
bool threads_are_reading(const struct threads *threads);
/* Called by a thread that has a request: how many others have one. */
unsigned threads_others(const struct threads *threads);
/* Starts or wakes other threads where nobody waits for the kernel. Any thread. */
void threads_grow(struct threads *threads);
/* Nobody reads the kernel's requests, and there was no further thread to do it. Any thread. */
bool threads_are_saturated(const struct threads *threads);
/* The keeper: requests that nobody reads now are answered if dies() says so of those who asked. */
void threads_give_up(struct threads *threads, bool (*dies)(pid_t pid));

/* The threads leave as soon as they are free. Any thread. */
void threads_end(struct threads *threads);
/* After threads_end(), or when the kernel has unmounted. Any thread. */
bool threads_are_ending(const struct threads *threads);
/* After threads_end() and pending_kill(): waits until they have left. */
void threads_join(struct threads *threads);
