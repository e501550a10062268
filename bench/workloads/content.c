/* SPDX-License-Identifier: Apache-2.0 */
/* Content of files, from a seed. */
#include "bench/workloads/content.h"

#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "bench/workloads/measure.h"
#include "protocol/cleanup.h"

enum { PART = 1024 * 1024 };

/* splitmix64: each position can be computed alone. */
uint64_t content_word(uint64_t seed, uint64_t at)
{
	uint64_t x = seed * 0x9e3779b97f4a7c15U + (at / 8 + 1) * 0xd1342543de82ef95U;

	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9U;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebU;
	return x ^ (x >> 31);
}

void content_fill(void *buffer, size_t size, uint64_t seed, uint64_t at)
{
	char *bytes = buffer;

	for (size_t done = 0; done < size; done += sizeof(uint64_t)) {
		uint64_t word = content_word(seed, at + done);

		memcpy(bytes + done, &word, size - done < sizeof(word) ? size - done : sizeof(word));
	}
}

static void *part_buffer(void)
{
	void *buffer = malloc(PART);

	if (buffer == NULL)
		err(EXIT_FAILURE, "memory");
	return buffer;
}

static size_t part_size(uint64_t size, uint64_t at)
{
	return size - at < PART ? (size_t) (size - at) : PART;
}

void content_write(int directory, const char *name, uint64_t seed, uint64_t size)
{
	_cleanup_free_ void *buffer = part_buffer();
	_cleanup_close_ int fd = openat(directory, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);

	if (fd < 0)
		err(EXIT_FAILURE, "%s", name);
	for (uint64_t at = 0; at < size; at += PART) {
		size_t part = part_size(size, at);

		content_fill(buffer, part, seed, at);
		if (write(fd, buffer, part) != (ssize_t) part)
			err(EXIT_FAILURE, "writing %s", name);
	}
}

static size_t read_all(int fd, char *buffer, size_t size, const char *name)
{
	size_t done = 0;

	while (done < size) {
		ssize_t n = read(fd, buffer + done, size - done);

		if (n < 0)
			err(EXIT_FAILURE, "reading %s", name);
		if (n == 0)
			break;
		done += (size_t) n;
	}
	return done;
}

void content_check(int directory, const char *name, uint64_t seed, uint64_t size, struct content_sum *sum)
{
	_cleanup_free_ char *buffer = part_buffer();
	_cleanup_close_ int fd = openat(directory, name, O_RDONLY | O_CLOEXEC);
	uint64_t at = 0;

	if (fd < 0)
		err(EXIT_FAILURE, "%s", name);
	for (; at < size; at += PART) {
		size_t part = part_size(size, at);

		if (read_all(fd, buffer, part, name) != part)
			errx(EXIT_FAILURE, "%s is shorter than it was written", name);
		content_check_buffer(buffer, part, name, seed, at);
		sum->hash = XXH3_64bits_withSeed(buffer, part, sum->hash);
	}
	if (read_all(fd, buffer, 1, name) != 0)
		errx(EXIT_FAILURE, "%s is longer than it was written", name);
	sum->files++;
	sum->bytes += size;
}

void content_check_buffer(const void *buffer, size_t size, const char *name, uint64_t seed, uint64_t at)
{
	_cleanup_free_ void *expected = malloc(size);

	if (expected == NULL)
		err(EXIT_FAILURE, "memory");
	content_fill(expected, size, seed, at);
	if (XXH3_64bits(buffer, size) != XXH3_64bits(expected, size))
		errx(EXIT_FAILURE, "%s does not hold what was written to it, near byte %llu", name,
		     (unsigned long long) at);
}

void content_report(const struct content_sum *sum)
{
	report_verified(sum->files, sum->bytes, sum->hash);
}
