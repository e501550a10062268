/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An open directory. The server sends its entries in large pieces; the kernel asks for small ones, which are taken from
 * the piece at hand.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "guest-fuse/mount/known/validity.h"
#include "protocol/fields.h"
#include "protocol/lock.h"

/* One piece. Each of its entries that has a node holds one reference of the server's to it. */
struct directory_piece {
	uint8_t *bytes;
	size_t length;
	struct directory_item {
		uint64_t cookie, node;
		uint32_t at;
		bool held; /* the reference is still the piece's */
	} * items;
	size_t count;
	uint64_t after;       /* the piece begins after the entry with this cookie */
	struct answer answer; /* that it came with */
	bool end;             /* nothing comes behind it */
};

struct directory {
	uint64_t node, handle;
	struct lock lock; /* guards what follows; may be held while the server is asked */
	uint32_t window;  /* bytes of the piece that was fetched last */
	bool begun;       /* the kernel got the first entry: from there on its beginning is asked for anew */
	struct directory_piece piece;
};

/*
 * Checks and indexes what the server sent, and copies it. 0, and directory_piece_done() frees the piece; -EIO when the
 * bytes make no sense; -ENOMEM.
 */
int directory_piece_init(const uint8_t *bytes, size_t length, uint64_t after, const struct answer *answer, bool end,
                         struct directory_piece *ret_piece);
void directory_piece_done(struct directory_piece *piece);

/* The index of the entry after cookie, count at the end of the listing; -1: that place is not in the piece. */
ssize_t directory_piece_find(const struct directory_piece *piece, uint64_t cookie);

/* The entry at index, which must be below count. */
void directory_piece_entry(const struct directory_piece *piece, size_t index, struct proto_dirent *ret_dirent);
