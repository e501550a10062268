/* SPDX-License-Identifier: Apache-2.0 */
/* Which of the server's answers under a lease still hold. */
#include "guest-fuse/mount/known/held.h"

#include <stdatomic.h>
#include <stdlib.h>

#include "protocol/clock.h"
#include "protocol/fields.h"

enum { SLOTS = 4096 };

struct held {
	_Atomic uint64_t events, all;
	/* Of the newest INVALIDATE about an object with this slot (modulo SLOTS). */
	_Atomic uint64_t changed[SLOTS];
	_Atomic int64_t all_at, changed_at[SLOTS]; /* clock_ms() */
};

struct held *held_new(void)
{
	return calloc(1, sizeof(struct held));
}

void held_free(struct held *held)
{
	free(held);
}

uint64_t held_now(const struct held *held)
{
	return atomic_load(&held->events);
}

bool held_since(const struct held *held, uint64_t id, uint64_t number)
{
	return atomic_load(&held->changed[PROTO_ID_SLOT(id) % SLOTS]) <= number && atomic_load(&held->all) <= number;
}

bool held_quiet(const struct held *held, uint64_t id)
{
	int64_t since = clock_ms() - HELD_QUIET_MS;

	return atomic_load(&held->changed_at[PROTO_ID_SLOT(id) % SLOTS]) < since && atomic_load(&held->all_at) < since;
}

/*
 * A request that begins between the two steps takes the new number. That is right: it is sent after the INVALIDATE
 * arrived, so its answer is younger than the change.
 */
void held_changed(struct held *held, uint64_t id)
{
	uint64_t number = atomic_fetch_add(&held->events, 1) + 1;

	atomic_store(&held->changed_at[PROTO_ID_SLOT(id) % SLOTS], clock_ms());
	atomic_store(&held->changed[PROTO_ID_SLOT(id) % SLOTS], number);
}

void held_changed_all(struct held *held)
{
	uint64_t number = atomic_fetch_add(&held->events, 1) + 1;

	atomic_store(&held->all_at, clock_ms());
	atomic_store(&held->all, number);
}
