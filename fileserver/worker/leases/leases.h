/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Leases: what the guest may keep without a time limit, since it is told when it does not hold any more.
 *
 * The unit is a directory. While it is watched (hostwatch.h) there is a lease on its names, also on missing ones, on
 * its own attributes, and on the attributes of what is in it, except directories, which have leases of their own, and
 * objects with more than one name, which can change by the other name: these are watched themselves when they are asked
 * about again. Whoever replies asks leases_hold() before he reads what he replies. Foreign changes are sent to the
 * guest as INVALIDATE, by a thread of its own.
 *
 * No event tells that a file with one name gets another one in a directory that is not watched, or of what is done by
 * that name. So another thread looks again at every file of which the guest was told: each LEASES_LOOK_MS, or less
 * often where that would take more than 0.2 % of its time or the guest is told of nothing: ten minutes at most.
 *
 * There is no lease rather than a wrong one: on file systems that others can write to, when the user has no mark left,
 * when the guest is behind. Where a watch ends, the guest is told to drop what it knows.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "protocol/counters.h"

enum { LEASES_LOOK_MS = 10000 };

struct handle;
struct leases;
struct node;
struct nodes;
struct statx;

struct leases_sink {
	/* Sends one message to the guest. Called by the thread that runs leases_run() only. */
	int (*send)(void *context, const struct proto_invalidate_request *message);
	/*
	 * The guest has acted on every change that was made before leases_sync() was called with this ticket, or an
	 * earlier one.
	 */
	void (*synced)(void *context, uint64_t ticket);
	void *context;
};

/*
 * root: the share. most: the largest number of watched objects, 0 for a quarter of what the user may have. 0, or a
 * negative errno; then *ret_leases is NULL, and there are no leases: every function accepts NULL.
 */
int leases_new(struct nodes *nodes, int root, uint32_t most, const struct leases_sink *sink,
               struct proto_counters *counters, struct leases **ret_leases);
/* After these have returned, or when they never ran, and after the nodes are freed. */
void leases_free(struct leases *leases);
/* Serves until end, a descriptor, is readable. Blocks. */
void leases_run(struct leases *leases, int end);
/* The same: looks for changes that no event tells of. */
void leases_look_again(struct leases *leases, int end);

/*
 * Watches a directory unless it is watched already. directory: an O_PATH descriptor of node. True: what is read from
 * now on may be replied as leased. Any thread; never under the table's lock.
 */
bool leases_hold(struct leases *leases, struct node *node, int directory);
/*
 * The same for another object: it is watched when somebody has asked about it before. A walk that comes by once is not
 * to cost a mark for each file.
 */
bool leases_hold_file(struct leases *leases, struct node *node, int file);
/* Whether an object is watched itself. Any thread. */
bool leases_has(struct leases *leases, struct node *node);
/*
 * What is no directory, in a directory that leases_hold(), was read after that as stx, and is replied. Returns whether
 * its attributes are leased. Any thread.
 */
bool leases_told(struct leases *leases, struct node *node, const struct statx *stx);
/* It was read again as stx, for another reason: the guest is told if it was told otherwise before. Any thread. */
void leases_seen(struct leases *leases, struct node *node, const struct statx *stx);
/*
 * Before and after the session itself has changed an object so that the guest's kernel asks for its attributes again:
 * what it was told before is nothing to look at again.
 */
uint32_t leases_before_change(const struct node *node);
void leases_after_change(struct node *node, uint32_t before);
/* The guest was told of an object as it is in stx, and what it was told is looked at again. */
bool leases_is_told(struct leases *leases, const struct statx *stx);
/* The session itself has renamed an object. Of use only if it was told before. */
void leases_renamed(struct leases *leases, const struct statx *before, const struct statx *after);

/* The guest has acted on every message up to this one. It may send any number. Any thread. */
void leases_acknowledged(struct leases *leases, uint64_t sequence);
/*
 * Sees to it that sink.synced() is called with this ticket or a later one. Tickets grow, from 1. A session that ends
 * calls it no more. Not with NULL. Any thread.
 */
void leases_sync(struct leases *leases, uint64_t ticket);
/* The guest is being told something that it may keep for so long without a lease. Not with NULL. Any thread. */
void leases_kept(struct leases *leases, uint32_t ms);
/* For how many more ms it may keep some of that. Not with NULL. Any thread. */
uint32_t leases_kept_for(const struct leases *leases);
/* Names are hidden or shown from now on: none that the guest knows may be right, though contents are. Any thread. */
void leases_drop_names(struct leases *leases);

/*
 * Contents. No event tells that a program of the host stores into a mapping. As long as others have a file open for
 * writing, or mapped so, its contents may change without INVALIDATE; files that the guest has open are looked at again
 * and again, and it is told within a second. A file that is watched itself need not be looked at before somebody opens
 * it, which is an event.
 *
 * leases_others_write(): whether that is so. fd: the file, open for reading. Before anything is read from it.
 */
bool leases_others_write(struct leases *leases, struct node *node, int fd);
/*
 * Around the call that opens it for writing; leases_write_end() is called whether that succeeded or not, and after
 * nodes_open(). begin returns the same as leases_others_write(). pinned: an O_PATH descriptor.
 */
bool leases_write_begin(struct leases *leases, struct node *node, int pinned);
void leases_write_end(struct leases *leases, struct node *node);
/*
 * Like begin, for a file whose node is known only after it was opened; others: leases_others_were() before. near: a
 * node of the same file system.
 */
bool leases_write_begun(struct leases *leases, struct node *node, bool others);
bool leases_others_were(struct leases *leases, const struct node *near, int pinned);
/*
 * A file was opened for reading, as fd. Watches it itself, unless too many are watched or too many descriptors taken.
 * True: if, after all that is replied was read, leases_has_contents() is true as well, the guest may keep the handle.
 */
bool leases_hold_contents(struct leases *leases, struct node *node, int fd);
/* The guest will be told if the contents of this file change, or if somebody opens it for writing. Any thread. */
bool leases_has_contents(struct leases *leases, struct node *node);
/* A file was opened: it is looked after from now on. mtime: before anything was read from it. */
void leases_opened(struct leases *leases, struct handle *handle, const struct proto_time *mtime);
