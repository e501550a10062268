/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ids by which a peer names objects: slot and generation (PROTO_ID). A slot is reused with the next generation, so an
 * id that was given back never leads to a newer object. The caller must lock.
 */
#pragma once

#include <stdint.h>

struct slots {
	struct slot {
		void *object; /* NULL: free */
		uint32_t generation, next_free;
	} * slots;
	uint32_t size, used, free;
};

void slots_init(struct slots *slots);
void slots_done(struct slots *slots);

/* Gives object an id, which is never 0. Returns 0 or -ENOMEM. */
int slots_take(struct slots *slots, void *object, uint64_t *ret_id);
/* The object of an id, or NULL. The peer may send any id. */
void *slots_find(const struct slots *slots, uint64_t id);
/* Frees an id, which must lead to an object. */
void slots_give_back(struct slots *slots, uint64_t id);
