/* SPDX-License-Identifier: Apache-2.0 */
/* Statistics by operation, kept by both programs: a fixed layout, for memory that may be shared between processes. */
#pragma once

#include <stdatomic.h>

#include "messages.h"

struct proto_counter {
	_Atomic uint64_t count, errors, bytes, nanoseconds;
};

/* Why a mount has leases, or none. 0: it has not begun. */
enum leases_state {
	LEASES_GIVEN = 1,   /* leases are given */
	LEASES_NOT_ASKED,   /* the guest asked for none */
	LEASES_NO_WATCH,    /* this machine has neither fanotify nor inotify for the user */
	LEASES_NO_MARKS,    /* the user has no mark left: no more leases than there are */
	LEASES_FILE_SYSTEM, /* others can write to the share's file system (NFS, FUSE, overlayfs and so on) */
	LEASES_BEHIND,      /* the guest does not keep up */
};

struct proto_counters {
	struct proto_counter ops[PROTO_OP_LIMIT];
	/* Gauges of a session; 0 where they do not apply. */
	_Atomic uint64_t lanes, nodes, handles, descriptors;
	/* Connections that the broker has passed to the worker and that became a lane or were refused. */
	_Atomic uint64_t lanes_taken;
	/*
	 * Watched directories, and the most there may be; events of changes that others made in them, several changes
	 * of one object being one event; how often the host's queue of events overflowed.
	 */
	_Atomic uint64_t leases, leases_most, lease_events, lease_overflows;
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
