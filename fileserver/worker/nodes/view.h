/* SPDX-License-Identifier: Apache-2.0 */
/* How a file appears to the guest: decided in ownership.c, kept with its node. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct ownership {
	uint32_t uid, gid;
	mode_t mode; /* type and 07777 */
	uint32_t rdev;
	bool bare; /* it has no extended attributes that the guest could list */
};
