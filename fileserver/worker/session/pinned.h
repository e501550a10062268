/* SPDX-License-Identifier: Apache-2.0 */
/* An object that an operation works on. The gate (gate.h) pins and unpins it. */
#pragma once

#include "fileserver/worker/nodes/nodes.h"
#include "fileserver/worker/session/space.h"

struct pinned {
	struct node *node;
	struct node_fd fd;        /* a descriptor of the node */
	bool leased;              /* of a directory: what is read of it now may be replied as leased */
	struct space_claim claim; /* of a directory: the room claimed for the name that is made in it */
};
