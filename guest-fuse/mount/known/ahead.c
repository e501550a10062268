/* SPDX-License-Identifier: Apache-2.0 */
/* The contents of small files that came with OPEN. */
#include "guest-fuse/mount/known/ahead.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "guest-fuse/mount/known/validity.h"
#include "protocol/lock.h"

struct ahead {
	struct lock lock;
	uint8_t *memory; /* AHEAD_FILES times AHEAD_SIZE; pages that are never touched are never there */
	uint64_t last;   /* ticket */
	struct ahead_file {
		uint64_t ticket;
		int64_t since;
		size_t length;
		bool whole;
	} files[AHEAD_FILES];
};

struct ahead *ahead_new(void)
{
	struct ahead *ahead = calloc(1, sizeof(*ahead));

	if (ahead == NULL)
		return NULL;
	ahead->memory = mmap(NULL, (size_t) AHEAD_FILES * AHEAD_SIZE, PROT_READ | PROT_WRITE,
	                     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (ahead->memory == MAP_FAILED)
		ahead->memory = NULL;
	lock_init(&ahead->lock);
	return ahead;
}

void ahead_free(struct ahead *ahead)
{
	if (ahead == NULL)
		return;
	if (ahead->memory != NULL)
		(void) munmap(ahead->memory, (size_t) AHEAD_FILES * AHEAD_SIZE);
	lock_done(&ahead->lock);
	free(ahead);
}

static uint8_t *memory_of(const struct ahead *ahead, const struct ahead_file *file)
{
	return ahead->memory + (size_t) (file - ahead->files) * AHEAD_SIZE;
}

uint64_t ahead_put(struct ahead *ahead, int64_t since, const void *bytes, size_t length, bool whole)
{
	struct ahead_file *file;
	uint64_t ticket;

	if (ahead->memory == NULL || length == 0 || length > AHEAD_SIZE)
		return 0;
	lock_take(&ahead->lock);
	ticket = ++ahead->last;
	file = &ahead->files[ticket % AHEAD_FILES];
	*file = (struct ahead_file){ .ticket = ticket, .since = since, .length = length, .whole = whole };
	memcpy(memory_of(ahead, file), bytes, length);
	lock_give(&ahead->lock);
	return ticket;
}

bool ahead_get(struct ahead *ahead, uint64_t ticket, int64_t changed, uint64_t offset, size_t size, void *bytes,
               size_t *ret_length)
{
	struct ahead_file *file = &ahead->files[ticket % AHEAD_FILES];
	bool found;

	if (ticket == 0)
		return false;
	lock_take(&ahead->lock);
	found = file->ticket == ticket && changed < file->since && validity_ahead_left(file->since) > 0 &&
	        offset <= file->length && (file->whole || size <= file->length - offset);
	if (found) {
		*ret_length = size < file->length - offset ? size : file->length - (size_t) offset;
		memcpy(bytes, memory_of(ahead, file) + offset, *ret_length);
	}
	lock_give(&ahead->lock);
	return found;
}
