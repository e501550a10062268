/* SPDX-License-Identifier: Apache-2.0 */
/* From a seed and a number to an operation. */
#include "tests/e2e/model/model.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

static const struct {
	const char *name;
	unsigned weight;
} kinds[] = {
#define KIND(name, weight) { #name, weight },
	MODEL_KINDS(KIND)
#undef KIND
};

enum { KINDS = sizeof(kinds) / sizeof(kinds[0]) };

/* splitmix64 */
uint64_t model_next(uint64_t *state)
{
	uint64_t z = *state += 0x9e3779b97f4a7c15u;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return z ^ (z >> 31);
}

static unsigned below(uint64_t *state, unsigned limit)
{
	return (unsigned) (model_next(state) % limit);
}

const char *model_kind_name(enum model_kind kind)
{
	return kinds[kind].name;
}

static enum model_kind choose_kind(uint64_t *state)
{
	unsigned sum = 0, at;

	for (size_t i = 0; i < KINDS; i++)
		sum += kinds[i].weight;
	at = below(state, sum);
	for (size_t i = 0; i < KINDS; i++) {
		if (at < kinds[i].weight)
			return (enum model_kind) i;
		at -= kinds[i].weight;
	}
	return MODEL_stat;
}

/* Few names, so that they meet; now and then a form that means something special. */
static void choose_path(uint64_t *state, char path[MODEL_PATH])
{
	static const char *const names[] = { "a", "b", "c", "dd", "e e" };
	static const char *const special[] = { "/", "/.", "/..", "/../a", "//b" };
	unsigned depth = below(state, 10);
	size_t length = 0;

	depth = depth < 5 ? 1 : depth < 8 ? 2 : depth < 9 ? 3 : 4;
	for (unsigned i = 0; i < depth; i++) {
		const char *name = names[below(state, sizeof(names) / sizeof(names[0]))];

		if (i > 0)
			path[length++] = '/';
		memcpy(path + length, name, strlen(name));
		length += strlen(name);
	}
	path[length] = '\0';
	if (below(state, 25) == 0)
		strcat(path, special[below(state, sizeof(special) / sizeof(special[0]))]);
	else if (below(state, 200) == 0)
		strcpy(path, below(state, 2) == 0 ? "." : "");
}

static int choose_base(uint64_t *state)
{
	return below(state, 4) == 0 ? (int) below(state, MODEL_SLOTS) : MODEL_SLOTS;
}

/* No setuid and setgid: fallocate by root clears them here (docs/POSIX.md). */
static mode_t choose_mode(uint64_t *state)
{
	static const mode_t modes[] = { 0644, 0600, 0755, 0666, 0777, 0444, 0400, 0555, 0700, 0, 01777, 0200 };

	return modes[below(state, sizeof(modes) / sizeof(modes[0]))];
}

static int open_flags(uint64_t *state)
{
	static const int access[] = { O_RDONLY, O_RDWR, O_RDWR, O_WRONLY };
	int flags = access[below(state, 4)] | O_NONBLOCK;

	if (below(state, 3) != 0)
		flags |= O_CREAT;
	if (below(state, 6) == 0)
		flags |= O_EXCL;
	if (below(state, 6) == 0)
		flags |= O_TRUNC;
	if (below(state, 5) == 0)
		flags |= O_APPEND;
	if (below(state, 8) == 0)
		flags |= O_NOFOLLOW;
	if (below(state, 5) == 0)
		flags = (flags & ~(O_CREAT | O_EXCL | O_TRUNC | O_ACCMODE)) | O_DIRECTORY;
	if (below(state, 40) == 0)
		flags |= O_PATH;
	/* O_EXCL alone means nothing defined, and O_CREAT with O_DIRECTORY changed between kernels. */
	return (flags & O_CREAT) == 0 ? flags & ~O_EXCL : flags;
}

static off_t choose_offset(uint64_t *state)
{
	switch (below(state, 4)) {
	case 0:
		return 0;
	case 1:
		return (off_t) below(state, 5000);
	case 2:
		return (off_t) below(state, 20) * 4096;
	default:
		return (off_t) below(state, MODEL_SIZE_MAX - MODEL_DATA);
	}
}

static size_t choose_length(uint64_t *state)
{
	return below(state, 3) == 0 ? 1 + below(state, MODEL_DATA - 1) : 1 + below(state, 300);
}

/* The meaning of flags is each kind's. */
static int choose_flags(uint64_t *state, enum model_kind kind)
{
	switch (kind) {
	case MODEL_open:
	case MODEL_open_again:
		return open_flags(state);
	case MODEL_tmpfile:
		return (below(state, 2) == 0 ? O_RDWR : O_WRONLY) | O_TMPFILE;
	case MODEL_rename:
		return below(state, 4) != 0 ? 0 : 1 + (int) below(state, 2); /* RENAME_NOREPLACE, RENAME_EXCHANGE */
	default:
		return (int) below(state, 8);
	}
}

void model_generate(uint64_t seed, uint64_t number, struct model_operation *ret_operation)
{
	uint64_t state = seed ^ (number * 0xd1342543de82ef95u + 1);

	memset(ret_operation, 0, sizeof(*ret_operation));
	ret_operation->kind = choose_kind(&state);
	ret_operation->slot = (int) below(&state, MODEL_SLOTS);
	ret_operation->other = (int) below(&state, MODEL_SLOTS);
	ret_operation->base = choose_base(&state);
	ret_operation->base2 = choose_base(&state);
	choose_path(&state, ret_operation->path);
	choose_path(&state, ret_operation->path2);
	ret_operation->mode = choose_mode(&state);
	ret_operation->flags = choose_flags(&state, ret_operation->kind);
	ret_operation->offset = choose_offset(&state);
	ret_operation->length = choose_length(&state);
	ret_operation->seed = model_next(&state);
}

void model_print(uint64_t number, const struct model_operation *operation)
{
	printf("# %" PRIu64 ": %s slot %d other %d [%d]\"%s\" [%d]\"%s\" flags 0x%x mode 0%o offset %lld length %zu\n",
	       number, model_kind_name(operation->kind), operation->slot, operation->other, operation->base,
	       operation->path, operation->base2, operation->path2, (unsigned) operation->flags, operation->mode,
	       (long long) operation->offset, operation->length);
}
