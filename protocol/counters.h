/* SPDX-License-Identifier: Apache-2.0 */
/* Statistics by operation, kept by both programs: a fixed layout, for memory that may be shared between processes. */
#pragma once

#include <stdatomic.h>

#include "messages.h"

struct proto_counter {
	_Atomic uint64_t count, errors, bytes, nanoseconds;
};

struct proto_counters {
	struct proto_counter ops[PROTO_OP_LIMIT];
	/* Gauges of a session; 0 where they do not apply. */
	_Atomic uint64_t lanes, nodes, handles, descriptors;
	/* Connections that the broker has passed to the worker and that became a lane or were refused. */
	_Atomic uint64_t lanes_taken;
	/* Watched directories; changes by others in them; how often the host's queue of them overflowed. */
	_Atomic uint64_t leases, lease_events, lease_overflows;
	_Atomic uint64_t leases_state; /* enum leases_state */
};

static inline void proto_counter_add(_Atomic uint64_t *counter, uint64_t more)
{
	atomic_fetch_add_explicit(counter, more, memory_order_relaxed);
}
static inline uint64_t proto_counter_get(const _Atomic uint64_t *counter)
{
	return atomic_load_explicit(counter, memory_order_relaxed);
}
