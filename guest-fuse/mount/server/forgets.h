/* SPDX-License-Identifier: Apache-2.0 */
/* References that are to be given back to the server, gathered so that many go in one message. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { FORGETS_MANY = 64 /* so many are sent with the next request; fewer wait for the keeper, 20 ms */ };

struct forgets;

struct forgets_pair {
	uint64_t node, references;
};

/* NULL: out of memory. */
struct forgets *forgets_new(void);
void forgets_free(struct forgets *forgets);

/*
 * References of a node that nobody needs any more; 0 references are nothing. True: they are the first in an empty
 * queue, so that the keeper must be told. Without memory they are lost: the server keeps the node till the session
 * ends.
 */
bool forgets_add(struct forgets *forgets, uint64_t node, uint64_t references);
size_t forgets_count(struct forgets *forgets);

/* Takes at most most pairs out of the queue. Returns how many. */
size_t forgets_take(struct forgets *forgets, struct forgets_pair *pairs, size_t most);
