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

#include "guest-fuse/mount/server/connection.h"

enum { LANES_FIRST = 2, LANES_IDLE = 1, LANES_MAX = 64 };

struct lanes {
	struct client *client;
	unsigned max;
	struct lane *all[LANES_MAX];
	_Atomic unsigned count;   /* of all; grows only */
	_Atomic int idle;         /* threads that wait for the kernel, or are about to */
	_Atomic unsigned working; /* threads that have a request */
	_Atomic uint32_t asker;   /* thread that asked for the last one of these */
	_Atomic unsigned waited;  /* the last requests that were there before a thread was, in a row */
	_Atomic bool ending;      /* unmounted: the threads leave */
	_Atomic bool saturated;   /* nobody waits for the kernel, and nobody is about to */

	pthread_mutex_t lock;
	pthread_cond_t wake;
	unsigned parked, wakes; /* threads that sleep; how many of them shall go on */
	bool starting;
	int64_t retry_at; /* clock_ns(): no other thread is started before */
	pthread_t threads[LANES_MAX];
	unsigned started;

	/* Interrupts that came before their request was seen: both lie in the kernel's queue for different threads. */
	pthread_mutex_t early_lock;
	_Atomic unsigned early_count;
	struct lanes_early {
		uint64_t unique;
		int64_t since;
	} early[LANES_MAX];
};

void lanes_init(struct lanes *lanes, struct client *client);
/* Before lanes_start(): how many at most, no more than LANES_MAX. */
void lanes_limit(struct lanes *lanes, unsigned max);
/* Connects the first lanes and starts their threads. 0 or a negative errno. */
int lanes_start(struct lanes *lanes);
/* Somebody waits for the kernel's next request, or is about to. */
bool lanes_are_read(const struct lanes *lanes);
/* A thread that has a request: how many others have one. */
unsigned lanes_others(const struct lanes *lanes);
/* Starts or wakes another thread if nobody waits for the kernel. Any thread. */
void lanes_grow(struct lanes *lanes);
/* Breaks every connection, so that nobody waits for the server any more. Any thread. */
void lanes_kill(struct lanes *lanes);
/* The threads leave as soon as they are free. Any thread. */
void lanes_end(struct lanes *lanes);
/* After lanes_end() and lanes_kill(): waits until they have left. */
void lanes_join(struct lanes *lanes);
void lanes_done(struct lanes *lanes);
