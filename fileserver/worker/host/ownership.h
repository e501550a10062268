/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The owners and modes that the guest sees, and the record of those that cannot be real.
 *
 * owner=view: files of the serving user appear with the mount's uid and gid, other users' as 65534. What the user
 * cannot do for real (chown to another id, setuid, setgid and sticky bits, devices, FIFOs, sockets) is recorded in the
 * extended attribute user.containers.override_stat, "uid:gid:mode:type": name and format of containers/storage,
 * fuse-overlayfs, Podman and libkrun. It is written only when it differs from the default view and removed when it no
 * longer does. Its contents are hostile (cp -a and tar carry it between shares): it is read only on files of the
 * serving user, permission bits are always the real ones, and nothing in it is ever applied to the host's file.
 *
 * owner=host: real ids and a real chown; only special bits and types are recorded and read. A server that runs as root
 * does so for files of all users, in an attribute that only root can write (one of fuse-overlayfs').
 */
#pragma once

#include "fileserver/worker/session/session.h"
#include "fileserver/worker/nodes/view.h"

/* Where to find an object's record: by a descriptor of it, or by its name in a directory. */
struct ownership_place {
	int fd;           /* of the object, or of the directory when name is set */
	const char *name; /* or NULL */
};

/*
 * The view of the object, and whether it is bare. The node keeps what was found; if node is NULL, the node with the
 * object's identity does. Returns 1: the record was read, or looked for; 0: the view was known, or there can be no
 * record; a negative errno: there may be a record but it cannot be read. *ret_view is then the view without one: good
 * enough to show, but not to be changed and written.
 */
int ownership_view(struct session *session, struct node *node, const struct ownership_place *place,
                   const struct statx *stx, struct ownership *ret_view);
/*
 * The view of an object that the session has just made and nobody else has changed: its record is the one that was
 * written for it, or NULL.
 */
void ownership_view_new(const struct session *session, const struct statx *stx, const struct ownership *record,
                        struct ownership *ret_view);
/* Keeps with a new node the view that was read before. */
void ownership_keep(struct session *session, struct node *node, const struct statx *stx, const struct proto_attr *attr);

/* Whether wanted is the view that the object has without a record. */
bool ownership_is_default(const struct session *session, const struct statx *stx, const struct ownership *wanted);

/*
 * Makes wanted the object's view: writes or removes the record, as far as real owner and permission bits differ from
 * it. fd: a descriptor of the object. Returns 0; -EPERM: nothing can be recorded (another user's file, a file system
 * without user.* attributes); or another negative errno.
 */
int ownership_record(struct session *session, int fd, const struct statx *stx, const struct ownership *wanted);

/* The view that a new object of this owner in parent is to have: a setgid directory passes its group on. */
void ownership_of_new(struct session *session, const struct ownership *parent, const struct proto_owner *owner,
                      mode_t mode, uint32_t rdev, struct ownership *ret_wanted);

/* Clears recorded setuid and setgid bits, as write(2) and chown(2) do. fd: a descriptor of the object. */
int ownership_kill_privileges(struct session *session, int fd);

/* Parses "uid:gid:mode" or "uid:gid:mode:type", which anybody may have written. Returns false when invalid. */
bool ownership_parse(const char *text, size_t length, struct ownership *ret_record);
