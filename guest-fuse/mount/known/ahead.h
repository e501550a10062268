/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Contents of small files that the server sent with its answer to OPEN, kept for the READ that follows: a tenth of a
 * second, and only the last AHEAD_FILES files. A READ that comes later asks the server. Any thread.
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
 * since: clock_ns() before the server was asked. whole: these bytes are the whole file. Returns a ticket for
 * ahead_get(), or 0 when nothing is kept.
 */
uint64_t ahead_put(struct ahead *ahead, int64_t since, const void *bytes, size_t length, bool whole);
/*
 * changed: clock_ns() of the last change of the file from here, 0 for never. True: the answer to READ is in bytes.
 * False: ask the server.
 */
bool ahead_get(struct ahead *ahead, uint64_t ticket, int64_t changed, uint64_t offset, size_t size, void *bytes,
               size_t *ret_length);
