/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tables of uthash, with hash_bytes(). An element has a member bool out_of_memory, which is set when there is none for
 * the table: then the element is not in it.
 */
#pragma once

#include <stdbool.h>

#include "guest-fuse/mount/known/hash.h"
#define HASH_FUNCTION(key, length, result) ((result) = hash_bytes((key), (length)))
#define HASH_NONFATAL_OOM                  1
#define uthash_nonfatal_oom(element)                                                                                   \
	do {                                                                                                           \
		(element)->out_of_memory = true;                                                                       \
	} while (0)
#include <uthash.h>
