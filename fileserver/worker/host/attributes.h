/* SPDX-License-Identifier: Apache-2.0 */
/* From statx to what the guest is told. */
#pragma once

#include "fileserver/worker/session/session.h"

/* Whether the file system of fd tells of a full disk or quota when a file is closed, and not before. */
bool attributes_late_errors(int fd);
/* A statx time stamp as it goes over the wire. */
struct proto_time attributes_time(const struct statx_timestamp *stamp);

/* Fills attr from stx and the record of fd, a descriptor of the object. node may be NULL. As ownership_view(). */
int attributes_fill(struct session *session, struct node *node, int fd, const struct statx *stx,
                    struct proto_attr *ret_attr);
/*
 * The same for what stx says is at name in directory. Another object may be there by the time that the record is read:
 * then stx is read again, so that both are of one object. An error means that it cannot be looked at any more.
 */
int attributes_fill_name(struct session *session, int directory, const char *name, struct statx *stx,
                         struct proto_attr *ret_attr);

/* Both, of a descriptor. ret_stx may be NULL. */
int attributes_of(struct session *session, struct node *node, int fd, struct proto_attr *ret_attr,
                  struct statx *ret_stx);
