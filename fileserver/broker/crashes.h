/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Crash loops: a share whose worker died CRASHES_MAX times within the window is refused for another such window, to the
 * guest for which the worker ran. Other guests may have no part in it, and are served.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum { CRASHES_MAX = 5, CRASHES_WINDOW_MS = 10000, CRASHES_SHARES = 64 };

/* The last crashes of one share for one guest; hash stands for both. */
struct crashes_share {
	uint64_t hash;
	uint64_t at[CRASHES_MAX]; /* ms of the loop's clock, newest first; 0: none */
};

/* The share that crashed longest ago makes place for a new one. */
struct crashes {
	struct crashes_share shares[CRASHES_SHARES];
};

void crashes_note(struct crashes *crashes, const char *share, uint64_t guest, uint64_t now_ms);
bool crashes_too_many(const struct crashes *crashes, const char *share, uint64_t guest, uint64_t now_ms);
