/* SPDX-License-Identifier: Apache-2.0 */
/* A mount's part of the budget. */
#include "fileserver/worker/session/allotment.h"

#include "fileserver/worker/nodes/fds.h"
#include "fileserver/worker/session/session.h"
#include "protocol/clock.h"

enum { ALLOTMENT_EVERY_MS = 100 };

void allotment_take(struct session *session, uint32_t nodes_max, uint32_t descriptors_max)
{
	atomic_store(&session->nodes_limit, nodes_max);
	atomic_store(&session->descriptors_limit, descriptors_max);
	nodes_lock(session->nodes);
	session->nodes->nodes_max = nodes_max;
	session->nodes->descriptors_max = descriptors_max;
	nodes_unlock(session->nodes);
}

/* Whether less than an eighth is left. */
static bool is_short(const _Atomic uint64_t *used, const _Atomic uint32_t *limit)
{
	uint64_t most = atomic_load_explicit(limit, memory_order_relaxed);

	return proto_counter_get(used) >= most - most / 8;
}

void allotment_look(struct session *session)
{
	int64_t at, now;

	if (session->wants == NULL || (!is_short(&session->counters->nodes, &session->nodes_limit) &&
	                               !is_short(&session->counters->descriptors, &session->descriptors_limit)))
		return;
	now = clock_ms();
	at = atomic_load(&session->wanted_at);
	if (now - at >= ALLOTMENT_EVERY_MS && atomic_compare_exchange_strong(&session->wanted_at, &at, now))
		session->wants();
}
