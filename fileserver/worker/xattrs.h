/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which extended attributes the guest sees: user.* as they are, and trusted.*, which the guest's kernel keeps to its
 * root, as records in names of the server's own. trusted.overlay.opaque is user.bindshare.trusted.overlay.opaque on the
 * host: an ordinary user can write it, and a host's overlayfs takes it for nothing. Where records are root's alone
 * (ownership.h) these are, too: trusted.bindshare.trusted.overlay.opaque.
 */
#pragma once

#include "fileserver/worker/session.h"

#define XATTRS_PREFIX      "user.bindshare."
#define XATTRS_PREFIX_ROOT "trusted.bindshare."

/* Whether an attribute of the host's file with this name is one of the guest's. */
bool xattrs_is_shown(const struct session *session, const char *name);
