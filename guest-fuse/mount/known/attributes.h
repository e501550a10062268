/* SPDX-License-Identifier: Apache-2.0 */
/* What the server says of an object, checked and in the kernel's form. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

#include "protocol/fields.h"

/* The server can send any value. 0, or -EIO for an invalid mode; sizes were checked when they were decoded. */
int attributes_check(const struct proto_attr *attr);

void attributes_to_stat(const struct proto_attr *attr, uint32_t block_size, struct stat *ret_stat);
