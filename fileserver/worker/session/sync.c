/* SPDX-License-Identifier: Apache-2.0 */
/* SYNCFS. */
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
	pthread_mutex_init(&sync->lock, NULL);
	pthread_cond_init(&sync->ended, NULL);
}

void sync_done(struct sync *sync)
{
	pthread_cond_destroy(&sync->ended);
	pthread_mutex_destroy(&sync->lock);
}

/* With the lock held, which is given back meanwhile. */
static void run(struct sync *sync, int fd, dev_t device)
{
	int64_t wait = sync->at + SYNC_PAUSE_MS - clock_ms();
	const struct timespec pause = { .tv_nsec = wait > 0 ? (long) wait * 1000000 : 0 };
	uint64_t number;
	int r;

	sync->running = true;
	if (wait > 0) {
		pthread_mutex_unlock(&sync->lock);
		(void) nanosleep(&pause, NULL);
		pthread_mutex_lock(&sync->lock);
	}
	/* Who comes from here on may have written what this one does not see. */
	number = ++sync->begun;
	pthread_mutex_unlock(&sync->lock);
	r = FAULT(WORKER_SYNC, syncfs(fd)) < 0 ? -errno : 0;
	pthread_mutex_lock(&sync->lock);
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
	pthread_mutex_lock(&sync->lock);
	before = sync->begun;
	while (sync->last <= before || sync->device != st.st_dev) {
		if (sync->running)
			pthread_cond_wait(&sync->ended, &sync->lock);
		else
			run(sync, fd, st.st_dev);
	}
	r = sync->result;
	pthread_mutex_unlock(&sync->lock);
	return r;
}
