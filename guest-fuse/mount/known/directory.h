/* SPDX-License-Identifier: Apache-2.0 */
/* An open directory: entries as the server sent them, in large pieces, from which the kernel gets small ones. */
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "protocol/fields.h"

/* One piece. Every entry of it that names a node holds one reference of the server's. */
struct directory_piece {
	uint8_t *bytes;
	size_t length;
	struct directory_item {
		uint64_t cookie, node;
		uint32_t at;
		bool held; /* the reference is still the piece's */
	} * items;
	size_t count;
	uint64_t after;  /* the piece begins after the entry with this cookie */
	int64_t fetched; /* clock_ns() before the server was asked */
	bool end;        /* nothing comes behind it */
};

struct directory {
	uint64_t node, handle;
	pthread_mutex_t lock; /* guards what follows; may be held while the server is asked */
	uint32_t window;      /* bytes of the piece that was fetched last */
	bool begun; /* the first entry was given to the kernel: asked for it again, the server is asked again */
	struct directory_piece piece;
};

/*
 * Takes apart what the server sent: -EIO when it makes no sense, and -ENOMEM. Copies bytes. ret_piece is valid after 0
 * only; piece_done frees it.
 */
int directory_piece_init(const uint8_t *bytes, size_t length, uint64_t after, int64_t fetched, bool end,
                         struct directory_piece *ret_piece);
void directory_piece_done(struct directory_piece *piece);

/* The index of the entry behind cookie, count at the piece's end; -1 when the piece does not hold that place. */
ssize_t directory_piece_find(const struct directory_piece *piece, uint64_t cookie);

/* Entry number index < count, which was checked. */
void directory_piece_entry(const struct directory_piece *piece, size_t index, struct proto_dirent *ret_dirent);
