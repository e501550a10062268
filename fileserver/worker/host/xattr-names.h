/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which extended attributes the guest sees: user.* as they are; trusted.*, which the guest's kernel reserves for its
 * root, as records under names of the server's own. trusted.overlay.opaque is user.bindshare.trusted.overlay.opaque on
 * the host: an ordinary user can write it, and the host's overlayfs ignores it. When records are root's alone, so are
 * these: trusted.bindshare.trusted.overlay.opaque.
 */
#pragma once

#include "fileserver/worker/session/session.h"

#define XATTR_NAMES_PREFIX      "user.bindshare."
#define XATTR_NAMES_PREFIX_ROOT "trusted.bindshare."

/* The records of owners and modes (ownership.h). */
#define XATTR_NAMES_OWNERSHIP      "user.containers.override_stat"
#define XATTR_NAMES_OWNERSHIP_ROOT "security.fuseoverlayfs.override_stat"

/*
 * Whether records have names that only root can write. A root server that shows real owners reads records on all users'
 * files: one that a host user can write (a device node, a setgid bit) would widen that user's rights.
 */
bool xattr_names_are_roots(const struct session *session);

/* Whether the guest sees the host's attribute of this name. */
bool xattr_names_is_shown(const struct session *session, const char *name);
/* The guest's name of the host's attribute, a part of name; NULL: none. */
const char *xattr_names_guest(const struct session *session, const char *name);
/*
 * The host's name of the guest's attribute. Returns 0; -EPERM, -EOPNOTSUPP: not offered (system.*, security.*);
 * -ERANGE: too long.
 */
int xattr_names_host(const struct session *session, const char *name, char host[PROTO_NAME_MAX + 1]);
/* Whether the guest's kernel reserves attributes of this name for its root. */
bool xattr_names_is_trusted(const char *name);
