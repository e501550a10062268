/* SPDX-License-Identifier: Apache-2.0 */
/* How many requests of each kind the kernel has sent. */
#pragma once

#include <stdatomic.h>
#include <stdint.h>

enum { COUNTS_OPCODES = 64 };

struct counts {
	_Atomic uint64_t requests[COUNTS_OPCODES]; /* by opcode; those that have no name here count as 0 */
};

void counts_add(struct counts *counts, uint32_t opcode);
/* The name of an opcode; of 0 "other". NULL: it has none. */
const char *counts_name(uint32_t opcode);
