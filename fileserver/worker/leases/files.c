/* SPDX-License-Identifier: Apache-2.0 */
/* Changes of files that no event tells of. */
#include <errno.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/stat.h>

#include "fileserver/worker/leases/internal.h"
#include "fileserver/worker/nodes/ids.h"
#include "fileserver/worker/nodes/nodes.h"
#include "fileserver/worker/nodes/stamps.h"
#include "protocol/cleanup.h"
#include "protocol/clock.h"

/* REST_TIMES: so many times longer is each pause than the one before while the guest asks for nothing. */
enum { PART_OF_TIME = 500, PAUSE_MAX_MS = 600000, REST_TIMES = 6 };

bool leases_told(struct leases *leases, struct node *node, const struct statx *stx)
{
	if (leases == NULL)
		return false;
	stamps_keep(node, stx);
	atomic_store(&leases->told, true);
	if (atomic_load(&leases->resting) && atomic_exchange(&leases->resting, false))
		(void) eventfd_write(leases->look, 1);
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

bool leases_is_told(struct leases *leases, const struct statx *stx)
{
	struct node *node;
	bool told;

	if (nodes_get(leases->nodes, nodes_find(leases->nodes, stx), &node) < 0)
		return false;
	told = stamps_are_of(node, stx);
	nodes_put(leases->nodes, node);
	return told;
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

enum rested { RESTED, WOKEN, ENDED };

static enum rested rest(const struct leases *leases, int end, int64_t ms)
{
	struct pollfd fds[] = { { .fd = end, .events = POLLIN }, { .fd = leases->look, .events = POLLIN } };
	eventfd_t count;

	if (poll(fds, ARRAY_SIZE(fds), (int) ms) < 0)
		return errno == EINTR ? WOKEN : ENDED;
	if (fds[0].revents != 0)
		return ENDED;
	if (fds[1].revents == 0)
		return RESTED;
	(void) eventfd_read(leases->look, &count);
	return WOKEN;
}

/* How long a pass took, in ms; negative: the session has ended. */
static int64_t pass(struct leases *leases, int end)
{
	int64_t begin = clock_ms();
	uint32_t cursor = 0;

	while (look(leases, &cursor))
		if (rest(leases, end, 0) == ENDED)
			return -1;
	return clock_ms() - begin;
}

/* The pause after this one. idle: the guest has asked for nothing since the pass before. */
static int64_t next_pause(int64_t pause, int64_t took, bool idle)
{
	int64_t next = took * PART_OF_TIME;

	if (idle && pause * REST_TIMES > next)
		next = pause * REST_TIMES;
	if (next < LEASES_LOOK_MS)
		next = LEASES_LOOK_MS;
	return next < PAUSE_MAX_MS ? next : PAUSE_MAX_MS;
}

void leases_look_again(struct leases *leases, int end)
{
	int64_t pause = LEASES_LOOK_MS, took;
	enum rested rested;

	while ((rested = rest(leases, end, pause)) != ENDED) {
		bool idle = !atomic_exchange(&leases->told, false);

		if (rested == WOKEN) {
			pause = LEASES_LOOK_MS;
			atomic_store(&leases->told, true);
			continue;
		}
		took = pass(leases, end);
		if (took < 0)
			return;
		pause = next_pause(pause, took, idle);
		atomic_store(&leases->resting, idle);
		/* What was told in between has woken nobody. */
		if (idle && atomic_load(&leases->told) && atomic_exchange(&leases->resting, false))
			pause = LEASES_LOOK_MS;
	}
}
