/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How long the kernel, and this client, may keep what the server said. This is the only place that decides it. The time
 * counts from when the server was asked (since, clock_ns()), however long its answer took. Results are seconds from
 * now; 0: do not keep it. Any thread.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct file_binds;

struct validity {
	double seconds; /* since the server was asked; 0: a mount without a cache */
	struct file_binds *file_binds;
};

/* file_binds must outlive it. */
void validity_init(struct validity *validity, bool cache, struct file_binds *file_binds);

/* What this client keeps: a directory's attributes and entries, whether there are extended attributes. */
double validity_left(const struct validity *validity, int64_t since);
/* That there is no such name. */
double validity_negative(const struct validity *validity, int64_t since);
/*
 * Attributes of a node. Those of a bound file (file-binds.h) are not kept, so that the kernel asks before each open,
 * and knows the size of what it opens.
 */
double validity_attributes(const struct validity *validity, uint64_t node, int64_t since);
/* A directory entry, that is a name and its node; and the attributes of that node. */
void validity_entry(const struct validity *validity, uint64_t node, int64_t since, double *ret_name,
                    double *ret_attributes);

/* Whether the page cache of a node may be kept over an open that finds the state that it holds. */
bool validity_contents(const struct validity *validity, uint64_t node);
/* Whether contents may be fetched with OPEN, for the READ that follows (ahead.h). */
bool validity_ahead(const struct validity *validity);
/* Contents that came so. */
double validity_ahead_left(int64_t since);
