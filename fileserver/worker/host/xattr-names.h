/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which extended attributes the guest sees: user.* as they are, and trusted.*, which the guest's kernel keeps to its
 * root, as records in names of the server's own. trusted.overlay.opaque is user.bindshare.trusted.overlay.opaque on the
 * host: an ordinary user can write it, and a host's overlayfs takes it for nothing. Where records are root's alone
 * these are, too: trusted.bindshare.trusted.overlay.opaque.
 */
#pragma once

#include "fileserver/worker/session/session.h"

#define XATTR_NAMES_PREFIX      "user.bindshare."
#define XATTR_NAMES_PREFIX_ROOT "trusted.bindshare."

/* The records of owners and modes (ownership.h). */
#define XATTR_NAMES_OWNERSHIP      "user.containers.override_stat"
#define XATTR_NAMES_OWNERSHIP_ROOT "security.fuseoverlayfs.override_stat"

/*
 * Whether records are in names that only root can write. Root that shows real owners reads records on everybody's
 * files: a host user's device node or setgid bit for somebody else's group would widen what he has.
 */
bool xattr_names_are_roots(const struct session *session);

/* Whether an attribute of the host's file with this name is one of the guest's. */
bool xattr_names_is_shown(const struct session *session, const char *name);
/* The guest's name of one of the host's, which is a part of it; or NULL. */
const char *xattr_names_guest(const struct session *session, const char *name);
/* The host's name of one of the guest's. 0; -EPERM, -EOPNOTSUPP: not offered (system.*, security.*); -ERANGE. */
int xattr_names_host(const struct session *session, const char *name, char host[PROTO_NAME_MAX + 1]);
/* Whether the guest's kernel keeps an attribute of that name to its root. */
bool xattr_names_is_trusted(const char *name);
