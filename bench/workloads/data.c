/* SPDX-License-Identifier: Apache-2.0 */
/* Data of large files: sequential, random, mapped, with fsync, in small writes. */
#include <err.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "bench/workloads/content.h"
#include "bench/workloads/measure.h"
#include "bench/workloads/workloads.h"
#include "protocol/cleanup.h"

enum { MIB = 1024 * 1024, BLOCK = 4096, SMALL = 1024, SEED = 21, SEED_RANDOM = 22, SEED_SYNC = 23, SEED_APPEND = 24 };

static const uint64_t random_step = 40503; /* odd: it reaches every block of a power of two */

static uint64_t data_size(const struct place *place)
{
	return (uint64_t) (place->quick ? 16 : 256) * MIB;
}

static uint64_t random_count(const struct place *place)
{
	return place->quick ? 1000 : 10000;
}

static uint64_t sync_count(const struct place *place)
{
	return place->quick ? 50 : 500;
}

static uint64_t append_count(const struct place *place)
{
	return place->quick ? 2000 : 20000;
}

static int open_file(const struct place *place, int flags)
{
	int fd = openat(place->directory, "data", flags | O_CLOEXEC, 0644);

	if (fd < 0)
		err(EXIT_FAILURE, "data");
	return fd;
}

static char *buffer_new(size_t size)
{
	char *buffer = malloc(size);

	if (buffer == NULL)
		err(EXIT_FAILURE, "memory");
	return buffer;
}

static void check_file(const struct place *place, uint64_t seed, uint64_t size)
{
	struct content_sum sum = { 0 };

	content_check(place->directory, "data", seed, size, &sum);
	content_report(&sum);
}

void data_prepare(const struct place *place)
{
	content_write(place->directory, "data", SEED, data_size(place));
}

void data_verify(const struct place *place)
{
	check_file(place, SEED, data_size(place));
}

/* Filling the buffer is not part of the time. */
void data_write(const struct place *place)
{
	_cleanup_free_ char *buffer = buffer_new(MIB);
	_cleanup_close_ int fd = open_file(place, O_WRONLY | O_CREAT | O_EXCL);
	uint64_t size = data_size(place), taken = 0, begin;

	for (uint64_t at = 0; at < size; at += MIB) {
		content_fill(buffer, MIB, SEED, at);
		begin = measure_now();
		if (write(fd, buffer, MIB) != MIB)
			err(EXIT_FAILURE, "write");
		taken += measure_now() - begin;
	}
	begin = measure_now();
	if (close(TAKE_FD(fd)) < 0)
		err(EXIT_FAILURE, "close");
	report_duration("sequential write", taken + measure_now() - begin, size / MIB, size);
}

static void read_through(const struct place *place, const char *row)
{
	_cleanup_free_ char *buffer = buffer_new(MIB);
	_cleanup_close_ int fd = open_file(place, O_RDONLY);
	uint64_t size = data_size(place), begin = measure_now();

	for (uint64_t at = 0; at < size; at += MIB)
		if (read(fd, buffer, MIB) != MIB)
			err(EXIT_FAILURE, "read");
	report_duration(row, measure_now() - begin, size / MIB, size);
}

void data_read(const struct place *place)
{
	read_through(place, "sequential read, cold");
	measure_rest(place->quick);
	read_through(place, "sequential read, warm");
	data_verify(place);
}

void data_random_read(const struct place *place)
{
	_cleanup_close_ int fd = open_file(place, O_RDONLY);
	uint64_t blocks = data_size(place) / BLOCK, block = 0, count = random_count(place);
	struct samples samples;
	char buffer[BLOCK];

	(void) posix_fadvise(fd, 0, 0, POSIX_FADV_RANDOM);
	samples_init(&samples, count);
	for (uint64_t i = 0; i < count; i++) {
		uint64_t begin = measure_now();

		if (pread(fd, buffer, BLOCK, (off_t) (block * BLOCK)) != BLOCK)
			err(EXIT_FAILURE, "read");
		samples_add(&samples, begin);
		content_check_buffer(buffer, BLOCK, "data", SEED, block * BLOCK);
		block = (block + random_step) % blocks;
	}
	report_latency("random read 4 KiB", &samples);
	samples_done(&samples);
}

void data_random_write(const struct place *place)
{
	_cleanup_close_ int fd = open_file(place, O_RDWR);
	uint64_t blocks = data_size(place) / BLOCK, block = 0, count = random_count(place);
	struct samples samples;
	char buffer[BLOCK];

	samples_init(&samples, count);
	for (uint64_t i = 0; i < count; i++) {
		uint64_t begin;

		content_fill(buffer, BLOCK, SEED_RANDOM, block * BLOCK);
		begin = measure_now();
		if (pwrite(fd, buffer, BLOCK, (off_t) (block * BLOCK)) != BLOCK)
			err(EXIT_FAILURE, "write");
		samples_add(&samples, begin);
		block = (block + random_step) % blocks;
	}
	report_latency("random write 4 KiB", &samples);
	samples_done(&samples);
}

/* The blocks that were written hold the new content. */
void data_random_write_verify(const struct place *place)
{
	_cleanup_close_ int fd = open_file(place, O_RDONLY);
	uint64_t blocks = data_size(place) / BLOCK, block = 0;
	char buffer[BLOCK];

	for (uint64_t i = 0; i < random_count(place); i++) {
		if (pread(fd, buffer, BLOCK, (off_t) (block * BLOCK)) != BLOCK)
			err(EXIT_FAILURE, "read");
		content_check_buffer(buffer, BLOCK, "data", SEED_RANDOM, block * BLOCK);
		block = (block + random_step) % blocks;
	}
}

/* Touches the first word of every page; order is 1 for sequential. */
static void touch(const char *map, uint64_t blocks, uint64_t step, const char *row)
{
	uint64_t block = 0, begin = measure_now();

	for (uint64_t i = 0; i < blocks; i++) {
		const volatile uint64_t *word = (const volatile uint64_t *) (const void *) (map + block * BLOCK);

		if (*word != content_word(SEED, block * BLOCK))
			errx(EXIT_FAILURE, "the mapped file does not hold what was written, block %llu",
			     (unsigned long long) block);
		block = (block + step) % blocks;
	}
	report_duration(row, measure_now() - begin, blocks, blocks * BLOCK);
}

static const char *map_file(const struct place *place, uint64_t size, int advice)
{
	_cleanup_close_ int fd = open_file(place, O_RDONLY);
	void *map = mmap(NULL, size, PROT_READ, MAP_SHARED, fd, 0);

	if (map == MAP_FAILED)
		err(EXIT_FAILURE, "mmap");
	(void) madvise(map, size, advice);
	return map;
}

/* The first half in order, the second at random: both cold. */
void data_map(const struct place *place)
{
	uint64_t size = data_size(place), half = size / 2, blocks = half / BLOCK, block = 0, begin;
	const char *map = map_file(place, size, MADV_NORMAL);
	struct samples samples;

	touch(map, blocks, 1, "mmap sequential, cold");
	(void) munmap((void *) map, size);
	map = map_file(place, size, MADV_RANDOM);
	samples_init(&samples, blocks);
	for (uint64_t i = 0; i < random_count(place) && i < blocks; i++) {
		const char *page = map + half + block * BLOCK;

		begin = measure_now();
		if (*(const volatile uint64_t *) (const void *) page != content_word(SEED, half + block * BLOCK))
			errx(EXIT_FAILURE, "the mapped file does not hold what was written");
		samples_add(&samples, begin);
		block = (block + random_step) % blocks;
	}
	report_latency("mmap random, cold", &samples);
	samples_done(&samples);
	(void) munmap((void *) map, size);
	map = map_file(place, size, MADV_NORMAL);
	measure_rest(place->quick);
	touch(map, blocks, 1, "mmap sequential, warm");
	(void) munmap((void *) map, size);
	data_verify(place);
}

void data_sync(const struct place *place)
{
	_cleanup_close_ int fd = open_file(place, O_WRONLY | O_CREAT | O_EXCL);
	struct samples samples;
	char buffer[BLOCK];

	samples_init(&samples, sync_count(place));
	for (uint64_t i = 0; i < sync_count(place); i++) {
		uint64_t begin;

		content_fill(buffer, BLOCK, SEED_SYNC, i * BLOCK);
		begin = measure_now();
		if (write(fd, buffer, BLOCK) != BLOCK || fsync(fd) < 0)
			err(EXIT_FAILURE, "write and fsync");
		samples_add(&samples, begin);
	}
	report_latency("write 4 KiB and fsync", &samples);
	samples_done(&samples);
}

void data_sync_verify(const struct place *place)
{
	check_file(place, SEED_SYNC, sync_count(place) * BLOCK);
}

void data_append(const struct place *place)
{
	_cleanup_close_ int fd = open_file(place, O_WRONLY | O_CREAT | O_EXCL);
	uint64_t count = append_count(place), taken = 0;
	char buffer[SMALL];

	for (uint64_t i = 0; i < count; i++) {
		uint64_t begin;

		content_fill(buffer, SMALL, SEED_APPEND, i * SMALL);
		begin = measure_now();
		if (write(fd, buffer, SMALL) != SMALL)
			err(EXIT_FAILURE, "write");
		taken += measure_now() - begin;
	}
	report_duration("1 KiB writes", taken, count, count * SMALL);
}

void data_append_verify(const struct place *place)
{
	check_file(place, SEED_APPEND, append_count(place) * SMALL);
}
