/* SPDX-License-Identifier: Apache-2.0 */
/* Threads that sleep until one of them is needed. */
#include "guest-fuse/mount/kernel/sleepers.h"

#include <stddef.h>

void sleeper_init(struct sleeper *sleeper)
{
	*sleeper = (struct sleeper){ 0 };
	pthread_cond_init(&sleeper->wake, NULL);
}

void sleeper_done(struct sleeper *sleeper)
{
	pthread_cond_destroy(&sleeper->wake);
}

void sleepers_wait(struct sleepers *sleepers, struct sleeper *self, struct lock *lock)
{
	self->below = sleepers->top;
	self->sleeps = true;
	sleepers->top = self;
	while (self->sleeps)
		lock_wait(lock, &self->wake);
}

void sleepers_wake(struct sleepers *sleepers)
{
	struct sleeper *sleeper = sleepers->top;

	if (sleeper == NULL)
		return;
	sleepers->top = sleeper->below;
	sleeper->sleeps = false;
	pthread_cond_signal(&sleeper->wake);
}

void sleepers_wake_all(struct sleepers *sleepers)
{
	while (sleepers->top != NULL)
		sleepers_wake(sleepers);
}
