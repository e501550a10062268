/* SPDX-License-Identifier: Apache-2.0 */
/* Tells the kernel to drop pages and to forget names, from a thread of its own. */
#define FUSE_USE_VERSION 314
#include "guest-fuse/mount/kernel/notifier.h"

#include <errno.h>
#include <fuse_lowlevel.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

#include "guest-fuse/mount/kernel/client.h"
#include "guest-fuse/mount/kernel/prune.h"
#include "guest-fuse/mount/known/objects.h"
#include "protocol/clock.h"
#include "protocol/faults.h"

enum { QUEUE = 256, STACK = 256 * 1024, FLUSH_SECONDS = 2 };

struct notifier_range {
	uint64_t ino, offset, length; /* length 0: to the end */
};

struct notifier {
	struct client *client;
	pthread_mutex_t lock;
	pthread_cond_t wake;
	pthread_t thread;
	bool running, ending;
	struct notifier_range queue[QUEUE];
	unsigned first, count;
	uint64_t queued, done; /* how many ranges since the start */
	_Atomic bool pruning;  /* asked for, and not yet done */
	bool prune;            /* asked for, and not yet begun */
	pthread_cond_t progress;
};

struct notifier *notifier_new(struct client *client)
{
	struct notifier *notifier = calloc(1, sizeof(*notifier));
	pthread_condattr_t attributes;

	if (notifier == NULL)
		return NULL;
	notifier->client = client;
	pthread_mutex_init(&notifier->lock, NULL);
	pthread_cond_init(&notifier->wake, NULL);
	pthread_condattr_init(&attributes);
	pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
	pthread_cond_init(&notifier->progress, &attributes);
	pthread_condattr_destroy(&attributes);
	return notifier;
}

void notifier_free(struct notifier *notifier)
{
	if (notifier == NULL)
		return;
	pthread_cond_destroy(&notifier->wake);
	pthread_cond_destroy(&notifier->progress);
	pthread_mutex_destroy(&notifier->lock);
	free(notifier);
}

enum work { WORK_END, WORK_RANGE, WORK_PRUNE };

/* Waits for work. */
static enum work next(struct notifier *notifier, struct notifier_range *ret_range)
{
	enum work work = WORK_END;

	pthread_mutex_lock(&notifier->lock);
	while (notifier->count == 0 && !notifier->prune && !notifier->ending)
		pthread_cond_wait(&notifier->wake, &notifier->lock);
	if (!notifier->ending)
		work = notifier->count > 0 ? WORK_RANGE : WORK_PRUNE;
	if (work == WORK_PRUNE) {
		notifier->prune = false;
	} else if (work == WORK_RANGE) {
		*ret_range = notifier->queue[notifier->first];
		notifier->first = (notifier->first + 1) % QUEUE;
		notifier->count--;
	}
	pthread_mutex_unlock(&notifier->lock);
	return work;
}

static void *run(void *argument)
{
	struct notifier *notifier = argument;
	struct notifier_range range;
	enum work work;

	while ((work = next(notifier, &range)) != WORK_END) {
		if (work == WORK_PRUNE) {
			prune(notifier->client);
			atomic_store(&notifier->pruning, false);
			continue;
		}
		/* An inode that the kernel does not know any more has no pages. */
		(void) fuse_lowlevel_notify_inval_inode(notifier->client->fuse, range.ino, (off_t) range.offset,
		                                        (off_t) range.length);
		pthread_mutex_lock(&notifier->lock);
		notifier->done++;
		pthread_cond_broadcast(&notifier->progress);
		pthread_mutex_unlock(&notifier->lock);
	}
	return NULL;
}

int notifier_start(struct notifier *notifier)
{
	pthread_attr_t attributes;
	int r;

	pthread_attr_init(&attributes);
	pthread_attr_setstacksize(&attributes, STACK);
	r = FAULT_NUMBER(MOUNT_THREAD, pthread_create(&notifier->thread, &attributes, run, notifier));
	pthread_attr_destroy(&attributes);
	notifier->running = r == 0;
	return -r;
}

/* With the lock held. False: the queue is full. */
static bool enqueue(struct notifier *notifier, const struct notifier_range *range)
{
	if (notifier->count == QUEUE)
		return false;
	notifier->queue[(notifier->first + notifier->count++) % QUEUE] = *range;
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

void notifier_prune(struct notifier *notifier)
{
	if (!notifier->running || objects_excess(notifier->client->objects) == 0 ||
	    atomic_exchange(&notifier->pruning, true))
		return;
	pthread_mutex_lock(&notifier->lock);
	notifier->prune = true;
	pthread_cond_signal(&notifier->wake);
	pthread_mutex_unlock(&notifier->lock);
}

bool notifier_drop(struct notifier *notifier, uint64_t ino, uint64_t offset, uint64_t length)
{
	struct notifier_range range = { ino, offset, length };
	const struct timespec deadline = clock_deadline_ms(FLUSH_SECONDS * 1000);
	uint64_t ticket;
	bool done;
	int r = 0;

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
}
