/* SPDX-License-Identifier: Apache-2.0 */
/* Tells the kernel to drop pages, from a thread of its own. */
#define FUSE_USE_VERSION 314
#include "guest-fuse/mount/notifier.h"

#include <fuse_lowlevel.h>
#include <string.h>

enum { NOTIFIER_STACK = 256 * 1024 };

void notifier_init(struct notifier *notifier)
{
	memset(notifier, 0, sizeof(*notifier));
	pthread_mutex_init(&notifier->lock, NULL);
	pthread_cond_init(&notifier->wake, NULL);
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
	while (next(notifier, &range))
		(void) fuse_lowlevel_notify_inval_inode(notifier->fuse, range.ino, (off_t) range.offset,
		                                        (off_t) range.length);
	return NULL;
}

int notifier_start(struct notifier *notifier, struct fuse_session *fuse)
{
	pthread_attr_t attributes;
	int r;

	notifier->fuse = fuse;
	pthread_attr_init(&attributes);
	pthread_attr_setstacksize(&attributes, NOTIFIER_STACK);
	r = pthread_create(&notifier->thread, &attributes, run, notifier);
	pthread_attr_destroy(&attributes);
	notifier->running = r == 0;
	return -r;
}

void notifier_invalidate(struct notifier *notifier, uint64_t ino, uint64_t offset, uint64_t length)
{
	pthread_mutex_lock(&notifier->lock);
	if (notifier->count < NOTIFIER_QUEUE) {
		unsigned at = (notifier->first + notifier->count++) % NOTIFIER_QUEUE;

		notifier->queue[at] = (struct notifier_range){ ino, offset, length };
		pthread_cond_signal(&notifier->wake);
	}
	pthread_mutex_unlock(&notifier->lock);
}

void notifier_stop(struct notifier *notifier)
{
	pthread_mutex_lock(&notifier->lock);
	notifier->ending = true;
	pthread_cond_signal(&notifier->wake);
	pthread_mutex_unlock(&notifier->lock);
	if (notifier->running)
		(void) pthread_join(notifier->thread, NULL);
	notifier->running = false;
	pthread_cond_destroy(&notifier->wake);
	pthread_mutex_destroy(&notifier->lock);
}
