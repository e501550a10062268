/* SPDX-License-Identifier: Apache-2.0 */
/* A mount's part of what all mounts together may have (broker/budget.h), which changes while it serves. */
#pragma once

#include <stdint.h>

struct session;

/* The part from now on. */
void allotment_take(struct session *session, uint32_t nodes_max, uint32_t descriptors_max);
/* After a request: says that more is wanted when little is left, at most once in ALLOTMENT_EVERY_MS. */
void allotment_look(struct session *session);
