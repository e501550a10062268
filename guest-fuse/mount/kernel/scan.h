/* SPDX-License-Identifier: Apache-2.0 */
/* Look-ups that are answered without the server, since it has sent the whole directory (known/listings.h). */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "guest-fuse/mount/known/listings.h"

struct client;
struct thread;

/*
 * What is known of a name that the kernel looks up; fetches the directory when that is worth it. LISTINGS_UNKNOWN: ask
 * the server, and call scan_asked() after it has answered.
 */
enum listings_answer scan_look_up(struct thread *thread, uint64_t directory, const char *name,
                                  struct listings_found *ret_found);
void scan_asked(struct thread *thread, uint64_t directory, const struct listings_found *found, int result);

/* All entries of a directory that is to be listed, if they are known. */
bool scan_list(struct thread *thread, uint64_t directory, struct directory_piece *ret_piece);

/* Around each request of the server that changes a name; gone: it was removed. */
void scan_changing(struct client *client, uint64_t directory, const char *name);
void scan_changed(struct client *client, uint64_t directory, const char *name, bool gone);

/* What is known of this directory, or of all (0), does not hold, or is not needed any more. Any thread. */
void scan_drop(struct client *client, uint64_t directory);
