/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For how long the kernel, and this client in its place, may keep what the server said: the one place that decides it.
 * Times count from when the server was asked (since, clock_ns()), however long its answer took. All results are seconds
 * from now, 0 for not at all. Any thread.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct file_binds;

struct validity {
	double seconds; /* of everything that the host may change meanwhile; 0: a mount without a cache */
	struct file_binds *file_binds;
};

/* file_binds must outlive it. */
void validity_init(struct validity *validity, bool cache, struct file_binds *file_binds);

/* What is known of an object that needs no questions of the kernel's: its extended attributes, a directory's entries.
 */
double validity_left(const struct validity *validity, int64_t since);
/* That there is no such name. */
double validity_negative(const struct validity *validity, int64_t since);
/*
 * The attributes of a node: never those of a file bind, so that the kernel asks before each open, and has the size of
 * what it opens.
 */
double validity_attributes(const struct validity *validity, uint64_t node, int64_t since);
/* That a name leads to a node, and the node's attributes. */
void validity_entry(const struct validity *validity, uint64_t node, int64_t since, double *ret_name,
                    double *ret_attributes);

/* Whether the page cache may be kept from one open of a node to the next, when it holds the state that OPEN found. */
bool validity_contents(const struct validity *validity, uint64_t node);
/* Whether contents may come with OPEN, for the READ that follows. */
bool validity_ahead(const struct validity *validity);
