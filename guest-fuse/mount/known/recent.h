/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Attributes of directories that the last change from here told. After each create the kernel asks for the parent's
 * attributes again (default_permissions): it gets these, without a message, while they are young. Directories only: a
 * file's size that comes late would make the kernel cut its pages.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "protocol/fields.h"

enum { RECENT_SLOTS = 256 };

struct recent;
struct validity;

/* NULL: out of memory. */
struct recent *recent_new(void);
void recent_free(struct recent *recent);

/*
 * The server's word on a directory, after a change that was sent at since; words that overtook each other are sorted
 * out.
 */
void recent_put(struct recent *recent, uint64_t node, const struct proto_attr *attr, int64_t since);
/* Something happened to the directory that the last word does not show. */
void recent_drop(struct recent *recent, uint64_t node);
/* True: attributes, and for how many seconds they are good. */
bool recent_get(struct recent *recent, const struct validity *validity, uint64_t node, struct proto_attr *ret_attr,
                double *ret_left);
