/* SPDX-License-Identifier: Apache-2.0 */
/* Ids by which a peer names objects. */
#include "fileserver/worker/nodes/slots.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "protocol/faults.h"
#include "protocol/fields.h"

enum { SLOT_NONE = UINT32_MAX, FIRST_SIZE = 64 };

void slots_init(struct slots *slots)
{
	*slots = (struct slots){ .free = SLOT_NONE };
}

void slots_done(struct slots *slots)
{
	free(slots->slots);
}

static int grow(struct slots *slots)
{
	uint32_t size = slots->size == 0 ? FIRST_SIZE : slots->size * 2;
	struct slot *larger = FAULT_NULL(WORKER_SLOTS, realloc(slots->slots, size * sizeof(*larger)));

	if (larger == NULL)
		return -ENOMEM;
	slots->slots = larger;
	slots->size = size;
	return 0;
}

int slots_take(struct slots *slots, void *object, uint64_t *ret_id)
{
	uint32_t number = slots->free;

	if (number == SLOT_NONE) {
		if (slots->used == slots->size && grow(slots) < 0)
			return -ENOMEM;
		number = slots->used++;
		slots->slots[number] = (struct slot){ .generation = 1 };
	} else {
		slots->free = slots->slots[number].next_free;
	}
	slots->slots[number].object = object;
	*ret_id = PROTO_ID(slots->slots[number].generation, number);
	return 0;
}

void *slots_find(const struct slots *slots, uint64_t id)
{
	uint32_t number = PROTO_ID_SLOT(id);

	if (number >= slots->used || slots->slots[number].generation != PROTO_ID_GENERATION(id))
		return NULL;
	return slots->slots[number].object;
}

void slots_give_back(struct slots *slots, uint64_t id)
{
	struct slot *slot = &slots->slots[PROTO_ID_SLOT(id)];

	assert(slots_find(slots, id) != NULL);
	slot->object = NULL;
	/* Generation 0 is left out: id 0 means none. */
	if (++slot->generation == 0)
		slot->generation = 1;
	slot->next_free = slots->free;
	slots->free = PROTO_ID_SLOT(id);
}
