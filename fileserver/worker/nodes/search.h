/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Finds a directory that the host has moved, when nothing but its name was known any more.
 *
 * Somebody may work in it, and on a local file system he would not notice. Only directories are looked for: a file that
 * is open has a descriptor, and one that is not is looked up by name again.
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
	unsigned left;           /* entries that may still be looked at */
	char name[NAME_MAX + 1]; /* where it was found */
};

/* In this directory alone (depth 0), or beneath it, too. An O_PATH descriptor, or -ENOENT. */
int search_below(struct search *search, int directory, int depth);
