/* SPDX-License-Identifier: Apache-2.0 */
/* Directories of which the server has sent all entries at once. */
#include "guest-fuse/mount/known/listings.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "guest-fuse/mount/known/hash-table.h"
#include <utlist.h>

#include "guest-fuse/mount/known/objects.h"
#include "guest-fuse/mount/known/validity.h"
#include "protocol/clock.h"
#include "protocol/faults.h"
#include "protocol/lock.h"

enum {
	ASKED = 4096,    /* directories whose names were asked for lately */
	CHANGES = 1024,  /* slots for directories in which names are changed */
	NAMES_LEAST = 2, /* names that are asked for before a directory is fetched */
	PATIENCE_MAX = 10,
};

/* A name that was changed from here since its directory was fetched. */
struct change {
	bool missing;       /* it was removed last; else it is the server's to say what the name leads to */
	bool crossed;       /* of the changes that are under way, one began before another had ended */
	uint32_t under_way; /* how many have begun and not ended */
	bool out_of_memory;
	UT_hash_handle hh;
	char name[];
};

struct listing {
	uint64_t directory;
	struct directory_piece piece;
	uint32_t *buckets; /* by name: index of the entry, and 1; 0: free. A power of two of them */
	size_t mask;
	size_t bytes;
	uint32_t whole; /* PROTO_WHOLE_* */
	bool out_of_memory;
	uint32_t answered;
	int64_t confirmed; /* clock_ns() when the server was asked last about a name that is missing */
	struct change *changes;
	struct listing *prev, *next; /* all, the least recently used first; or those to take */
	UT_hash_handle hh;
};

/* What was spent on names of a directory. Another directory may take the slot: then it begins anew. */
struct asked {
	uint64_t directory;
	uint32_t last;    /* hash of the name */
	uint32_t names;   /* how many were asked for since it was fetched last */
	uint32_t entries; /* as far as they were counted */
	uint8_t patience; /* grows with each time that it was fetched and that was not worth it */
	bool leased, fetching;
};

struct listings {
	struct lock lock; /* guards all that is not atomic */
	size_t bytes_max, names_max, bytes;
	_Atomic size_t names, count;
	struct listing *table, *all, *unneeded;
	struct asked asked[ASKED];
	struct {
		uint64_t begun; /* changes since the start */
		uint32_t now;   /* under way */
	} changes[CHANGES];
};

struct listings *listings_new(size_t bytes)
{
	struct listings *listings = calloc(1, sizeof(*listings));

	if (listings == NULL)
		return NULL;
	hash_seed();
	listings->bytes_max = bytes;
	listings->names_max = SIZE_MAX;
	lock_init(&listings->lock);
	return listings;
}

static void listing_free(struct listing *listing)
{
	struct change *change, *next;

	directory_piece_done(&listing->piece);
	free(listing->buckets);
	HASH_ITER (hh, listing->changes, change, next) {
		HASH_DEL(listing->changes, change);
		free(change);
	}
	free(listing);
}

void listings_free(struct listings *listings)
{
	struct listing *listing, *next;

	if (listings == NULL)
		return;
	listings_drop(listings, 0);
	DL_FOREACH_SAFE(listings->unneeded, listing, next)
	listing_free(listing);
	lock_done(&listings->lock);
	free(listings);
}

void listings_limit(struct listings *listings, size_t names)
{
	lock_take(&listings->lock);
	listings->names_max = names;
	lock_give(&listings->lock);
}

size_t listings_names(struct listings *listings)
{
	return atomic_load_explicit(&listings->names, memory_order_relaxed);
}

size_t listings_bytes(struct listings *listings)
{
	size_t bytes;

	lock_take(&listings->lock);
	bytes = listings->bytes;
	lock_give(&listings->lock);
	return bytes;
}

static struct asked *asked_of(struct listings *listings, uint64_t directory) LOCK_HELD(listings->lock);
static struct asked *asked_of(struct listings *listings, uint64_t directory)
{
	struct asked *asked = &listings->asked[PROTO_ID_SLOT(directory) % ASKED];

	if (asked->directory != directory)
		*asked = (struct asked){ .directory = directory };
	return asked;
}

static void was_in_vain(struct listings *listings, uint64_t directory) LOCK_HELD(listings->lock);
static void was_in_vain(struct listings *listings, uint64_t directory)
{
	struct asked *asked = asked_of(listings, directory);

	asked->names = 0;
	asked->fetching = false;
	if (asked->patience < PATIENCE_MAX)
		asked->patience++;
}

static struct listing *find(struct listings *listings, uint64_t directory) LOCK_HELD(listings->lock);
static struct listing *find(struct listings *listings, uint64_t directory)
{
	struct listing *listing;

	HASH_FIND(hh, listings->table, &directory, sizeof(directory), listing);
	return listing;
}

static void drop(struct listings *listings, struct listing *listing) LOCK_HELD(listings->lock);
static void drop(struct listings *listings, struct listing *listing)
{
	HASH_DELETE(hh, listings->table, listing);
	DL_DELETE(listings->all, listing);
	listings->bytes -= listing->bytes;
	atomic_fetch_sub_explicit(&listings->names, listing->piece.count, memory_order_relaxed);
	atomic_fetch_sub_explicit(&listings->count, 1, memory_order_relaxed);
	if ((size_t) listing->answered * LISTINGS_NAME < listing->piece.count)
		was_in_vain(listings, listing->directory);
	else
		asked_of(listings, listing->directory)->patience = 0;
	DL_APPEND(listings->unneeded, listing);
}

uint32_t listings_ask(struct listings *listings, uint64_t directory, const char *name)
{
	uint32_t hash = hash_bytes(name, strlen(name)), most = 0;
	struct asked *asked;
	uint64_t worth;

	if (listings->bytes_max == 0)
		return 0;
	lock_take(&listings->lock);
	asked = asked_of(listings, directory);
	/* One name that is asked for again and again is worth nothing. */
	if ((asked->names == 0 || asked->last != hash) && asked->names < UINT32_MAX / 2)
		asked->names++;
	asked->last = hash;
	worth = (uint64_t) asked->names * LISTINGS_NAME;
	if (asked->leased && asked->names >= (uint32_t) NAMES_LEAST << asked->patience && worth >= asked->entries)
		most = worth < LISTINGS_ENTRIES ? (uint32_t) worth : LISTINGS_ENTRIES;
	if (asked->entries > LISTINGS_ENTRIES)
		most = 0;
	lock_give(&listings->lock);
	return most;
}

void listings_asked(struct listings *listings, uint64_t directory, int64_t since, bool leased, bool there)
{
	struct listing *listing;

	lock_take(&listings->lock);
	asked_of(listings, directory)->leased = leased;
	listing = there ? NULL : find(listings, directory);
	if (listing != NULL && since > listing->confirmed)
		listing->confirmed = since;
	lock_give(&listings->lock);
}

bool listings_begin(struct listings *listings, uint64_t directory, uint64_t *ret_ticket)
{
	size_t slot = PROTO_ID_SLOT(directory) % CHANGES;
	struct asked *asked;
	bool quiet;

	lock_take(&listings->lock);
	asked = asked_of(listings, directory);
	quiet = listings->changes[slot].now == 0 && !asked->fetching;
	asked->fetching |= quiet;
	*ret_ticket = listings->changes[slot].begun;
	lock_give(&listings->lock);
	return quiet;
}

void listings_too_many(struct listings *listings, uint64_t directory, uint32_t count)
{
	struct asked *asked;
	uint64_t twice;

	lock_take(&listings->lock);
	asked = asked_of(listings, directory);
	/* To count them once more is for when twice as many names were asked for. */
	twice = 2 * (uint64_t) asked->names * LISTINGS_NAME;
	if (twice > LISTINGS_ENTRIES)
		twice = LISTINGS_ENTRIES;
	asked->fetching = false;
	asked->entries = count > twice ? count : (uint32_t) twice;
	lock_give(&listings->lock);
}

void listings_in_vain(struct listings *listings, uint64_t directory)
{
	lock_take(&listings->lock);
	was_in_vain(listings, directory);
	lock_give(&listings->lock);
}

/* The bucket of the entry of this name, or the free one where it would be. */
static size_t bucket_of(const struct listing *listing, const char *name, size_t length, struct proto_dirent *ret_dirent)
{
	size_t bucket = hash_bytes(name, length) & listing->mask;

	while (listing->buckets[bucket] != 0) {
		directory_piece_entry(&listing->piece, listing->buckets[bucket] - 1, ret_dirent);
		if (ret_dirent->name.length == length && memcmp(ret_dirent->name.text, name, length) == 0)
			return bucket;
		bucket = (bucket + 1) & listing->mask;
	}
	return bucket;
}

/* NULL: out of memory. */
static struct listing *listing_new(uint64_t directory, const struct directory_piece *piece, uint32_t whole)
{
	struct listing *listing = FAULT_NULL(MOUNT_LISTING, calloc(1, sizeof(*listing)));
	size_t size = 8;

	while (size < 2 * piece->count)
		size *= 2;
	if (listing != NULL)
		listing->buckets = calloc(size, sizeof(*listing->buckets));
	if (listing == NULL || listing->buckets == NULL) {
		free(listing);
		return NULL;
	}
	listing->directory = directory;
	listing->piece = *piece;
	listing->mask = size - 1;
	listing->whole = whole;
	listing->confirmed = piece->answer.since;
	listing->bytes = sizeof(*listing) + size * sizeof(*listing->buckets) + piece->length +
	                 piece->count * sizeof(*piece->items);
	for (size_t i = 0; i < piece->count; i++) {
		struct proto_dirent dirent, other;

		directory_piece_entry(piece, i, &dirent);
		/* Of a name that comes twice, since the directory has changed meanwhile, the last one counts. */
		listing->buckets[bucket_of(listing, dirent.name.text, dirent.name.length, &other)] = (uint32_t) i + 1;
	}
	return listing;
}

static void make_room(struct listings *listings) LOCK_HELD(listings->lock);
static void make_room(struct listings *listings)
{
	while (listings->all != NULL &&
	       (listings->bytes > listings->bytes_max ||
	        atomic_load_explicit(&listings->names, memory_order_relaxed) > listings->names_max))
		drop(listings, listings->all);
}

static bool put(struct listings *listings, struct listing *listing) LOCK_HELD(listings->lock);
static bool put(struct listings *listings, struct listing *listing)
{
	struct listing *before = find(listings, listing->directory);
	struct asked *asked;

	if (listing->bytes > listings->bytes_max || listing->piece.count > listings->names_max)
		return false;
	if (before != NULL)
		drop(listings, before);
	HASH_ADD(hh, listings->table, directory, sizeof(listing->directory), listing);
	if (listing->out_of_memory)
		return false;
	DL_APPEND(listings->all, listing);
	listings->bytes += listing->bytes;
	atomic_fetch_add_explicit(&listings->names, listing->piece.count, memory_order_relaxed);
	atomic_fetch_add_explicit(&listings->count, 1, memory_order_relaxed);
	asked = asked_of(listings, listing->directory);
	asked->names = 0;
	asked->fetching = false;
	asked->entries = (uint32_t) listing->piece.count;
	make_room(listings);
	return true;
}

bool listings_put(struct listings *listings, const struct validity *validity, uint64_t directory, uint64_t ticket,
                  struct directory_piece *piece, uint32_t whole)
{
	size_t slot = PROTO_ID_SLOT(directory) % CHANGES;
	struct listing *listing = listing_new(directory, piece, whole);
	bool kept;

	lock_take(&listings->lock);
	/* An INVALIDATE that comes after this look drops the listing, which is in the table by then. */
	kept = listing != NULL && listings->changes[slot].begun == ticket && piece->answer.leased &&
	       validity_entries(validity, directory, &piece->answer) > 0 && put(listings, listing);
	if (!kept)
		was_in_vain(listings, directory);
	lock_give(&listings->lock);
	if (!kept && listing != NULL) {
		free(listing->buckets);
		free(listing);
	}
	return kept;
}

static struct change *change_of(const struct listing *listing, const char *name, size_t length)
{
	struct change *change;

	HASH_FIND(hh, listing->changes, name, length, change);
	return change;
}

/* What is kept of an entry is never older than it may be, and no older than a change from here. */
static bool is_fresh(const struct validity *validity, struct objects *objects, const struct listing *listing,
                     const struct proto_entry *entry)
{
	const struct answer *answer = &listing->piece.answer;
	double name, attributes;

	if (entry->node == 0 || objects_changed_at(objects, entry->node) >= answer->since)
		return false;
	validity_entry(validity, listing->directory, entry, answer, &name, &attributes);
	return name > 0 && attributes > 0;
}

static enum listings_answer answer_of(struct listing *listing, const struct validity *validity, struct objects *objects,
                                      const char *name, struct listings_found *ret_found)
{
	const struct change *change;
	size_t length = strlen(name), bucket;
	struct proto_dirent dirent;
	struct directory_item *item;

	change = change_of(listing, name, length);
	if (change != NULL && !change->missing)
		return LISTINGS_UNKNOWN;
	ret_found->answer = listing->piece.answer;
	bucket = bucket_of(listing, name, length, &dirent);
	if (change != NULL || listing->buckets[bucket] == 0) {
		if (change == NULL && listing->whole == PROTO_WHOLE_QUIET &&
		    clock_ns() - listing->confirmed < LISTINGS_MISSING_NS)
			return LISTINGS_MISSING;
		ret_found->unsure = listing->whole != PROTO_WHOLE_NO;
		return LISTINGS_UNKNOWN;
	}
	ret_found->entry = (struct proto_entry){ .node = dirent.node, .attr = dirent.attr };
	if (!is_fresh(validity, objects, listing, &ret_found->entry))
		return LISTINGS_UNKNOWN;
	item = &listing->piece.items[listing->buckets[bucket] - 1];
	ret_found->held = item->held;
	item->held = false;
	return LISTINGS_FOUND;
}

static struct listing *find_valid(struct listings *listings, const struct validity *validity, uint64_t directory)
        LOCK_HELD(listings->lock);
static struct listing *find_valid(struct listings *listings, const struct validity *validity, uint64_t directory)
{
	struct listing *listing = find(listings, directory);

	if (listing == NULL || validity_entries(validity, directory, &listing->piece.answer) > 0)
		return listing;
	drop(listings, listing);
	return NULL;
}

static void used(struct listings *listings, struct listing *listing) LOCK_HELD(listings->lock);
static void used(struct listings *listings, struct listing *listing)
{
	DL_DELETE(listings->all, listing);
	DL_APPEND(listings->all, listing);
}

enum listings_answer listings_find(struct listings *listings, const struct validity *validity, struct objects *objects,
                                   uint64_t directory, const char *name, struct listings_found *ret_found)
{
	enum listings_answer answer = LISTINGS_UNKNOWN;
	struct listing *listing;

	ret_found->unsure = false;
	if (atomic_load_explicit(&listings->count, memory_order_relaxed) == 0)
		return LISTINGS_UNKNOWN;
	lock_take(&listings->lock);
	listing = find_valid(listings, validity, directory);
	if (listing != NULL) {
		answer = answer_of(listing, validity, objects, name, ret_found);
		used(listings, listing);
		listing->answered += answer == LISTINGS_UNKNOWN ? 0 : 1;
	}
	lock_give(&listings->lock);
	return answer;
}

/* Moves the references to the copy. False: out of memory. */
static bool copy_piece(struct directory_piece *piece, struct directory_piece *ret_copy)
{
	*ret_copy = *piece;
	ret_copy->bytes = malloc(piece->length + 1);
	ret_copy->items = FAULT_NULL(MOUNT_LISTING, calloc(piece->count + 1, sizeof(*piece->items)));
	if (ret_copy->bytes == NULL || ret_copy->items == NULL) {
		directory_piece_done(ret_copy);
		return false;
	}
	memcpy(ret_copy->bytes, piece->bytes, piece->length);
	memcpy(ret_copy->items, piece->items, piece->count * sizeof(*piece->items));
	for (size_t i = 0; i < piece->count; i++)
		piece->items[i].held = false;
	return true;
}

bool listings_piece(struct listings *listings, const struct validity *validity, uint64_t directory,
                    struct directory_piece *ret_piece)
{
	struct listing *listing;
	bool known;

	if (atomic_load_explicit(&listings->count, memory_order_relaxed) == 0)
		return false;
	lock_take(&listings->lock);
	listing = find_valid(listings, validity, directory);
	known = listing != NULL && listing->whole == PROTO_WHOLE_QUIET && listing->changes == NULL &&
	        copy_piece(&listing->piece, ret_piece);
	if (known) {
		used(listings, listing);
		listing->answered += (uint32_t) listing->piece.count;
	}
	lock_give(&listings->lock);
	return known;
}

/* NULL: there is no room to note it. */
static struct change *note_change(struct listings *listings, struct listing *listing, const char *name)
        LOCK_HELD(listings->lock);
static struct change *note_change(struct listings *listings, struct listing *listing, const char *name)
{
	size_t length = strlen(name), size = sizeof(struct change) + length + 1;
	struct change *change = change_of(listing, name, length);

	if (change != NULL)
		return change;
	if (HASH_COUNT(listing->changes) >= LISTINGS_ENTRIES)
		return NULL;
	change = FAULT_NULL(MOUNT_LISTING, calloc(1, size));
	if (change == NULL)
		return NULL;
	memcpy(change->name, name, length + 1);
	HASH_ADD_KEYPTR(hh, listing->changes, change->name, length, change);
	if (change->out_of_memory) {
		free(change);
		return NULL;
	}
	listing->bytes += size;
	listings->bytes += size;
	return change;
}

uint64_t listings_changing(struct listings *listings, uint64_t directory, const char *name)
{
	size_t slot = PROTO_ID_SLOT(directory) % CHANGES;
	struct listing *listing;
	struct change *change;
	uint64_t node = 0, at;
	struct proto_dirent dirent;

	if (listings->bytes_max == 0)
		return 0;
	lock_take(&listings->lock);
	listings->changes[slot].begun++;
	listings->changes[slot].now++;
	listing = find(listings, directory);
	change = listing == NULL ? NULL : note_change(listings, listing, name);
	if (change != NULL) {
		at = listing->buckets[bucket_of(listing, name, strlen(name), &dirent)];
		if (at != 0 && listing->piece.items[at - 1].held)
			node = listing->piece.items[at - 1].node;
		if (at != 0)
			listing->piece.items[at - 1].held = false;
		change->missing = false;
		change->crossed |= change->under_way > 0;
		change->under_way++;
		make_room(listings);
	} else if (listing != NULL) {
		drop(listings, listing);
	}
	lock_give(&listings->lock);
	return node;
}

static void end_change(struct change *change, bool gone)
{
	if (--change->under_way > 0)
		return;
	/* In which order the server did them is not known. */
	change->missing = gone && !change->crossed;
	change->crossed = false;
}

void listings_changed(struct listings *listings, uint64_t directory, const char *name, bool gone)
{
	struct listing *listing;
	struct change *change;

	if (listings->bytes_max == 0)
		return;
	lock_take(&listings->lock);
	listings->changes[PROTO_ID_SLOT(directory) % CHANGES].now--;
	listing = find(listings, directory);
	change = listing == NULL ? NULL : change_of(listing, name, strlen(name));
	if (change != NULL)
		end_change(change, gone);
	lock_give(&listings->lock);
}

void listings_drop(struct listings *listings, uint64_t directory)
{
	struct listing *listing;

	/* Who puts one into the table at this moment has looked whether it holds under the lock: it is taken here. */
	lock_take(&listings->lock);
	if (directory == 0)
		while (listings->all != NULL)
			drop(listings, listings->all);
	listing = directory == 0 ? NULL : find(listings, directory);
	if (listing != NULL)
		drop(listings, listing);
	lock_give(&listings->lock);
}

bool listings_take(struct listings *listings, struct directory_piece *ret_piece)
{
	struct listing *listing;

	lock_take(&listings->lock);
	listing = listings->unneeded;
	if (listing != NULL)
		DL_DELETE(listings->unneeded, listing);
	lock_give(&listings->lock);
	if (listing == NULL)
		return false;
	*ret_piece = listing->piece;
	listing->piece = (struct directory_piece){ .bytes = NULL };
	listing_free(listing);
	return true;
}
