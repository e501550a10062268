/* SPDX-License-Identifier: Apache-2.0 */
/* The places of a node. */
#include "fileserver/worker/nodes/places.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fileserver/worker/nodes/fds.h"
#include "fileserver/worker/nodes/table.h"
#include "protocol/clock.h"
#include "protocol/faults.h"

static void place_free(struct nodes *nodes, struct node *node, struct place **link) LOCK_HELD(nodes->lock);
/* The first place of a node counts with the node; the others count against the same limit. */
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

static void pin_place(const struct place *place, struct node **ret_parent, char *ret_name)
{
	*ret_parent = place->parent;
	place->parent->pins++;
	memcpy(ret_name, place->name, strlen(place->name) + 1);
}

int nodes_place(struct nodes *nodes, struct node *node, struct node **ret_parent, char ret_name[PROTO_NAME_MAX + 1])
{
	bool found;

	nodes_lock(nodes);
	found = node->place != NULL;
	if (found)
		pin_place(node->place, ret_parent, ret_name);
	nodes_unlock(nodes);
	return found ? 0 : -ESTALE;
}

int nodes_watched_name(struct nodes *nodes, struct node *node, struct node **ret_directory,
                       char ret_name[PROTO_NAME_MAX + 1])
{
	const struct place *place;
	bool found;

	nodes_lock(nodes);
	place = node->place;
	found = place != NULL && place->next == NULL && !S_ISDIR(node->type) && atomic_load(&place->parent->watched);
	if (found)
		pin_place(place, ret_directory, ret_name);
	nodes_unlock(nodes);
	return found ? 0 : -ENOENT;
}

/*
 * Whether node is beneath ancestor. A parent beneath its own child would close the chain to a ring: the host's
 * directories are always a tree, but two renames seen in the wrong order look like one.
 */
static bool is_beneath(const struct node *node, const struct node *ancestor)
{
	for (; node != NULL; node = places_parent(node))
		if (node == ancestor)
			return true;
	return false;
}

static void drop_old(struct nodes *nodes, struct node *node, int64_t now) LOCK_HELD(nodes->lock);
/* Drops the places that the guest's kernel does not go by any more, and those in excess of PLACES_MAX. */
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

/* If the node has this place already, moves it to the front. */
static bool place_again(struct node *node, const struct node *parent, const char *name, int64_t told)
{
	for (struct place **link = &node->place; *link != NULL; link = &(*link)->next) {
		struct place *place = *link;

		if (place->parent != parent || strcmp(place->name, name) != 0)
			continue;
		place->told = told;
		*link = place->next;
		place->next = node->place;
		node->place = place;
		return true;
	}
	return false;
}

int places_note(struct nodes *nodes, struct node *node, struct node *parent, const char *name)
{
	int64_t now = clock_coarse_ms(), told;
	struct place *place;
	size_t size;

	if (node == nodes->root || parent == NULL)
		return 0;
	told = atomic_load(&parent->watched) ? PLACE_LEASED : now;
	if (place_again(node, parent, name, told))
		return 0;
	if (node->place != NULL && S_ISDIR(node->type) && is_beneath(parent, node))
		return 0;
	size = strlen(name) + 1;
	place = FAULT_NULL(WORKER_NODE_NAME, malloc(sizeof(*place) + size));
	if (place == NULL)
		return -ENOMEM;
	*place = (struct place){ .next = node->place, .parent = parent, .told = told };
	memcpy(place->name, name, size);
	parent->children++;
	if (node->place != NULL)
		nodes->more_places++;
	node->place = place;
	/* A directory has one name, and the guest's kernel keeps one dentry of it. */
	if (S_ISDIR(node->type))
		while (place->next != NULL)
			place_free(nodes, node, &place->next);
	else
		drop_old(nodes, node, now);
	return 0;
}
