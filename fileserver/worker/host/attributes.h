/* SPDX-License-Identifier: Apache-2.0 */
/* From statx(2) to the attributes that the guest sees. */
#pragma once

#include "fileserver/worker/session/session.h"

/* Whether the file system of fd may report a full disk or quota only when a file is closed. */
bool attributes_late_errors(int fd);
/* A statx time stamp in the form of the protocol. */
struct proto_time attributes_time(const struct statx_timestamp *stamp);

/*
 * Fills attr from stx and from the record of the object that fd refers to. node may be NULL. Returns as
 * ownership_view().
 */
int attributes_fill(struct session *session, struct node *node, int fd, const struct statx *stx,
                    struct proto_attr *ret_attr);
/*
 * The same for the object at name in directory that stx describes. Another object may be there by the time the record
 * is read; then stx is read again, so that stx and record are of one object. An error means that the object cannot be
 * looked at any more.
 */
int attributes_fill_name(struct session *session, int directory, const char *name, struct statx *stx,
                         struct proto_attr *ret_attr);

/* Fills attr of an object that was just made, without a look at it: see ownership_view_new(). */
void attributes_fill_new(struct session *session, const struct statx *stx, const struct ownership *record,
                         struct proto_attr *ret_attr);

/*
 * The attributes of the object that fd refers to and stx describes, and where it is a symbolic link, the owner that is
 * recorded for it. node may be NULL.
 */
void attributes_from(struct session *session, struct node *node, int fd, const struct statx *stx,
                     struct proto_attr *ret_attr);
/* statx(2) and attributes of the object that fd refers to. ret_stx may be NULL. */
int attributes_of(struct session *session, struct node *node, int fd, struct proto_attr *ret_attr,
                  struct statx *ret_stx);
