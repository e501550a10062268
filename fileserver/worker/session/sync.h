/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SYNCFS, which writes back all that anybody has written to the host's file system: one at a time in a session, with
 * SYNC_PAUSE_MS between two. Requests that wait meanwhile share the next one.
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
	uint64_t begun; /* how many have begun */
	/* The last one that has ended: which, of what device, how, and when (ms). */
	uint64_t last;
	dev_t device;
	int result;
	int64_t at;
};

void sync_init(struct sync *sync);
void sync_done(struct sync *sync);
/* syncfs() of the file system that fd is on; returns when one has ended that began after this was called. 0 or -errno.
 */
int sync_wait(struct sync *sync, int fd);
