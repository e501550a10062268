/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tells the kernel to drop pages and to forget names, from a thread of its own: the kernel waits for pages that are
 * being filled and for directories that are being changed, and those that do so must not wait for it.
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
/* Any thread, often: has the kernel forget what is more than the server may know (prune.h), when there is such. */
void notifier_prune(struct notifier *notifier);
/* Any thread. When the queue is full the range stays until it is no longer valid (validity.h). */
void notifier_invalidate(struct notifier *notifier, uint64_t ino, uint64_t offset, uint64_t length);
/*
 * Has the kernel drop pages of a file, after writing what was changed in them by way of mappings, and waits for it, for
 * so long as the threads need that others hold. length 0: to the end. False: it did not happen.
 */
bool notifier_drop(struct notifier *notifier, uint64_t ino, uint64_t offset, uint64_t length);
/* Waits for the thread; the mount is gone, so that nothing blocks it. */
void notifier_stop(struct notifier *notifier);
