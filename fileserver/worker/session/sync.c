/* SPDX-License-Identifier: Apache-2.0 */
/* Runs SYNCFS, one at a time. */
#include "fileserver/worker/session/sync.h"

#include <errno.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "protocol/clock.h"
#include "protocol/faults.h"

void sync_init(struct sync *sync)
{
	*sync = (struct sync){ .at = INT64_MIN / 2 };
	lock_init(&sync->lock);
	pthread_cond_init(&sync->ended, NULL);
}

void sync_done(struct sync *sync)
{
	pthread_cond_destroy(&sync->ended);
	lock_done(&sync->lock);
}

static void run(struct sync *sync, int fd, dev_t device) LOCK_HELD(sync->lock);
/* Releases the lock while it waits and syncs. */
static void run(struct sync *sync, int fd, dev_t device)
{
	int64_t wait = sync->at + SYNC_PAUSE_MS - clock_ms();
	const struct timespec pause = { .tv_nsec = wait > 0 ? (long) wait * 1000000 : 0 };
	uint64_t number;
	int r;

	sync->running = true;
	if (wait > 0) {
		lock_give(&sync->lock);
		(void) nanosleep(&pause, NULL);
		lock_take(&sync->lock);
	}
	/* A caller that comes from now on may have written data that this run does not write back. */
	number = ++sync->begun;
	lock_give(&sync->lock);
	r = FAULT(WORKER_SYNC, syncfs(fd)) < 0 ? -errno : 0;
	lock_take(&sync->lock);
	sync->running = false;
	sync->last = number;
	sync->device = device;
	sync->result = r;
	sync->at = clock_ms();
	pthread_cond_broadcast(&sync->ended);
}

int sync_wait(struct sync *sync, int fd)
{
	uint64_t before;
	struct stat st;
	int r;

	if (fstat(fd, &st) < 0)
		return -errno;
	lock_take(&sync->lock);
	before = sync->begun;
	while (sync->last <= before || sync->device != st.st_dev) {
		if (sync->running)
			lock_wait(&sync->lock, &sync->ended);
		else
			run(sync, fd, st.st_dev);
	}
	r = sync->result;
	lock_give(&sync->lock);
	return r;
}
