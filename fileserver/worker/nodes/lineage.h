/* SPDX-License-Identifier: Apache-2.0 */
/* What an object and the directories above it are, as the table of nodes has them: without asking the host. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "fileserver/worker/nodes/nodes.h"

struct lineage {
	uint64_t device, ino;                     /* device: major and minor, 32 bits each */
	int64_t birth_seconds, birth_nanoseconds; /* 0, 0: not known, or it does not stay there */
	mode_t type;                              /* of the object that was asked about, S_IFMT bits */
	unsigned above; /* 0: that object; 1: its directory; and so on, up to the share's root */
	/* What was looked at before, which lies in this directory by that name; NULL: nothing. */
	const char *below_name;
	uint64_t below_device, below_ino;
	int64_t below_birth_seconds, below_birth_nanoseconds;
};

/*
 * Calls look() for a node, which the caller has pinned, and each directory above until it returns true; of a file with
 * several names once for each. With the table locked: look() must not ask it anything.
 */
void lineage_look(struct nodes *nodes, const struct node *node,
                  bool (*look)(void *context, const struct lineage *lineage), void *context);
