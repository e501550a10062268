/* SPDX-License-Identifier: Apache-2.0 */
/* bindshare-guestd --status: asks the running one. */
#pragma once

#include "guest-fuse/binds/config.h"

/* Prints what it says, for people or as JSON. An exit code of sysexits.h: EX_UNAVAILABLE when nobody answers. */
int status_show(const struct guest_config *config, bool json);
