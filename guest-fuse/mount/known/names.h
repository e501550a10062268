/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names in directories: what a name leads to, and all that is in a directory. The entries are a part of their owners'
 * structs, so that nothing here but names_init() can fail. A directory is a number, which needs no entry of its own.
 *
 * No lock: the owner of a table has one.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* One entry. parent and name may be read; all else is private to names.c. All zero: in no directory. */
struct named {
	uint64_t parent;
	char *name;                    /* the owner's; stays as it is while the entry is in a directory */
	struct named *next_in_bucket;  /* also when the name does not lead to it any more */
	struct named *previous, *next; /* a ring of all entries of the directory, in the order in which they came */
	struct named *next_directory;  /* of the first entry of each directory: the next in the bucket */
	uint32_t hash;
	bool indexed; /* its name leads to it */
};

/* Buckets, a power of two of them. */
struct names_buckets {
	struct named **first;
	size_t size, count;
};

struct names {
	struct names_buckets entries;     /* by directory and name */
	struct names_buckets directories; /* by directory: its first entry */
};

/* 0 or -ENOMEM. */
int names_init(struct names *names);
/* Forgets all entries, which are their owners'. */
void names_done(struct names *names);

/* What the name leads to; NULL: nothing. */
struct named *names_find(const struct names *names, uint64_t parent, const char *name);
/*
 * One of the entries that have this place, and another of them: also those to which the name does not lead any more.
 * NULL: no more.
 */
struct named *names_at(const struct names *names, uint64_t parent, const char *name);
struct named *names_next_at(const struct named *named);
/*
 * Puts an entry that is in no directory into this one, as its last, and has the name lead to it. An entry that the name
 * led to before stays in the directory. name NULL: in the directory, without a name.
 */
void names_add(struct names *names, struct named *named, uint64_t parent, char *name);
/* Its name leads to it again, or not any more. In a directory, with a name. */
void names_index(struct names *names, struct named *named);
void names_unindex(struct named *named);
/* Takes it out of its directory, if it is in one. */
void names_remove(struct names *names, struct named *named);

/* The first entry of a directory, and the one after another; NULL: no more. */
struct named *names_first(const struct names *names, uint64_t parent);
struct named *names_next(const struct named *named, const struct named *first);
