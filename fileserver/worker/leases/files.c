/* SPDX-License-Identifier: Apache-2.0 */
/* Changes of files that no event tells of. */
#include <errno.h>
#include <poll.h>
#include <sys/stat.h>

#include "fileserver/worker/leases/internal.h"
#include "fileserver/worker/nodes/ids.h"
#include "fileserver/worker/nodes/nodes.h"
#include "fileserver/worker/nodes/stamps.h"
#include "protocol/clock.h"

enum { PART_OF_TIME = 500, PAUSE_MAX_MS = 600000 };

bool leases_told(struct leases *leases, struct node *node, const struct statx *stx)
{
	if (leases == NULL || !atomic_load(&leases->looking))
		return false;
	stamps_keep(node, stx);
	return stx->stx_nlink == 1;
}

uint32_t leases_before_change(const struct node *node)
{
	return stamps_of(node);
}

void leases_after_change(struct node *node, uint32_t before)
{
	stamps_own(node, before);
}

void leases_renamed(struct leases *leases, const struct statx *before, const struct statx *after)
{
	struct node *node;

	if (nodes_get(leases->nodes, nodes_find(leases->nodes, before), &node) < 0)
		return;
	if (nodes_find(leases->nodes, after) == nodes_id(node))
		stamps_renamed(node, before, after);
	nodes_put(leases->nodes, node);
}

static void on_changed(void *context, struct node *node)
{
	struct leases *leases = context;

	if (leases->counters != NULL)
		proto_counter_add(&leases->counters->lease_events, 1);
	leases_lose_file(leases, nodes_id(node));
}

void leases_seen(struct leases *leases, struct node *node, const struct statx *stx)
{
	if (leases != NULL && stamps_differ(node, stx))
		on_changed(leases, node);
}

/* A few files. The lock: who comes after a file that was found changed comes after its message was ordered, too. */
static bool look(struct leases *leases, uint32_t *cursor)
{
	bool more;

	lock_take(&leases->looks);
	more = stamps_look_again(leases->nodes, cursor, on_changed, leases);
	lock_give(&leases->looks);
	return more;
}

void leases_look_now(struct leases *leases)
{
	uint32_t cursor = 0;

	while (look(leases, &cursor))
		;
}

static bool wait_for_end(int end, int64_t ms)
{
	struct pollfd fds = { .fd = end, .events = POLLIN };

	while (poll(&fds, 1, (int) ms) < 0)
		if (errno != EINTR)
			return true;
	return fds.revents != 0;
}

void leases_look_again(struct leases *leases, int end)
{
	int64_t pause = LEASES_LOOK_MS;

	atomic_store(&leases->looking, true);
	while (!wait_for_end(end, pause)) {
		int64_t begin = clock_ms(), took;
		uint32_t cursor = 0;

		while (look(leases, &cursor))
			if (wait_for_end(end, 0))
				return;
		took = clock_ms() - begin;
		pause = took * PART_OF_TIME > LEASES_LOOK_MS ? took * PART_OF_TIME : LEASES_LOOK_MS;
		if (pause > PAUSE_MAX_MS)
			pause = PAUSE_MAX_MS;
	}
}
