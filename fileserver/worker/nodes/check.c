/* SPDX-License-Identifier: Apache-2.0 */
/* Checks whether an object is still where the guest knows it to be. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "fileserver/common/resolve.h"
#include "fileserver/worker/nodes/fds.h"
#include "fileserver/worker/nodes/places.h"
#include "fileserver/worker/nodes/reopen.h"
#include "fileserver/worker/nodes/table.h"
#include "fileserver/worker/nodes/ways.h"
#include "protocol/cleanup.h"
#include "protocol/clock.h"
#include "protocol/faults.h"

enum { STEPS_MAX = 4096 };

/* Whether the node has no descriptor, so that whoever uses it next has to open it. */
static bool is_closed(struct nodes *nodes, const struct node *node)
{
	bool closed;

	nodes_lock(nodes);
	closed = node->fd < 0 && node->handles == NULL;
	nodes_unlock(nodes);
	return closed;
}

/*
 * Returns 0 if fd refers to node, -ESTALE if not, or an error. Takes over fd, which may be a negative errno; keep: the
 * node may have it.
 */
static int compare(struct nodes *nodes, struct node *node, int fd, bool keep)
{
	_cleanup_close_ int pinned = fd;
	struct statx stx;

	if (pinned == -ENOENT || pinned == -ENOTDIR || pinned == -ELOOP)
		return -ESTALE;
	if (pinned < 0)
		return pinned;
	if (FAULT(WORKER_STAT, statx(pinned, "", AT_EMPTY_PATH | AT_NO_AUTOMOUNT, NODES_STATX, &stx)) < 0)
		return -errno;
	devices_meet(&nodes->devices, &stx, pinned, NULL);
	if (!nodes_same(nodes, node, &stx))
		return -ESTALE;
	if (keep) {
		nodes_lock(nodes);
		fds_give(nodes, node, TAKE_FD(pinned));
		nodes_unlock(nodes);
	}
	return 0;
}

/* The place that the guest was told of last, its directory pinned. Returns false when there is none. Needs the lock. */
static bool step_up(const struct node *node, struct node **ret_parent, char name[PROTO_NAME_MAX + 1])
{
	if (node->place == NULL)
		return false;
	*ret_parent = node->place->parent;
	(*ret_parent)->pins++;
	memcpy(name, node->place->name, strlen(node->place->name) + 1);
	return true;
}

/* For a directory that may be searched only with lifting: step by step, from below. */
static int check_steps(struct nodes *nodes, struct node *node, const struct node *top)
{
	struct node *at = node, *parent;
	char name[PROTO_NAME_MAX + 1];
	struct node_fd fd;
	int r = 0;

	for (int steps = 0; r == 0 && at != top && steps < STEPS_MAX; steps++) {
		bool found;

		nodes_lock(nodes);
		found = step_up(at, &parent, name);
		nodes_unlock(nodes);
		if (!found)
			break;
		r = nodes_fd(nodes, parent, &fd);
		if (r == 0) {
			r = compare(nodes, at,
			            nodes->pin == NULL ? resolve_pin(fd.fd, name)
			                               : nodes->pin(nodes->pin_context, fd.fd, name),
			            false);
			nodes_fd_done(nodes, &fd);
		}
		if (at != node)
			nodes_put(nodes, at);
		at = parent;
	}
	if (at != node)
		nodes_put(nodes, at);
	return r;
}

/* keep: the node is about to be used, and may have the descriptor that is opened here. */
static int check_way(struct nodes *nodes, struct node *to, const struct way *way, bool keep)
{
	struct node_fd from;
	struct statx stx;
	int r = nodes_fd(nodes, way->from, &from);

	if (r < 0)
		return r;
	if (!keep && strchr(way->path, '/') == NULL) {
		r = FAULT(WORKER_STAT_NAME,
		          statx(from.fd, way->path, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT, NODES_STATX, &stx)) < 0
		            ? -errno
		            : 0;
		if (r == 0)
			devices_meet(&nodes->devices, &stx, from.fd, way->path);
		if (r == 0 && !nodes_same(nodes, to, &stx))
			r = -ESTALE;
		if (r == -ENOENT)
			r = -ESTALE;
	} else {
		r = compare(nodes, to, resolve_pin(from.fd, way->path), keep);
	}
	nodes_fd_done(nodes, &from);
	return r == -EACCES ? check_steps(nodes, to, way->from) : r;
}

/* The number-th of the places that the guest may go by, or NULL. Needs the lock. */
static struct place *place_at(const struct node *node, unsigned number, int64_t now)
{
	struct place *place = node->place;

	for (unsigned i = 0; place != NULL && i < number; i++)
		place = place->next;
	return place != NULL && (number == 0 || now - place->told <= PLACE_TOLD_MS) ? place : NULL;
}

/* Checks one place and everything above it. Returns 1 when there is no such place. */
static int check_place(struct nodes *nodes, struct node *node, unsigned number, int64_t now)
{
	bool keep = number == 0 && is_closed(nodes, node);
	struct node *at = node;
	struct way way;
	int r = 0;

	for (int steps = 0; r == 0 && at != nodes->root && steps < STEPS_MAX; steps++) {
		const struct place *place;

		nodes_lock(nodes);
		place = place_at(at, steps == 0 ? number : 0, now);
		if (place != NULL)
			ways_find(nodes, place, &way);
		nodes_unlock(nodes);
		if (place == NULL) {
			r = steps == 0 ? 1 : 0;
			break;
		}
		r = check_way(nodes, at, &way, keep && at == node);
		if (at != node)
			nodes_put(nodes, at);
		at = way.from;
	}
	if (at != node)
		nodes_put(nodes, at);
	return r;
}

/* From now on the place counts as one that the guest was told of without a lease. */
static void end_lease(struct nodes *nodes, struct node *node, unsigned number, int64_t now)
{
	struct place *place;

	nodes_lock(nodes);
	place = place_at(node, number, now);
	if (place != NULL && place->told == PLACE_LEASED)
		place->told = now;
	nodes_unlock(nodes);
}

int nodes_check(struct nodes *nodes, struct node *node)
{
	int64_t now = clock_coarse_ms();
	unsigned number;
	int r = 0;

	nodes_lock(nodes);
	/* Without a name the guest can only mean it by a descriptor. */
	if (node == nodes->root || node->orphan || node->place == NULL)
		r = 1;
	nodes_unlock(nodes);
	for (number = 0; r == 0 && number < PLACES_MAX; number++)
		r = check_place(nodes, node, number, now);
	/* Under a lease the guest has been told by now, or is being told. */
	if (r == -ESTALE && number > 1)
		end_lease(nodes, node, number - 1, now);
	/* The guest looks it up now: what is found must still be there when it asks again. */
	if (r == -ESTALE)
		reopen_name_moved(nodes);
	return r > 0 ? 0 : r;
}
