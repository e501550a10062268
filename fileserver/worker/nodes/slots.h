/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Numbers that a peer may name objects by: slot and generation (PROTO_ID). A slot is used again with the next
 * generation, so that a number that was given back never leads to a newer object. The caller locks.
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

/* 0 or -ENOMEM. *ret_id is never 0. */
int slots_take(struct slots *slots, void *object, uint64_t *ret_id);
/* The object, or NULL. */
void *slots_find(const struct slots *slots, uint64_t id);
/* id, which must lead to an object, leads nowhere from now on. */
void slots_give_back(struct slots *slots, uint64_t id);
