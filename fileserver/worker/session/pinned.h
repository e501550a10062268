/* SPDX-License-Identifier: Apache-2.0 */
/* An object that an operation works on. The gate (gate.h) takes it and puts it back. */
#pragma once

#include "fileserver/worker/nodes/nodes.h"
#include "fileserver/worker/session/space.h"

struct pinned {
	struct node *node;
	struct node_fd fd;        /* a descriptor of it */
	struct space_claim claim; /* a directory: the room for the name that is made in it */
};
