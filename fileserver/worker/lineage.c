/* SPDX-License-Identifier: Apache-2.0 */
/* Objects and the directories above them. */
#include "fileserver/worker/lineage.h"

#include "fileserver/worker/nodes-internal.h"

static const struct node *of_handle(const struct nodes *nodes, uint64_t id)
{
	uint32_t slot = PROTO_ID_SLOT(id);

	if (slot >= nodes->handles_used || nodes->handles[slot].generation != PROTO_ID_GENERATION(id) ||
	    nodes->handles[slot].handle == NULL)
		return NULL;
	return nodes->handles[slot].handle->node;
}

static const struct node *of_id(const struct nodes *nodes, uint64_t id)
{
	uint32_t slot = PROTO_ID_SLOT(id);

	if (slot >= nodes->slots_used || nodes->slots[slot].generation != PROTO_ID_GENERATION(id))
		return NULL;
	return nodes->slots[slot].node;
}

typedef bool look_function(void *context, const struct lineage *lineage);

/* From one of a node's places up. True: look() has seen enough. */
static bool go_up(const struct node *node, const struct place *place, look_function *look, void *context)
{
	struct lineage lineage = { .type = node->type, .above = 1 };
	const struct node *below = node;

	for (; place != NULL; place = place->parent->place, lineage.above++) {
		lineage.below_name = place->name;
		lineage.below_device = below->key.device;
		lineage.below_ino = below->key.ino;
		below = place->parent;
		lineage.device = below->key.device;
		lineage.ino = below->key.ino;
		if (look(context, &lineage))
			return true;
	}
	return false;
}

void lineage_look(struct nodes *nodes, uint64_t node, uint64_t handle, look_function *look, void *context)
{
	const struct node *at;

	nodes_lock(nodes);
	at = handle != 0 ? of_handle(nodes, handle) : of_id(nodes, node);
	if (at != NULL) {
		const struct lineage own = { .device = at->key.device, .ino = at->key.ino, .type = at->type };
		bool enough = look(context, &own);

		for (const struct place *place = at->place; place != NULL && !enough; place = place->next)
			enough = go_up(at, place, look, context);
	}
	nodes_unlock(nodes);
}
