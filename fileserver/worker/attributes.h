/* SPDX-License-Identifier: Apache-2.0 */
/* From statx to what the guest is told. */
#pragma once

#include "fileserver/worker/ownership.h"

/* statx of a descriptor, and of a name in a directory (no link followed, nothing mounted by looking). 0 or -errno. */
/* Whether the file system of fd tells of a full disk or quota when a file is closed, and not before. */
bool attributes_late_errors(int fd);
int attributes_stat(struct session *session, int fd, struct statx *ret_stx);
int attributes_stat_name(struct session *session, int directory, const char *name, struct statx *ret_stx);

/* Fills attr from stx and the record at place. node may be NULL. As ownership_view(). */
bool attributes_fill(struct session *session, struct node *node, const struct ownership_place *place, struct statx *stx,
                     struct proto_attr *ret_attr);

/* Both, of a descriptor. ret_stx may be NULL. */
int attributes_of(struct session *session, struct node *node, int fd, struct proto_attr *ret_attr,
                  struct statx *ret_stx);
/* The number that the guest sees. */
uint64_t attributes_inode(const struct session *session, const struct statx *stx);
