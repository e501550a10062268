/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One budget of known files, open descriptors and lanes for all mounts together, divided among them: a guest has 64
 * mounts as easily as one.
 *
 * Known files and descriptors: each mount needs what it uses and a little more, or as much as there is when it says so
 * (WORKER_WANTS). What is there is divided so that the smallest needs are met first and the rest gets equal parts; what
 * nobody needs is divided evenly. A mount alone has all; one that has just come takes from those that have most, which
 * then forget. Divided anew when a mount comes, goes or wants.
 *
 * Lanes: each mount is sure of some, and the others go to whoever asks first.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	BUDGET_LEAST = 16, /* of known files and of descriptors: no mount has fewer, whatever the budget */
	BUDGET_LANES_OWN = 4,
	BUDGET_LANES_SHARED = 256,
};

struct budget_part {
	uint64_t used;
	bool wants; /* more than it has */
	uint64_t limit;
};

/* Fills in the limits. mounts_max: how many parts there may be at most. 0 or -ENOMEM. */
int budget_divide(uint64_t total, unsigned mounts_max, struct budget_part *parts, size_t count);

struct supervisor;
struct worker;

/* What a worker begins with, before it is among the others. */
void budget_first(struct worker *worker);
/* The workers' limits from now on, told to those for whom they have changed. */
void budget_apply(struct supervisor *supervisor);
/* A worker wants more. */
void budget_wants(struct worker *worker);
/* True: the worker may have one lane more. */
bool budget_allows_lane(const struct supervisor *supervisor, const struct worker *worker);
