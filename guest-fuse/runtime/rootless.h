/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A runtime of a user's own engine (rootless Podman), in a user namespace in which the guest's root is nobody. It may
 * not ask bindshare-guestd, and cannot hand over clones of mounts that are root's: what it binds it binds as the guest
 * has it, with that user's rights.
 */
#pragma once

#include <stdbool.h>

#include "guest-fuse/runtime/bundle.h"
#include "guest-fuse/runtime/command.h"

/* config: the guest's configuration, which belongs to the guest's root. */
bool rootless_is_here(const char *config);

/* Says which binds are of a share whose files belong to the guest's root, and so to nobody in the container. */
void rootless_warn(const struct command *command, const struct bundle *bundle);
