/* SPDX-License-Identifier: Apache-2.0 */
/* Figures by operation that both programs keep: a fixed layout in memory that may be shared between processes. */
#pragma once

#include <stdatomic.h>

#include "messages.h"

struct proto_counter {
	_Atomic uint64_t count, errors, bytes, nanoseconds;
};

struct proto_counters {
	struct proto_counter ops[PROTO_OP_LIMIT];
	/* Gauges of a session; zero where they mean nothing. */
	_Atomic uint64_t lanes, nodes, handles, descriptors;
	/* How many connections the server's broker has passed that became a lane or were refused. */
	_Atomic uint64_t lanes_taken;
};

static inline void proto_counter_add(_Atomic uint64_t *counter, uint64_t more)
{
	atomic_fetch_add_explicit(counter, more, memory_order_relaxed);
}
static inline uint64_t proto_counter_get(const _Atomic uint64_t *counter)
{
	return atomic_load_explicit(counter, memory_order_relaxed);
}
