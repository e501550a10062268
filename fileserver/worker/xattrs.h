/* SPDX-License-Identifier: Apache-2.0 */
/* Which extended attributes the guest sees. */
#pragma once

#include <stdbool.h>

/* Whether an attribute of the host's file with this name is one of the guest's. */
bool xattrs_is_shown(const char *name);
