/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where a share may be mounted at its own path. The guest's programs look for their keys, units and settings at fixed
 * places: a host that says that it shares /root/.ssh must not become their owner because the guest has nothing there.
 */
#pragma once

#include <stdbool.h>

#include "guest-fuse/binds/config.h"

/*
 * By the path's text alone, a normal one. False: it is, lies in, or has in it a place of the guest's system or one of
 * guestPaths, the root of shares or the run directory; or a component of it begins with a dot.
 */
bool identical_is_allowed(const struct guest_config *config, const char *path);
