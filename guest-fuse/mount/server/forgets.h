/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is to be given back to the server: references to nodes (FORGET), gathered so that many go in one message, and
 * handles (RELEASE).
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { FORGETS_MANY = 64 /* from here on they are sent at once; fewer wait up to 20 ms for the keeper */ };

struct forgets;

struct forgets_pair {
	uint64_t node, references; /* references 0: node is a handle */
};

/* NULL: out of memory. */
struct forgets *forgets_new(void);
void forgets_free(struct forgets *forgets);

/*
 * References to a node that nobody needs any more; 0 of them do nothing. True: the queue was empty, so the keeper must
 * be woken. Without memory they are lost, and the server keeps the node until the session ends.
 */
bool forgets_add(struct forgets *forgets, uint64_t node, uint64_t references);
/* The same for a handle that nobody needs any more. */
bool forgets_add_handle(struct forgets *forgets, uint64_t handle);
size_t forgets_count(struct forgets *forgets);

/* Takes up to most pairs out of the queue. Returns how many. */
size_t forgets_take(struct forgets *forgets, struct forgets_pair *pairs, size_t most);
