/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a container sees of owners and modes, and what it may record.
 *
 * owner=view: files of the serving user appear as the mount's uid and gid, other users' as 65534. What the user cannot
 * do for real (chown to another id, setuid, setgid and sticky bits, devices, FIFOs, sockets) is recorded in the
 * extended attribute user.containers.override_stat, "uid:gid:mode:type", the name and format of containers/storage,
 * fuse-overlayfs, Podman and libkrun. It is written only where it differs from the default view, and removed when they
 * agree again. What it says is hostile (cp -a and tar carry it between shares): only files of the serving user are
 * looked at, permission bits are always the real ones, and nothing in it is ever applied to the host's file.
 *
 * owner=host: real numbers, real chown; only bits and types are recorded, and only they are read. A server that is root
 * does so for files of everybody, in an attribute that nobody else can write (fuse-overlayfs has one for that, too).
 */
#pragma once

#include "fileserver/worker/session/session.h"
#include "fileserver/worker/nodes/view.h"

/* Where the record of an object is: a descriptor of it, or a name in a directory. */
struct ownership_place {
	int fd;           /* of the object, or of the directory when name is set */
	const char *name; /* or NULL */
};

/*
 * How the object appears, and whether it is bare. node, or the one of that identity when it is NULL, remembers what was
 * found. 1: the record was read, or looked for; 0: it was known, or there can be none; an errno: there may be one and
 * it cannot be read, *ret_view is as without one then, good enough to show but not to be changed and written.
 */
int ownership_view(struct session *session, struct node *node, const struct ownership_place *place,
                   const struct statx *stx, struct ownership *ret_view);
/* A node was made for an object whose view was read before: remembers it. */
void ownership_keep(struct session *session, struct node *node, const struct statx *stx, const struct proto_attr *attr);

/* Whether the object appears so without a record. */
bool ownership_is_default(const struct session *session, const struct statx *stx, const struct ownership *wanted);

/*
 * Makes the object appear so, as far as its real owner and permission bits do not already: writes or removes the
 * record. fd: a descriptor of the object. 0; -EPERM where nothing can be recorded (another user's file, a file system
 * without user xattrs).
 */
int ownership_record(struct session *session, int fd, const struct statx *stx, const struct ownership *wanted);

/* How a new object is to appear that owner makes in parent: set-group-id directories pass their group on. */
void ownership_of_new(struct session *session, const struct ownership *parent, const struct proto_owner *owner,
                      mode_t mode, uint32_t rdev, struct ownership *ret_wanted);

/* Clears recorded setuid and setgid bits, as writing and chown do. fd: a descriptor of the object. */
int ownership_kill_privileges(struct session *session, int fd);

/* Reads "uid:gid:mode" or "uid:gid:mode:type" out of length bytes that anybody may have written. False: no such thing.
 */
bool ownership_parse(const char *text, size_t length, struct ownership *ret_record);
