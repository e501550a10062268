/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Attributes of directories, from the server's answers to changes in them. After each create the kernel asks for the
 * parent's attributes again (default_permissions): while these are valid, it gets them without a message. Directories
 * only: an old size of a file would make the kernel truncate its pages. Any thread.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "protocol/fields.h"

enum { RECENT_SLOTS = 256 };

struct answer;
struct recent;
struct validity;

/* NULL: out of memory. */
struct recent *recent_new(void);
void recent_free(struct recent *recent);

/*
 * Attributes from the answer to a change. Of answers that overtook each other the
 * later state is kept; where nobody can tell, neither.
 */
void recent_put(struct recent *recent, uint64_t node, const struct proto_attr *attr, const struct answer *answer);
/* The directory has changed in a way that the kept attributes do not show. */
void recent_drop(struct recent *recent, uint64_t node);
/* True: there are attributes, valid for so many more seconds. */
bool recent_get(struct recent *recent, const struct validity *validity, uint64_t node, struct proto_attr *ret_attr,
                double *ret_left);
