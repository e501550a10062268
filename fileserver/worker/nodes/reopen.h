/* SPDX-License-Identifier: Apache-2.0 */
/* Reopens nodes that have no descriptor: nodes_fd(). */
#pragma once

#include "fileserver/worker/nodes/internal.h"

/* Notes that a name has just led to another object: see nodes_names_move(). */
void reopen_name_moved(struct nodes *nodes);
