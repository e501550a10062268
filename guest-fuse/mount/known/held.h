/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which of the server's answers under a lease still hold. Each INVALIDATE is counted, and the newest one about a
 * directory or another object is remembered with its number. Whoever asks the server takes held_now() before: if an
 * INVALIDATE about the object came since, the answer may be older than the change, and is used once. Any thread.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* An object of which an INVALIDATE came within this time is likely to change again. */
#define HELD_QUIET_MS 20

struct held;

/* NULL: out of memory. */
struct held *held_new(void);
void held_free(struct held *held);

uint64_t held_now(const struct held *held);
/* True: nothing is known to have changed of the object since held_now() returned this number. May err to false. */
bool held_since(const struct held *held, uint64_t id, uint64_t number);

/* True: no INVALIDATE about the object came within the last HELD_QUIET_MS. May err to false. */
bool held_quiet(const struct held *held, uint64_t id);

/* An INVALIDATE is about this object; about all. */
void held_changed(struct held *held, uint64_t id);
void held_changed_all(struct held *held);
