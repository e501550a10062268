/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Directories of which the server has sent all entries at once (SCAN), so that it need not be asked name by name: what
 * each name leads to, and which names are missing. That holds as long as the directory's lease, and is forgotten with
 * the first change by others in it; what is changed from here is the server's to say from then on. Also decides when a
 * directory is worth fetching: what that costs is never much more than what was spent on its names before.
 *
 * Each entry holds one reference of the server's, until the kernel gets it (objects.h). A listing that is not needed
 * any more waits for listings_take(), with the references that are left. Any thread.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "guest-fuse/mount/known/directory.h"
#include "protocol/fields.h"

struct listings;
struct objects;
struct validity;

/* The most entries that are fetched of one directory; a look-up of one name costs as much as so many entries. */
enum { LISTINGS_ENTRIES = 4096, LISTINGS_NAME = 32 };
#define LISTINGS_MISSING_NS INT64_C(100000000)

/* bytes: the most memory for entries; 0: no directory is fetched. NULL: out of memory. */
struct listings *listings_new(size_t bytes);
void listings_free(struct listings *listings);
/* The most entries, of all directories. Before this call there is no limit. */
void listings_limit(struct listings *listings, size_t names);
/* Entries of all directories. */
size_t listings_names(struct listings *listings);
/* The memory that they take. */
size_t listings_bytes(struct listings *listings);

/*
 * The server is about to be asked for this name. Returns how many entries the directory may have for it to be worth
 * fetching instead; 0: it is not.
 */
uint32_t listings_ask(struct listings *listings, uint64_t directory, const char *name);
/* The server has answered for a name, asked at since (clock_ns()): whether under a lease, and that the name is there.
 */
void listings_asked(struct listings *listings, uint64_t directory, int64_t since, bool leased, bool there);

/*
 * Before the server is asked for a whole directory. False: names in it are being changed from here, or somebody else is
 * asking. Else one of the next three follows.
 */
bool listings_begin(struct listings *listings, uint64_t directory, uint64_t *ret_ticket);
/* It has more entries than were asked for: at least count. */
void listings_too_many(struct listings *listings, uint64_t directory, uint32_t count);
/* It could not be fetched. */
void listings_in_vain(struct listings *listings, uint64_t directory);
/*
 * It was: takes the piece over. whole: PROTO_WHOLE_*. False: it does not hold, or is too large, and stays the caller's.
 */
bool listings_put(struct listings *listings, const struct validity *validity, uint64_t directory, uint64_t ticket,
                  struct directory_piece *piece, uint32_t whole);

enum listings_answer { LISTINGS_UNKNOWN, LISTINGS_FOUND, LISTINGS_MISSING };

struct listings_found {
	struct proto_entry entry;
	struct answer answer; /* that it came with */
	bool held;            /* the entry's reference is the caller's now; else the kernel has been told before */
	bool unsure;          /* LISTINGS_UNKNOWN: the name is missing, unless others have made it just now */
};

/*
 * What the server said of a name, if it can be kept. That a name is missing for which the kernel never asked is known
 * only within LISTINGS_MISSING_NS of an answer of the server's about a missing name of the directory: somebody may have
 * made it just now and told the guest so, faster than INVALIDATE does.
 */
enum listings_answer listings_find(struct listings *listings, const struct validity *validity, struct objects *objects,
                                   uint64_t directory, const char *name, struct listings_found *ret_found);

/*
 * All entries of a directory, to list it: a piece of the caller's, with the references that are left. False: they are
 * not known.
 */
bool listings_piece(struct listings *listings, const struct validity *validity, uint64_t directory,
                    struct directory_piece *ret_piece);

/*
 * A name is changed from here: before the server is asked to, and with its answer, before the kernel has that. gone:
 * the server has removed the name, which most likely is missing from then on. Any other change leaves it to the server
 * to say what the name leads to. The first returns the node of which the listing held a reference by that name, which
 * is the caller's now: kept, it would keep what is removed on the host's disk. 0: none.
 */
uint64_t listings_changing(struct listings *listings, uint64_t directory, const char *name);
void listings_changed(struct listings *listings, uint64_t directory, const char *name, bool gone);
/* What is known of a directory does not hold, or is not needed any more; directory 0: of all. */
void listings_drop(struct listings *listings, uint64_t directory);

/* One piece that is not needed any more, for the caller to give its references back and to free. False: none. */
bool listings_take(struct listings *listings, struct directory_piece *ret_piece);
