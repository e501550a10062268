/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One session, as the operations know it: what is served, how, and what has been learned of it. Threads, lanes and the
 * session's end belong to the service (service.h), which makes and frees it.
 */
#pragma once

#include <stdatomic.h>

#include "fileserver/common/handover.h"
#include "fileserver/worker/session/inodes.h"
#include "fileserver/worker/nodes/nodes.h"
#include "fileserver/worker/session/protect.h"
#include "fileserver/worker/session/space.h"
#include "fileserver/worker/session/sync.h"
#include "protocol/lock.h"

struct leases;

struct session {
	struct worker_config config;
	_Atomic bool read_only; /* never changes back to false */
	uid_t uid;              /* uid of the serving user */
	bool sync_at_close;     /* PROTO_WELCOME_SYNC_AT_CLOSE */
	bool may_lift;          /* lift.h */
	struct nodes *nodes;
	struct leases *leases; /* NULL: the guest gets none */
	struct inodes inodes;
	struct protect protect;
	struct space space;
	struct sync sync;
	struct lock link_owners_lock;                    /* guards directories' records of links (link-owners.h) */
	_Atomic uint32_t nodes_limit, descriptors_limit; /* allotment.h */
	_Atomic int64_t wanted_at;
	void (*wants)(void); /* asks the broker for more; NULL: there is no broker */
	struct proto_counters *counters;
};

static inline bool session_is_read_only(const struct session *session)
{
	return atomic_load(&session->read_only);
}
