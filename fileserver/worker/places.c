/* SPDX-License-Identifier: Apache-2.0 */
/* Where the guest knows an object to be, and whether it still is there. */
#include "fileserver/worker/nodes-internal.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/limits.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "fileserver/common/resolve.h"
#include "protocol/cleanup.h"
#include "protocol/faults.h"

enum {
	/*
	 * A guest's kernel goes by a name for a second after it was told of it; then it looks it up again. Ten are for
	 * requests that were long on their way.
	 */
	PLACE_TOLD_MS = 10000,
	/* Of one file. When there are more within that time, the one that was told first is not looked at. */
	PLACES_MAX = 64,
	STEPS_MAX = 4096,
};

static int64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
	return (int64_t) now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* The first place is counted with its node, the others against the same limit. */
static void place_free(struct nodes *nodes, struct node *node, struct place **link)
{
	struct place *place = *link;
	struct node *parent = place->parent;

	if (place != node->place || place->next != NULL)
		nodes->more_places--;
	*link = place->next;
	free(place);
	parent->children--;
	nodes_release(nodes, parent);
}

void places_drop_all(struct nodes *nodes, struct node *node)
{
	while (node->place != NULL)
		place_free(nodes, node, &node->place);
}

void places_drop(struct nodes *nodes, struct node *node, const struct node *parent, const char *name)
{
	for (struct place **link = &node->place; *link != NULL; link = &(*link)->next)
		if ((*link)->parent == parent && strcmp((*link)->name, name) == 0) {
			place_free(nodes, node, link);
			return;
		}
}

/*
 * A parent beneath its own child would make the chain a ring: the host's kernel keeps directories a tree, but two
 * renames that are seen in the wrong order look like one.
 */
static bool is_beneath(const struct node *node, const struct node *ancestor)
{
	for (; node != NULL; node = places_parent(node))
		if (node == ancestor)
			return true;
	return false;
}

/* Those that the guest's kernel goes by no more, and those that are too many. */
static void drop_old(struct nodes *nodes, struct node *node, int64_t now)
{
	unsigned kept = 1;

	for (struct place **link = &node->place->next; *link != NULL;) {
		if (++kept > PLACES_MAX || now - (*link)->told > PLACE_TOLD_MS)
			place_free(nodes, node, link);
		else
			link = &(*link)->next;
	}
}

/* It was told again: it comes first. */
static bool place_again(struct node *node, const struct node *parent, const char *name, int64_t now)
{
	for (struct place **link = &node->place; *link != NULL; link = &(*link)->next) {
		struct place *place = *link;

		if (place->parent != parent || strcmp(place->name, name) != 0)
			continue;
		place->told = now;
		*link = place->next;
		place->next = node->place;
		node->place = place;
		return true;
	}
	return false;
}

int places_note(struct nodes *nodes, struct node *node, struct node *parent, const char *name)
{
	int64_t now = now_ms();
	struct place *place;
	size_t size;

	if (node == nodes->root || parent == NULL || place_again(node, parent, name, now))
		return 0;
	if (node->place != NULL && S_ISDIR(node->type) && is_beneath(parent, node))
		return 0;
	size = strlen(name) + 1;
	place = FAULT_NULL(WORKER_NODE_NAME, malloc(sizeof(*place) + size));
	if (place == NULL)
		return -ENOMEM;
	*place = (struct place){ .next = node->place, .parent = parent, .told = now };
	memcpy(place->name, name, size);
	parent->children++;
	if (node->place != NULL)
		nodes->more_places++;
	node->place = place;
	/* A directory has one name, and the guest's kernel keeps one. */
	if (S_ISDIR(node->type))
		while (place->next != NULL)
			place_free(nodes, node, &place->next);
	else
		drop_old(nodes, node, now);
	return 0;
}

/* A way down from a directory: what is to be checked in one go. */
struct way {
	struct node *from; /* pinned */
	const char *path;  /* into bytes */
	char bytes[PATH_MAX];
};

/* With the lock held: the way to place, from the root or as far up as it fits. */
static void way_find(struct nodes *nodes, const struct place *place, struct way *ret_way)
{
	size_t at = sizeof(ret_way->bytes) - 1;

	ret_way->bytes[at] = '\0';
	for (;;) {
		size_t length = strlen(place->name);

		at -= length;
		memcpy(ret_way->bytes + at, place->name, length);
		ret_way->from = place->parent;
		place = place->parent->place;
		if (ret_way->from == nodes->root || place == NULL || at < strlen(place->name) + 1)
			break;
		ret_way->bytes[--at] = '/';
	}
	ret_way->path = ret_way->bytes + at;
	ret_way->from->pins++;
}

/* Whether what fd refers to is node; takes fd, which may be an errno. */
static int compare(struct nodes *nodes, struct node *node, int fd)
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
	return nodes_same(nodes, node, &stx) ? 0 : -ESTALE;
}

/* With the lock held: where node was told to be last. False: nowhere. Its directory is pinned. */
static bool step_up(const struct node *node, struct node **ret_parent, char name[PROTO_NAME_MAX + 1])
{
	if (node->place == NULL)
		return false;
	*ret_parent = node->place->parent;
	(*ret_parent)->pins++;
	memcpy(name, node->place->name, strlen(node->place->name) + 1);
	return true;
}

/* Where a directory may not be searched without lifting: step by step, from below. */
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
			                               : nodes->pin(nodes->pin_context, fd.fd, name));
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

static int check_way(struct nodes *nodes, struct node *to, const struct way *way)
{
	struct node_fd from;
	struct statx stx;
	int r = nodes_fd(nodes, way->from, &from);

	if (r < 0)
		return r;
	if (strchr(way->path, '/') == NULL) {
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
		r = compare(nodes, to, resolve_pin(from.fd, way->path));
	}
	nodes_fd_done(nodes, &from);
	return r == -EACCES ? check_steps(nodes, to, way->from) : r;
}

/* With the lock held: the number-th of the places that the guest may go by, or NULL. */
static const struct place *place_at(const struct node *node, unsigned number, int64_t now)
{
	const struct place *place = node->place;

	for (unsigned i = 0; place != NULL && i < number; i++)
		place = place->next;
	return place != NULL && (number == 0 || now - place->told <= PLACE_TOLD_MS) ? place : NULL;
}

/* One place, and all that is above it. 1: there is no such place. */
static int check_place(struct nodes *nodes, struct node *node, unsigned number, int64_t now)
{
	struct node *at = node;
	struct way way;
	int r = 0;

	for (int steps = 0; r == 0 && at != nodes->root && steps < STEPS_MAX; steps++) {
		const struct place *place;

		nodes_lock(nodes);
		place = place_at(at, steps == 0 ? number : 0, now);
		if (place != NULL)
			way_find(nodes, place, &way);
		nodes_unlock(nodes);
		if (place == NULL) {
			r = steps == 0 ? 1 : 0;
			break;
		}
		r = check_way(nodes, at, &way);
		if (at != node)
			nodes_put(nodes, at);
		at = way.from;
	}
	if (at != node)
		nodes_put(nodes, at);
	return r;
}

int nodes_check(struct nodes *nodes, struct node *node)
{
	int64_t now = now_ms();
	int r = 0;

	nodes_lock(nodes);
	/* What has no name that the guest could mean is meant by a descriptor. */
	if (node == nodes->root || node->orphan || node->place == NULL)
		r = 1;
	nodes_unlock(nodes);
	for (unsigned number = 0; r == 0 && number < PLACES_MAX; number++)
		r = check_place(nodes, node, number, now);
	/* What the guest looks up now is to be there when it asks again. */
	if (r == -ESTALE)
		descriptors_name_moved(nodes);
	return r > 0 ? 0 : r;
}
