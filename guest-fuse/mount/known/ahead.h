/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The contents of small files that came with OPEN, for the READ that follows. Kept for 100 ms, and only a few files:
 * the next READ goes to the server. Any thread.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { AHEAD_SIZE = 64 * 1024 /* larger files are not asked for */, AHEAD_FILES = 16 };

struct ahead;

/* NULL: out of memory. Without memory for contents nothing is kept. */
struct ahead *ahead_new(void);
void ahead_free(struct ahead *ahead);

/*
 * since: clock_ns() before the server was asked. whole: the file ends behind these bytes. Returns a ticket, or 0 when
 * there is nothing to keep.
 */
uint64_t ahead_put(struct ahead *ahead, int64_t since, const void *bytes, size_t length, bool whole);
/*
 * changed: clock_ns() of the last change of the file from here, 0 for never. True: what READ is to answer is copied to
 * bytes. False: ask the server.
 */
bool ahead_get(struct ahead *ahead, uint64_t ticket, int64_t changed, uint64_t offset, size_t size, void *bytes,
               size_t *ret_length);
