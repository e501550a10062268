/* SPDX-License-Identifier: Apache-2.0 */
/* Crash loops. */
#include "fileserver/broker/crashes.h"

#include <string.h>
#include <xxhash.h>

void crashes_note(struct crashes *crashes, const char *share, uint64_t guest, uint64_t now_ms)
{
	uint64_t hash = XXH3_64bits_withSeed(share, strlen(share), guest);
	struct crashes_share *place = &crashes->shares[0];

	for (unsigned i = 0; i < CRASHES_SHARES; i++) {
		struct crashes_share *candidate = &crashes->shares[i];

		if (candidate->hash == hash && candidate->at[0] != 0) {
			place = candidate;
			break;
		}
		if (candidate->at[0] < place->at[0])
			place = candidate;
	}
	if (place->hash != hash)
		*place = (struct crashes_share){ .hash = hash };
	memmove(&place->at[1], &place->at[0], sizeof(place->at) - sizeof(place->at[0]));
	place->at[0] = now_ms > 0 ? now_ms : 1;
}

bool crashes_too_many(const struct crashes *crashes, const char *share, uint64_t guest, uint64_t now_ms)
{
	uint64_t hash = XXH3_64bits_withSeed(share, strlen(share), guest);

	for (unsigned i = 0; i < CRASHES_SHARES; i++) {
		const struct crashes_share *place = &crashes->shares[i];

		if (place->hash == hash && place->at[CRASHES_MAX - 1] != 0)
			return place->at[0] - place->at[CRASHES_MAX - 1] < CRASHES_WINDOW_MS &&
			       now_ms < place->at[0] + CRASHES_WINDOW_MS;
	}
	return false;
}
