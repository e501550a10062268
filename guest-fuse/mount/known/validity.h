/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How long the kernel, and this client, may keep what the server said. This is the only place that decides it: what is
 * leased (docs/PROTOCOL.md, "Leases") for ever, as long as the lease holds (held.h); the rest for a second. The second
 * counts from when the server was asked, however long its answer took. Results are seconds from now; 0: do not keep it.
 * Any thread.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "protocol/fields.h"

struct file_binds;
struct held;

/* So long that it makes no difference; the kernel counts the seconds in 64 bits. */
#define VALIDITY_FOR_EVER 1e9

struct validity {
	double seconds; /* without a lease; 0: a mount without a cache */
	struct file_binds *file_binds;
	struct held *held;
	/*
	 * The kernel can be told that a directory's name has expired (Linux 6.2). An older one would remove what is
	 * mounted in the directory, so that its name is never kept for ever.
	 */
	bool expires;
	bool leases; /* are asked for */
};

/* What there is to know of an answer besides what it says. */
struct answer {
	int64_t since;   /* clock_ns() before the server was asked */
	uint64_t events; /* held_now() then */
	bool leased;     /* PROTO_FRAME_LEASED */
};

/* cache: without it nothing is kept. file_binds and held must outlive it. */
void validity_init(struct validity *validity, bool cache, bool leases, struct file_binds *file_binds,
                   struct held *held);

/* What this client keeps of an answer that is under no lease. */
double validity_left(const struct validity *validity, int64_t since);
/* What this client keeps of a directory's entries. */
double validity_entries(const struct validity *validity, uint64_t directory, const struct answer *answer);
/* That there is no such name in the directory. */
double validity_negative(const struct validity *validity, uint64_t directory, const struct answer *answer);
/*
 * Attributes of a node. Those of a bound file (file-binds.h) are not kept, so that the kernel asks before each open,
 * and knows the size of what it opens. Nor are those of what has just changed and is no directory: the kernel asks for
 * them as long as that goes on, instead of being told of each change (kernel/invalidator.h says why).
 */
double validity_attributes(const struct validity *validity, uint64_t node, const struct proto_attr *attr,
                           const struct answer *answer);
/*
 * Attributes in the answer to a change of the node. The kernel takes these even when it was told meanwhile that they do
 * not hold, unlike those that it asks for: they are kept for moments only.
 */
double validity_changed(const struct validity *validity, uint64_t node, const struct answer *answer);
/* A directory entry, that is a name and its node; and the attributes of that node. */
void validity_entry(const struct validity *validity, uint64_t directory, const struct proto_entry *entry,
                    const struct answer *answer, double *ret_name, double *ret_attributes);

/* Whether the page cache of a node may be kept over an open that finds the state that it holds. */
bool validity_contents(const struct validity *validity, uint64_t node);
/* Whether contents may be fetched with OPEN, for the READ that follows (ahead.h). */
bool validity_ahead(const struct validity *validity);
/* Contents that came so. */
double validity_ahead_left(int64_t since);
