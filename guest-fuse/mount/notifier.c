/* SPDX-License-Identifier: Apache-2.0 */
/* Tells the kernel to drop pages, from a thread of its own. */
#define FUSE_USE_VERSION 314
#include "guest-fuse/mount/notifier.h"

#include <errno.h>
#include <fuse_lowlevel.h>
#include <string.h>
#include <time.h>
#include "protocol/faults.h"

enum { NOTIFIER_STACK = 256 * 1024, FLUSH_SECONDS = 2 };

void notifier_init(struct notifier *notifier)
{
	pthread_condattr_t attributes;

	memset(notifier, 0, sizeof(*notifier));
	pthread_mutex_init(&notifier->lock, NULL);
	pthread_cond_init(&notifier->wake, NULL);
	pthread_condattr_init(&attributes);
	pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
	pthread_cond_init(&notifier->progress, &attributes);
	pthread_condattr_destroy(&attributes);
}

/* Waits for a range. False: there will be none. */
static bool next(struct notifier *notifier, struct notifier_range *ret_range)
{
	bool found;

	pthread_mutex_lock(&notifier->lock);
	while (notifier->count == 0 && !notifier->ending)
		pthread_cond_wait(&notifier->wake, &notifier->lock);
	found = notifier->count > 0 && !notifier->ending;
	if (found) {
		*ret_range = notifier->queue[notifier->first];
		notifier->first = (notifier->first + 1) % NOTIFIER_QUEUE;
		notifier->count--;
	}
	pthread_mutex_unlock(&notifier->lock);
	return found;
}

static void *run(void *argument)
{
	struct notifier *notifier = argument;
	struct notifier_range range;

	/* An inode that the kernel does not know any more has no pages. */
	while (next(notifier, &range)) {
		(void) fuse_lowlevel_notify_inval_inode(notifier->fuse, range.ino, (off_t) range.offset,
		                                        (off_t) range.length);
		pthread_mutex_lock(&notifier->lock);
		notifier->done++;
		pthread_cond_broadcast(&notifier->progress);
		pthread_mutex_unlock(&notifier->lock);
	}
	return NULL;
}

int notifier_start(struct notifier *notifier, struct fuse_session *fuse)
{
	pthread_attr_t attributes;
	int r;

	notifier->fuse = fuse;
	pthread_attr_init(&attributes);
	pthread_attr_setstacksize(&attributes, NOTIFIER_STACK);
	r = FAULT_NUMBER(MOUNT_THREAD, pthread_create(&notifier->thread, &attributes, run, notifier));
	pthread_attr_destroy(&attributes);
	notifier->running = r == 0;
	return -r;
}

/* With the lock held. False: the queue is full. */
static bool enqueue(struct notifier *notifier, const struct notifier_range *range)
{
	if (notifier->count == NOTIFIER_QUEUE)
		return false;
	notifier->queue[(notifier->first + notifier->count++) % NOTIFIER_QUEUE] = *range;
	notifier->queued++;
	pthread_cond_signal(&notifier->wake);
	return true;
}

void notifier_invalidate(struct notifier *notifier, uint64_t ino, uint64_t offset, uint64_t length)
{
	struct notifier_range range = { ino, offset, length };

	pthread_mutex_lock(&notifier->lock);
	(void) enqueue(notifier, &range);
	pthread_mutex_unlock(&notifier->lock);
}

bool notifier_flush(struct notifier *notifier, uint64_t ino)
{
	struct notifier_range range = { ino, 0, 0 };
	struct timespec deadline;
	uint64_t ticket;
	bool done;
	int r = 0;

	clock_gettime(CLOCK_MONOTONIC, &deadline);
	deadline.tv_sec += FLUSH_SECONDS;
	pthread_mutex_lock(&notifier->lock);
	done = notifier->running && !notifier->ending && enqueue(notifier, &range);
	ticket = notifier->queued;
	while (done && notifier->done < ticket) {
		if (notifier->ending || r == ETIMEDOUT)
			done = false;
		else
			r = pthread_cond_timedwait(&notifier->progress, &notifier->lock, &deadline);
	}
	pthread_mutex_unlock(&notifier->lock);
	return done;
}

void notifier_stop(struct notifier *notifier)
{
	pthread_mutex_lock(&notifier->lock);
	notifier->ending = true;
	pthread_cond_signal(&notifier->wake);
	pthread_cond_broadcast(&notifier->progress);
	pthread_mutex_unlock(&notifier->lock);
	if (notifier->running)
		(void) pthread_join(notifier->thread, NULL);
	notifier->running = false;
	pthread_cond_destroy(&notifier->wake);
	pthread_cond_destroy(&notifier->progress);
	pthread_mutex_destroy(&notifier->lock);
}
