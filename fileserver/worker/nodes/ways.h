/* SPDX-License-Identifier: Apache-2.0 */
/* Paths down to places. */
#pragma once

#include <linux/limits.h>

#include "fileserver/worker/nodes/internal.h"

/* A path down from a directory, for one system call. */
struct way {
	struct node *from; /* pinned */
	const char *path;  /* into bytes */
	char bytes[PATH_MAX];
};

/* The path to place, from the root or from as far up as fits into PATH_MAX. */
void ways_find(struct nodes *nodes, const struct place *place, struct way *ret_way) LOCK_HELD(nodes->lock);
