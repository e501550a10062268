/* SPDX-License-Identifier: Apache-2.0 */
/* The identity of objects and of the directories above them. */
#include "fileserver/worker/nodes/lineage.h"

#include "fileserver/worker/nodes/fds.h"

typedef bool look_function(void *context, const struct lineage *lineage);

/* Goes up from one of the node's places. Returns true when look() does not want more. */
static bool go_up(const struct node *node, const struct place *place, look_function *look, void *context)
{
	struct lineage lineage = { .type = node->type, .above = 1 };
	const struct node *below = node;

	for (; place != NULL; place = place->parent->place, lineage.above++) {
		lineage.below_name = place->name;
		lineage.below_device = below->key.device;
		lineage.below_ino = below->key.ino;
		lineage.below_birth_seconds = below->key.birth_seconds;
		lineage.below_birth_nanoseconds = below->key.birth_nanoseconds;
		below = place->parent;
		lineage.device = below->key.device;
		lineage.ino = below->key.ino;
		lineage.birth_seconds = below->key.birth_seconds;
		lineage.birth_nanoseconds = below->key.birth_nanoseconds;
		if (look(context, &lineage))
			return true;
	}
	return false;
}

void lineage_look(struct nodes *nodes, const struct node *node, look_function *look, void *context)
{
	const struct lineage own = { .device = node->key.device,
		                     .ino = node->key.ino,
		                     .birth_seconds = node->key.birth_seconds,
		                     .birth_nanoseconds = node->key.birth_nanoseconds,
		                     .type = node->type };
	bool enough;

	nodes_lock(nodes);
	enough = look(context, &own);
	for (const struct place *place = node->place; place != NULL && !enough; place = place->next)
		enough = go_up(node, place, look, context);
	nodes_unlock(nodes);
}
