/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who a symbolic link belongs to. Linux keeps no attributes of users on links, so the record is on the directory: one
 * attribute, user.bindshare.links, of up to LINKS_MAX entries of 24 bytes, each the link's inode number, its time of
 * birth in ns, uid and gid, little-endian. Only links that do not belong to the mount's own uid and gid have one. An
 * entry goes with its link: removed, moved and copied as that is. What the host does behind the guest's back leaves
 * entries that mean nothing; they are cleared away when there is no room. What finds no room belongs to the mount's
 * uid.
 *
 * Like every record it may be anybody's: links that are not the serving user's are never looked up in it.
 */
#pragma once

#include "fileserver/worker/session/session.h"
#include "protocol/fields.h"

struct node;

enum { LINKS_MAX = 120 /* of the 4 KiB that ext4 has for all attributes of an inode */ };

/* Puts the owner of a link in that directory, of which fd is a descriptor, into attr. Anything but a link stays. */
void link_owners_show(struct session *session, int directory, const struct statx *stx, struct proto_attr *attr);
/* The same by its node, whose directory is looked for. */
void link_owners_show_node(struct session *session, struct node *node, const struct statx *stx,
                           struct proto_attr *attr);

/* A link in that directory belongs to these. Where there is no room it stays the mount's, without an error. */
void link_owners_record(struct session *session, int directory, const struct statx *stx, uint32_t uid, uint32_t gid);
/* chown of a link; set says what is to change. */
void link_owners_change(struct session *session, struct node *node, const struct statx *stx,
                        const struct proto_setattr *set);

/* After a name was removed or replaced, when it was the link's last. */
void link_owners_forget(struct session *session, int directory, const struct statx *stx);
/* After a rename to another directory. */
void link_owners_move(struct session *session, int from, int to, const struct statx *stx);
/* After the link, known by its node, got a name in that directory. */
void link_owners_copy(struct session *session, struct node *node, int to, const struct statx *stx);
