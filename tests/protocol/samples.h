/* SPDX-License-Identifier: Apache-2.0 */
/* Values for every kind of field: fixed ones for the golden bytes, random valid ones for round trips. */
#pragma once

#include "protocol/messages.h"

/* State of a reproducible source of numbers; start with 0 for the fixed values of the golden bytes. */
struct samples {
	uint64_t state;
	uint8_t memory[PROTO_BLOB_MAX];
};

#define KIND(kind, type, most, doc) void sample_##kind(struct samples *samples, type *ret_value);
PROTO_KINDS(KIND)
#undef KIND
