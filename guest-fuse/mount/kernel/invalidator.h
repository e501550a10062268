/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Acts on INVALIDATE: drops what this client knows, then tells the kernel, then lets the server know. The kernel is
 *told by a thread of its own, since it waits for directories in which names are being looked up or changed, and for
 *pages that are being filled; nobody waits for this thread.
 *
 * Why an answer that crosses an INVALIDATE does no harm in the kernel:
 *
 *	A name: the kernel holds the directory's lock while it looks a name up or lists the directory, and when it is
 *told that the name does not hold. The one exception, looking up a name that it has (d_revalidate), is harmless for a
 *	file, whose name has left the cache then; that of a directory is told again a little later.
 *	Attributes: the kernel numbers what it is told, and does not use an answer to a question that is older than
 *that. For an object that it is just learning of, it is told after the directory's lock. Pages are locked while they
 *are being filled.
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
/* The kernel is to look this name up again when it needs it. Any thread. */
void invalidator_expire(struct invalidator *invalidator, uint64_t directory, const struct proto_name *name);
