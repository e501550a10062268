/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tells the kernel to drop pages and to forget names, from a thread of its own. In these calls the kernel waits for
 * pages that are being filled and for directories that are being changed, and the threads that answer such requests
 * must not wait for the kernel.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct client;
struct notifier;

/* NULL: out of memory. */
struct notifier *notifier_new(struct client *client);
/* After notifier_stop(), or when it was never started. */
void notifier_free(struct notifier *notifier);

/* Starts the thread; client->fuse is there. 0 or a negative errno. */
int notifier_start(struct notifier *notifier);
/* Any thread, after each request: has the kernel forget objects (prune.h) when there are too many. */
void notifier_prune(struct notifier *notifier);
/* Drops pages of a file, later. Any thread. When the queue is full, nothing happens. length 0: to the end. */
void notifier_invalidate(struct notifier *notifier, uint64_t ino, uint64_t offset, uint64_t length);
/*
 * Has the kernel write what was changed in pages of a file by mappings, and drop them. Waits for it, at most 2 seconds.
 * length 0: to the end. False: it did not happen.
 */
bool notifier_drop(struct notifier *notifier, uint64_t ino, uint64_t offset, uint64_t length);
/* Ends the thread and waits for it. The mount is gone by then, so that the kernel does not keep it. */
void notifier_stop(struct notifier *notifier);
