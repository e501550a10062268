/* SPDX-License-Identifier: Apache-2.0 */
/* How owner and mode of an object appear to the guest: decided in host/ownership.c, kept with its node. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct ownership {
	uint32_t uid, gid;
	mode_t mode; /* type and 07777 */
	uint32_t rdev;
	bool bare;       /* the object has no extended attributes that the guest could list */
	bool unrecorded; /* there was no record a moment ago; never of a view that is kept */
};
