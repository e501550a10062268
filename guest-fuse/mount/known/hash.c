/* SPDX-License-Identifier: Apache-2.0 */
/* Hashes with a random seed. */
#include "guest-fuse/mount/known/hash.h"

#include <pthread.h>
#include <sys/random.h>
#include <xxhash.h>

#include "protocol/clock.h"

static pthread_once_t seed_once = PTHREAD_ONCE_INIT;
static uint64_t seed;

static void seed_choose(void)
{
	if (getrandom(&seed, sizeof(seed), 0) != sizeof(seed))
		seed = (uint64_t) clock_ns();
}

void hash_seed(void)
{
	(void) pthread_once(&seed_once, seed_choose);
}

uint32_t hash_bytes(const void *bytes, size_t length)
{
	return (uint32_t) XXH3_64bits_withSeed(bytes, length, seed);
}
