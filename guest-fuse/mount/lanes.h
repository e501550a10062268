/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The threads of a mount: as many as there are requests at once, up to a limit.
 *
 * At most LANES_IDLE threads wait for the kernel at a time; the others are parked, so that one process that works alone
 * always meets the same threads with warm caches. When a thread takes a request and nobody is left to wait for the next
 * one, a parked thread is woken or another one started.
 */
#pragma once

#include "guest-fuse/mount/lane.h"

enum { LANES_FIRST = 2, LANES_IDLE = 2, LANES_MAX = 64 };

struct lanes {
	struct client *client;
	unsigned max;
	struct lane *all[LANES_MAX];
	_Atomic unsigned count; /* of all; grows only */
	_Atomic int idle;       /* threads that wait for the kernel, or are about to */
	_Atomic bool ending;    /* unmounted: the threads leave */
	_Atomic bool saturated; /* nobody waits for the kernel, and nobody is about to */

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
/* Starts or wakes another thread if nobody waits for the kernel. Any thread. */
void lanes_grow(struct lanes *lanes);
/* Breaks every connection, so that nobody waits for the server any more. Any thread. */
void lanes_kill(struct lanes *lanes);
/* The threads leave as soon as they are free. Any thread. */
void lanes_end(struct lanes *lanes);
/* After lanes_end() and lanes_kill(): waits until they have left. */
void lanes_join(struct lanes *lanes);
void lanes_done(struct lanes *lanes);
