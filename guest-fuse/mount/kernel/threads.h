/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The threads of a mount: as many as there are requests at once, up to a limit.
 *
 * One thread reads the kernel's requests as long as it answers them fast enough: a process that works alone always
 * meets the same thread with warm caches, and nobody is woken for a request but this thread. When the server takes its
 * time with a reply, or several requests in a row had to wait, a parked thread is woken to read, too, or another one
 * started. Whoever finds another thread waiting for the kernel is parked.
 */
#pragma once

#include <stdbool.h>

enum { THREADS_MAX = 64 };

struct client;
struct thread;
struct threads;

/* serve: works on the request that the thread has read. NULL: out of memory. */
struct threads *threads_new(struct client *client, void (*serve)(struct thread *thread));
/* After threads_join(). */
void threads_free(struct threads *threads);

/* Before threads_start(): how many at most, no more than THREADS_MAX. */
void threads_limit(struct threads *threads, unsigned max);
/* Connects the first ones to the server and starts them. 0 or a negative errno. */
int threads_start(struct threads *threads);
/* There is a thread that was started and not joined. */
bool threads_are_there(struct threads *threads);

/* Somebody waits for the kernel's next request, or is about to. Any thread. */
bool threads_are_reading(const struct threads *threads);
/* A thread that has a request: how many others have one. */
unsigned threads_others(const struct threads *threads);
/* Starts or wakes another thread if nobody waits for the kernel. Any thread. */
void threads_grow(struct threads *threads);
/* Nobody waits for the kernel, and nobody is about to: there can be no more of them. Any thread. */
bool threads_are_saturated(const struct threads *threads);

/* The threads leave as soon as they are free. Any thread. */
void threads_end(struct threads *threads);
/* They have been told so, or the mount is gone. Any thread. */
bool threads_are_ending(const struct threads *threads);
/* After threads_end() and pending_kill(): waits until they have left. */
void threads_join(struct threads *threads);
