/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Threads that sleep until one of them is needed. The one that has slept least is woken first: its lane's memory, and
 * the server's thread for it, are still in the caches. Taken in turn, all that a storm has left behind would be used
 * for ever. All functions with the lock of the owner held, which the thread gives while it sleeps.
 */
#pragma once

#include <pthread.h>
#include <stdbool.h>

#include "protocol/lock.h"

/* A thread's own. */
struct sleeper {
	pthread_cond_t wake;
	struct sleeper *below; /* that has slept longer */
	bool sleeps;
};

/* All zero at first. */
struct sleepers {
	struct sleeper *top;
};

void sleeper_init(struct sleeper *sleeper);
void sleeper_done(struct sleeper *sleeper);

/* The calling thread sleeps until it is woken. */
void sleepers_wait(struct sleepers *sleepers, struct sleeper *self, struct lock *lock) LOCK_HELD(*lock);
/* Wakes one, if any sleeps. It runs when the lock is free. */
void sleepers_wake(struct sleepers *sleepers);
void sleepers_wake_all(struct sleepers *sleepers);
