/* SPDX-License-Identifier: Apache-2.0 */
/* A mount's part of what all mounts together may have (broker/budget.h), which changes while it serves. */
#pragma once

#include <stdint.h>

struct session;

/* The part from now on. */
void limits_take(struct session *session, uint32_t nodes_max, uint32_t descriptors_max);
/* After a request: says that more is wanted when little is left, at most once in LIMITS_EVERY_MS. */
void limits_look(struct session *session);
