/* SPDX-License-Identifier: Apache-2.0 */
/* Hashes with a random seed of this process: the server chooses ids and names, and could make known hashes collide. */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* Call before the first hash_bytes(). The seed is chosen once. */
void hash_seed(void);
uint32_t hash_bytes(const void *bytes, size_t length);
