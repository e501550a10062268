/* SPDX-License-Identifier: Apache-2.0 */
/* Names in directories. */
#include "guest-fuse/mount/known/names.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "guest-fuse/mount/known/hash.h"
#include "protocol/fields.h"

enum { SIZE_FIRST = 64 };

static uint32_t hash_directory(uint64_t parent)
{
	return hash_bytes(&parent, sizeof(parent));
}

static uint32_t hash_name(uint64_t parent, const char *name)
{
	char key[sizeof(parent) + PROTO_NAME_MAX];
	size_t length = strnlen(name, PROTO_NAME_MAX);

	memcpy(key, &parent, sizeof(parent));
	memcpy(key + sizeof(parent), name, length);
	return hash_bytes(key, sizeof(parent) + length);
}

static struct named **bucket_of(const struct names_buckets *buckets, uint32_t hash)
{
	return &buckets->first[hash & (buckets->size - 1)];
}

/* Twice as many buckets, all empty. NULL: out of memory; the old ones do, only slower. */
static struct named **larger(struct names_buckets *buckets)
{
	struct named **before = buckets->first, **first = calloc(buckets->size * 2, sizeof(struct named *));

	if (first == NULL)
		return NULL;
	buckets->first = first;
	buckets->size *= 2;
	return before;
}

static void entries_grow(struct names_buckets *entries)
{
	size_t size = entries->size;
	struct named **before = larger(entries);

	for (size_t i = 0; before != NULL && i < size; i++) {
		for (struct named *named = before[i], *next; named != NULL; named = next) {
			struct named **bucket = bucket_of(entries, named->hash);

			next = named->next_in_bucket;
			named->next_in_bucket = *bucket;
			*bucket = named;
		}
	}
	free((void *) before);
}

static void directories_grow(struct names_buckets *directories)
{
	size_t size = directories->size;
	struct named **before = larger(directories);

	for (size_t i = 0; before != NULL && i < size; i++) {
		for (struct named *named = before[i], *next; named != NULL; named = next) {
			struct named **bucket = bucket_of(directories, hash_directory(named->parent));

			next = named->next_directory;
			named->next_directory = *bucket;
			*bucket = named;
		}
	}
	free((void *) before);
}

int names_init(struct names *names)
{
	hash_seed();
	*names = (struct names){ .entries = { .size = SIZE_FIRST }, .directories = { .size = SIZE_FIRST } };
	names->entries.first = calloc(SIZE_FIRST, sizeof(struct named *));
	names->directories.first = calloc(SIZE_FIRST, sizeof(struct named *));
	if (names->entries.first != NULL && names->directories.first != NULL)
		return 0;
	names_done(names);
	return -ENOMEM;
}

void names_done(struct names *names)
{
	free((void *) names->entries.first);
	free((void *) names->directories.first);
}

/* This entry, or the first one after it in its bucket, that has the place. */
static struct named *find_place(struct named *named, uint64_t parent, const char *name, uint32_t hash)
{
	while (named != NULL && (named->hash != hash || named->parent != parent || strcmp(named->name, name) != 0))
		named = named->next_in_bucket;
	return named;
}

struct named *names_at(const struct names *names, uint64_t parent, const char *name)
{
	uint32_t hash = hash_name(parent, name);

	return find_place(*bucket_of(&names->entries, hash), parent, name, hash);
}

struct named *names_next_at(const struct named *named)
{
	return find_place(named->next_in_bucket, named->parent, named->name, named->hash);
}

struct named *names_find(const struct names *names, uint64_t parent, const char *name)
{
	struct named *named = names_at(names, parent, name);

	while (named != NULL && !named->indexed)
		named = names_next_at(named);
	return named;
}

static struct named **find_directory(const struct names *names, uint64_t parent)
{
	struct named **at = bucket_of(&names->directories, hash_directory(parent));

	while (*at != NULL && (*at)->parent != parent)
		at = &(*at)->next_directory;
	return at;
}

struct named *names_first(const struct names *names, uint64_t parent)
{
	return *find_directory(names, parent);
}

struct named *names_next(const struct named *named, const struct named *first)
{
	return named->next == first ? NULL : named->next;
}

void names_unindex(struct named *named)
{
	named->indexed = false;
}

void names_index(struct names *names, struct named *named)
{
	struct named *before = names_find(names, named->parent, named->name);

	if (before != NULL)
		before->indexed = false;
	named->indexed = true;
}

static void bucket_add(struct names *names, struct named *named)
{
	struct named **at;

	if (names->entries.count >= names->entries.size)
		entries_grow(&names->entries);
	named->hash = hash_name(named->parent, named->name);
	at = bucket_of(&names->entries, named->hash);
	named->next_in_bucket = *at;
	*at = named;
	names->entries.count++;
}

static void bucket_remove(struct names *names, struct named *named)
{
	struct named **at = bucket_of(&names->entries, named->hash);

	while (*at != named)
		at = &(*at)->next_in_bucket;
	*at = named->next_in_bucket;
	names->entries.count--;
}

static void directory_begin(struct names *names, struct named *named)
{
	struct named **at;

	if (names->directories.count >= names->directories.size)
		directories_grow(&names->directories);
	at = bucket_of(&names->directories, hash_directory(named->parent));
	named->next_directory = *at;
	*at = named;
	named->next = named->previous = named;
	names->directories.count++;
}

void names_add(struct names *names, struct named *named, uint64_t parent, char *name)
{
	struct named *first = names_first(names, parent);

	named->parent = parent;
	named->name = name;
	if (first == NULL) {
		directory_begin(names, named);
	} else {
		named->next = first;
		named->previous = first->previous;
		named->previous->next = first->previous = named;
	}
	if (name != NULL) {
		bucket_add(names, named);
		names_index(names, named);
	}
}

void names_remove(struct names *names, struct named *named)
{
	struct named **at;

	if (named->next == NULL)
		return;
	if (named->name != NULL)
		bucket_remove(names, named);
	at = find_directory(names, named->parent);
	if (named->next == named) {
		*at = named->next_directory;
		names->directories.count--;
	} else if (*at == named) {
		named->next->next_directory = named->next_directory;
		*at = named->next;
	}
	named->next->previous = named->previous;
	named->previous->next = named->next;
	*named = (struct named){ .name = NULL };
}
