/* SPDX-License-Identifier: Apache-2.0 */
/* Pieces of directories, taken apart and checked. */
#include "guest-fuse/mount/known/directory.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "guest-fuse/mount/known/attributes.h"
#include "protocol/faults.h"

enum { DIRENT_LEAST = PROTO_DIRENT_MAX - PROTO_NAME_MAX + 1 };

static bool is_dots(const struct proto_name *name)
{
	return strcmp(name->text, ".") == 0 || strcmp(name->text, "..") == 0;
}

/* The server can send anything: names were checked when they were decoded, the rest is here. */
static bool makes_sense(const struct proto_dirent *dirent)
{
	/* Cookie 0 means the beginning, and no entry can have it; the kernel's offsets are signed. */
	if (dirent->cookie == 0 || dirent->cookie > INT64_MAX)
		return false;
	if (dirent->node == 0)
		return true;
	return !is_dots(&dirent->name) && attributes_check(&dirent->attr) == 0;
}

static int take_apart(struct directory_piece *piece, size_t most)
{
	struct proto_reader reader;

	proto_reader_init(&reader, piece->bytes, piece->length, piece->length);
	while (reader.next < reader.end) {
		uint32_t at = (uint32_t) (reader.next - piece->bytes);
		struct proto_dirent dirent;

		proto_get_dirent(&reader, &dirent);
		if (reader.error != 0 || piece->count == most || !makes_sense(&dirent))
			return -EIO;
		piece->items[piece->count++] = (struct directory_item){
			.cookie = dirent.cookie,
			.node = dirent.node,
			.at = at,
			.held = dirent.node != 0,
		};
	}
	return 0;
}

int directory_piece_init(const uint8_t *bytes, size_t length, uint64_t after, const struct answer *answer, bool end,
                         struct directory_piece *ret_piece)
{
	struct directory_piece piece = { .length = length, .after = after, .answer = *answer, .end = end };
	size_t most = length / DIRENT_LEAST;
	int r = -ENOMEM;

	piece.bytes = malloc(length + 1);
	piece.items = FAULT_NULL(MOUNT_LISTING, calloc(most + 1, sizeof(*piece.items)));
	if (piece.bytes != NULL && piece.items != NULL) {
		memcpy(piece.bytes, bytes, length);
		r = take_apart(&piece, most);
	}
	/* An empty piece that is not the last would be asked for again and again. */
	if (r == 0 && piece.count == 0 && !end)
		r = -EIO;
	if (r < 0) {
		directory_piece_done(&piece);
		return r;
	}
	*ret_piece = piece;
	return 0;
}

void directory_piece_done(struct directory_piece *piece)
{
	free(piece->bytes);
	free(piece->items);
	*piece = (struct directory_piece){ .bytes = NULL };
}

ssize_t directory_piece_find(const struct directory_piece *piece, uint64_t cookie)
{
	if (piece->items == NULL)
		return -1;
	if (cookie == piece->after)
		return 0;
	for (size_t i = 0; i < piece->count; i++)
		if (piece->items[i].cookie == cookie)
			return i + 1 < piece->count || piece->end ? (ssize_t) i + 1 : -1;
	return -1;
}

void directory_piece_entry(const struct directory_piece *piece, size_t index, struct proto_dirent *ret_dirent)
{
	uint32_t at = piece->items[index].at;
	struct proto_reader reader;

	proto_reader_init(&reader, piece->bytes + at, piece->length - at, piece->length - at);
	proto_get_dirent(&reader, ret_dirent);
}
