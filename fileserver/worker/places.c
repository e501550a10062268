/* SPDX-License-Identifier: Apache-2.0 */
/* Objects and the directories above them. */
#include "fileserver/worker/places.h"

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

void places_look(struct nodes *nodes, uint64_t node, uint64_t handle,
                 bool (*look)(void *context, const struct place *place), void *context)
{
	const struct node *at;
	struct place place = { 0 };

	pthread_mutex_lock(&nodes->lock);
	at = handle != 0 ? of_handle(nodes, handle) : of_id(nodes, node);
	if (at != NULL)
		place.type = at->type;
	for (; at != NULL; at = at->parent, place.above++) {
		place.device = at->key.device;
		place.ino = at->key.ino;
		if (look(context, &place))
			break;
		place.below_name = at->name;
		place.below_device = place.device;
		place.below_ino = place.ino;
	}
	pthread_mutex_unlock(&nodes->lock);
}
