/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SYNCFS writes back everything that anybody has written to the host's file system: a session runs one at a time, with
 * SYNC_PAUSE_MS between two. Requests that arrive meanwhile share the next one.
 */
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "protocol/lock.h"

enum { SYNC_PAUSE_MS = 100 };

struct sync {
	struct lock lock;
	pthread_cond_t ended;
	bool running;
	uint64_t begun; /* number of runs that have begun */
	/* The last run that has ended: its number, device, result, and the time of its end (ms). */
	uint64_t last;
	dev_t device;
	int result;
	int64_t at;
};

void sync_init(struct sync *sync);
void sync_done(struct sync *sync);
/*
 * Runs syncfs(2) on the file system of fd, or waits for a run that began after this call. Returns its result: 0 or a
 * negative errno.
 */
int sync_wait(struct sync *sync, int fd);
