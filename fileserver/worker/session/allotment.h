/* SPDX-License-Identifier: Apache-2.0 */
/* A mount's part of the budget of all mounts (broker/budget.h), which changes while it is served. */
#pragma once

#include <stdint.h>

struct session;

/* Sets the part from now on. */
void allotment_take(struct session *session, uint32_t nodes_max, uint32_t descriptors_max);
/* After a request: asks the broker for more when less than an eighth is left, at most once in ALLOTMENT_EVERY_MS. */
void allotment_look(struct session *session);
