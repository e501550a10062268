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
#include "protocol/lock.h"

enum { QUEUE = 256, STACK = 256 * 1024, FLUSH_SECONDS = 2 };

struct notifier_range {
	uint64_t ino, offset, length; /* length 0: to the end */
};

struct notifier {
	struct client *client;
	struct lock lock;
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

	if (notifier == NULL)
		return NULL;
	notifier->client = client;
	lock_init(&notifier->lock);
	pthread_cond_init(&notifier->wake, NULL);
	lock_condition_init(&notifier->progress);
	return notifier;
}

void notifier_free(struct notifier *notifier)
{
	if (notifier == NULL)
		return;
	pthread_cond_destroy(&notifier->wake);
	pthread_cond_destroy(&notifier->progress);
	lock_done(&notifier->lock);
	free(notifier);
}

enum work { WORK_END, WORK_RANGE, WORK_PRUNE };

/* Waits for work. */
static enum work next(struct notifier *notifier, struct notifier_range *ret_range)
{
	enum work work = WORK_END;

	lock_take(&notifier->lock);
	while (notifier->count == 0 && !notifier->prune && !notifier->ending)
		lock_wait(&notifier->lock, &notifier->wake);
	if (!notifier->ending)
		work = notifier->count > 0 ? WORK_RANGE : WORK_PRUNE;
	if (work == WORK_PRUNE) {
		notifier->prune = false;
	} else if (work == WORK_RANGE) {
		*ret_range = notifier->queue[notifier->first];
		notifier->first = (notifier->first + 1) % QUEUE;
		notifier->count--;
	}
	lock_give(&notifier->lock);
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
		lock_take(&notifier->lock);
		notifier->done++;
		pthread_cond_broadcast(&notifier->progress);
		lock_give(&notifier->lock);
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

static bool enqueue(struct notifier *notifier, const struct notifier_range *range) LOCK_HELD(notifier->lock);
/* False: the queue is full. */
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

	lock_take(&notifier->lock);
	(void) enqueue(notifier, &range);
	lock_give(&notifier->lock);
}

void notifier_prune(struct notifier *notifier)
{
	if (!notifier->running || objects_excess(notifier->client->objects) == 0 ||
	    atomic_exchange(&notifier->pruning, true))
		return;
	lock_take(&notifier->lock);
	notifier->prune = true;
	pthread_cond_signal(&notifier->wake);
	lock_give(&notifier->lock);
}

bool notifier_drop(struct notifier *notifier, uint64_t ino, uint64_t offset, uint64_t length)
{
	struct notifier_range range = { ino, offset, length };
	const struct timespec deadline = clock_deadline_ms(FLUSH_SECONDS * 1000);
	uint64_t ticket;
	bool done;
	int r = 0;

	lock_take(&notifier->lock);
	done = notifier->running && !notifier->ending && enqueue(notifier, &range);
	ticket = notifier->queued;
	while (done && notifier->done < ticket) {
		if (notifier->ending || r == ETIMEDOUT)
			done = false;
		else
			r = lock_wait_until(&notifier->lock, &notifier->progress, &deadline);
	}
	lock_give(&notifier->lock);
	return done;
}

void notifier_stop(struct notifier *notifier)
{
	lock_take(&notifier->lock);
	notifier->ending = true;
	pthread_cond_signal(&notifier->wake);
	pthread_cond_broadcast(&notifier->progress);
	lock_give(&notifier->lock);
	if (notifier->running)
		(void) pthread_join(notifier->thread, NULL);
	notifier->running = false;
}
