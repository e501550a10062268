/* SPDX-License-Identifier: Apache-2.0 */
/* How a node gets a descriptor again that has none: nodes_fd(). */
#pragma once

#include "fileserver/worker/nodes/internal.h"

/* A name has just led to something else: nodes_names_move(). */
void reopen_name_moved(struct nodes *nodes);
