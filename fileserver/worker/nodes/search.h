/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Finds a directory that the host has moved, when only its name was known.
 *
 * A process may have its working directory there, and on a local file system it would not notice. Only directories are
 * searched for: an open file has a descriptor, and any other file is looked up by name again.
 */
#pragma once

#include <linux/limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

struct search {
	uint64_t ino;
	bool (*is)(const void *context, const struct statx *stx);
	const void *context;
	unsigned left;           /* how many entries may still be looked at */
	char name[NAME_MAX + 1]; /* the name under which it was found */
};

/*
 * Searches this directory (depth 0), or up to depth levels beneath it as well. Returns an O_PATH descriptor, or
 * -ENOENT.
 */
int search_below(struct search *search, int directory, int depth);
