/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Acts on INVALIDATE: drops what this client knows, then tells the kernel, then lets the server know. The kernel is
 * told by a thread of its own, since it waits for directories in which names are being looked up or changed, and for
 * pages that are being filled; nobody waits for this thread.
 *
 * Why an answer that crosses an INVALIDATE does no harm in the kernel:
 *
 *	A name: the kernel holds the directory's lock while it looks a name up or lists the directory, and when it is
 *	told that the name does not hold. The one exception, looking up a name that it has (d_revalidate), is harmless
 *for a file, whose name has left the cache then; that of a directory is told again a little later. Attributes: the
 *kernel numbers what it is told, and does not use an answer to a question that is older than that. For an object that
 *it is just learning of, it is told after the directory's lock. Pages are locked while they are being filled.
 *
 * That an answer is not used could do harm by itself: fstat(2) shows it all the same, and reads and mappings end where
 * the file ended before. So the kernel is told of regular files only what it may have, and not while it asks:
 *
 *	Attributes that it was not given to keep are not spoken of: it asks anyway. Those of a file that changes again
 *	and again are not given to it to keep (validity.h), so that whoever looks at it asks, and nothing is to be told.
 *	Those that it has been given to keep it does not ask for; the moment in which its last question is answered is
 *	waited for.
 *	Pages of a file that is asked about all the time are dropped by the kernel when it gets other attributes; it is
 *	told to when the file has not changed for a moment.
 *
 * An answer that arrives here after the INVALIDATE is not given to the kernel to keep (held.h).
 */
#pragma once

#include <stdint.h>

#include "protocol/messages.h"

struct client;
struct invalidator;

/* NULL: out of memory. */
struct invalidator *invalidator_new(struct client *client);
/* After invalidator_stop(), or when it was never started. */
void invalidator_free(struct invalidator *invalidator);

/* Starts the thread; client->fuse is there. 0 or a negative errno. */
int invalidator_start(struct invalidator *invalidator);
/* Ends the thread and waits for it. The mount is gone by then, so that the kernel does not keep it. */
void invalidator_stop(struct invalidator *invalidator);

/*
 * An INVALIDATE of the server's. On return this client has dropped what it knew; the kernel is told soon. One thread,
 * the keeper's.
 */
void invalidator_take(struct invalidator *invalidator, const struct proto_invalidate_request *request);
/*
 * Without the server: nothing holds that is known of this name, of the directory and of all that is in it. On return
 * this client has dropped it; the kernel is told soon. Any thread.
 */
void invalidator_drop_names(struct invalidator *invalidator, uint64_t directory, const struct proto_name *name);
/* The same of an object that is no directory, and of its contents. */
void invalidator_drop(struct invalidator *invalidator, uint64_t node);
/* The kernel is to look this name up again when it needs it. Any thread. */
void invalidator_expire(struct invalidator *invalidator, uint64_t directory, const struct proto_name *name);
