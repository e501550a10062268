/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The owners of symbolic links. Linux allows no user.* attributes on links, so the record is on the directory: one
 * attribute, user.bindshare.links, of up to LINKS_MAX entries of 24 bytes, each the link's inode number, its time of
 * birth in ns, uid and gid, little-endian. Only a link that does not belong to the mount's uid and gid has an entry,
 * which is removed, moved and copied with the link. Changes by the host leave entries without a link; they are removed
 * when there is no room. A link for which there is no room belongs to the mount's uid and gid.
 *
 * Like every record it may have been written by anybody: only links of the serving user are looked up in it.
 */
#pragma once

#include "fileserver/worker/session/session.h"
#include "protocol/fields.h"

struct node;

enum { LINKS_MAX = 120 /* ext4 has 4 KiB for all attributes of an inode */ };

/* Sets the owner in attr if stx describes a symbolic link in directory (a descriptor). */
void link_owners_show(struct session *session, int directory, const struct statx *stx, struct proto_attr *attr);
/* The same for a node, whose directory is looked up. */
void link_owners_show_node(struct session *session, struct node *node, const struct statx *stx,
                           struct proto_attr *attr);

/* Records the owner of a link in directory. Without room the link stays the mount's; that is no error. */
void link_owners_record(struct session *session, int directory, const struct statx *stx, uint32_t uid, uint32_t gid);
/* chown(2) of a link; set says what to change. */
void link_owners_change(struct session *session, struct node *node, const struct statx *stx,
                        const struct proto_setattr *set);

/* After a name was removed or replaced: removes the entry if it was the link's last name. */
void link_owners_forget(struct session *session, int directory, const struct statx *stx);
/* After a rename from one directory to another. */
void link_owners_move(struct session *session, int from, int to, const struct statx *stx);
/* After LINK gave the link, known by its node, a name in directory to. */
void link_owners_copy(struct session *session, struct node *node, int to, const struct statx *stx);
