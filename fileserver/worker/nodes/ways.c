/* SPDX-License-Identifier: Apache-2.0 */
/* Paths down to places. */
#include "fileserver/worker/nodes/ways.h"

#include <string.h>

void ways_find(struct nodes *nodes, const struct place *place, struct way *ret_way)
{
	size_t at = sizeof(ret_way->bytes) - 1;

	ret_way->bytes[at] = '\0';
	for (;;) {
		size_t length = strlen(place->name);

		at -= length;
		memcpy(ret_way->bytes + at, place->name, length);
		ret_way->from = place->parent;
		place = place->parent->place;
		if (ret_way->from == nodes->root || place == NULL || at < strlen(place->name) + 1)
			break;
		ret_way->bytes[--at] = '/';
	}
	ret_way->path = ret_way->bytes + at;
	ret_way->from->pins++;
}
