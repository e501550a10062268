/* SPDX-License-Identifier: Apache-2.0 */
/* The identity of an object and of the directories above it, as the table of nodes has them, without a system call. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "fileserver/worker/nodes/nodes.h"

struct lineage {
	uint64_t device, ino;                     /* device: major and minor, 32 bits each */
	int64_t birth_seconds, birth_nanoseconds; /* 0, 0: unknown, or it does not stay there */
	mode_t type;                              /* of the object that lineage_look() was called for, S_IFMT bits */
	unsigned above; /* 0: that object; 1: its directory; and so on, up to the share's root */
	/* The object of the step before, which lies in this directory under that name; NULL: none. */
	const char *below_name;
	uint64_t below_device, below_ino;
	int64_t below_birth_seconds, below_birth_nanoseconds;
};

/*
 * Calls look() for a node, which the caller must have pinned, and for each directory above it until it returns true;
 * for a file with several names once for each way up. The table is locked meanwhile: look() must not use it.
 */
void lineage_look(struct nodes *nodes, const struct node *node,
                  bool (*look)(void *context, const struct lineage *lineage), void *context);
