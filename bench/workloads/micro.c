/* SPDX-License-Identifier: Apache-2.0 */
/* Latencies of single operations. */
#include <err.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "bench/workloads/content.h"
#include "bench/workloads/measure.h"
#include "bench/workloads/workloads.h"
#include "protocol/cleanup.h"

enum { BLOCK = 4096, SEED_DATA = 11, SEED_WRITE = 12, NAME = 32 };

static const uint64_t data_size = 16 * 1024 * 1024;

static int repetitions(const struct place *place)
{
	return place->quick ? 200 : 2000;
}

/* "f00042" and the like, for the names that an operation uses up. */
static const char *numbered(char buffer[NAME], const char *prefix, int number)
{
	(void) snprintf(buffer, NAME, "%s%05d", prefix, number);
	return buffer;
}

static void check(int r, const char *what)
{
	if (r < 0)
		err(EXIT_FAILURE, "%s", what);
}

void micro_prepare(const struct place *place)
{
	char name[NAME];

	for (int i = 0; i < repetitions(place); i++)
		content_write(place->directory, numbered(name, "lookup", i), (uint64_t) i, 8);
	content_write(place->directory, "file", 1, BLOCK);
	content_write(place->directory, "data", SEED_DATA, data_size);
}

static void op_null(const struct place *place, int i, struct samples *samples)
{
	struct statfs st;
	uint64_t begin = measure_now();

	(void) i;
	check(fstatfs(place->directory, &st), "statfs");
	samples_add(samples, begin);
}

static void op_lookup(const struct place *place, int i, struct samples *samples)
{
	char name[NAME];
	struct stat st;
	uint64_t begin;

	(void) numbered(name, "lookup", i);
	begin = measure_now();
	check(fstatat(place->directory, name, &st, AT_SYMLINK_NOFOLLOW), "lookup");
	samples_add(samples, begin);
}

static void op_missing(const struct place *place, int i, struct samples *samples)
{
	char name[NAME];
	struct stat st;
	uint64_t begin;

	(void) numbered(name, "missing", i);
	begin = measure_now();
	if (fstatat(place->directory, name, &st, AT_SYMLINK_NOFOLLOW) == 0)
		errx(EXIT_FAILURE, "%s is there", name);
	samples_add(samples, begin);
}

static void op_stat(const struct place *place, int i, struct samples *samples)
{
	struct stat st;
	uint64_t begin = measure_now();

	(void) i;
	check(fstatat(place->directory, "file", &st, AT_SYMLINK_NOFOLLOW), "stat");
	samples_add(samples, begin);
}

static void op_open(const struct place *place, int i, struct samples *samples)
{
	uint64_t begin = measure_now();
	int fd = openat(place->directory, "file", O_RDONLY | O_CLOEXEC);

	(void) i;
	check(fd, "open");
	(void) close(fd);
	samples_add(samples, begin);
}

static void op_create(const struct place *place, int i, struct samples *samples)
{
	char name[NAME];
	uint64_t begin;
	int fd;

	(void) numbered(name, "new", i);
	begin = measure_now();
	fd = openat(place->directory, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
	check(fd, "create");
	check(close(fd), "close");
	samples_add(samples, begin);
}

static void op_rename(const struct place *place, int i, struct samples *samples)
{
	char from[NAME], to[NAME];
	uint64_t begin;

	(void) numbered(from, "new", i);
	(void) numbered(to, "moved", i);
	begin = measure_now();
	check(renameat(place->directory, from, place->directory, to), "rename");
	samples_add(samples, begin);
}

static void op_unlink(const struct place *place, int i, struct samples *samples)
{
	char name[NAME];
	uint64_t begin;

	(void) numbered(name, "moved", i);
	begin = measure_now();
	check(unlinkat(place->directory, name, 0), "unlink");
	samples_add(samples, begin);
}

static void op_mkdir(const struct place *place, int i, struct samples *samples)
{
	char name[NAME];
	uint64_t begin;

	(void) numbered(name, "dir", i);
	begin = measure_now();
	check(mkdirat(place->directory, name, 0755), "mkdir");
	samples_add(samples, begin);
}

static void op_rmdir(const struct place *place, int i, struct samples *samples)
{
	char name[NAME];
	uint64_t begin;

	(void) numbered(name, "dir", i);
	begin = measure_now();
	check(unlinkat(place->directory, name, AT_REMOVEDIR), "rmdir");
	samples_add(samples, begin);
}

/* Each page once, in an order that defeats readahead; the step has no factor in common with the number of pages. */
static void measure_reads(const struct place *place, struct samples *samples, const char *row)
{
	_cleanup_close_ int fd = openat(place->directory, "data", O_RDONLY | O_CLOEXEC);
	uint64_t pages = data_size / BLOCK, page = 0;
	char block[BLOCK];

	check(fd, "data");
	(void) posix_fadvise(fd, 0, 0, POSIX_FADV_RANDOM);
	samples->count = 0;
	for (int i = 0; i < repetitions(place); i++) {
		uint64_t begin = measure_now();

		if (pread(fd, block, BLOCK, (off_t) (page * BLOCK)) != BLOCK)
			err(EXIT_FAILURE, "read");
		samples_add(samples, begin);
		content_check_buffer(block, BLOCK, "data", SEED_DATA, page * BLOCK);
		page = (page + 1597) % pages;
	}
	report_latency(row, samples);
}

static void measure_writes(const struct place *place, struct samples *samples)
{
	_cleanup_close_ int fd = openat(place->directory, "written", O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
	struct content_sum sum = { 0 };
	char block[BLOCK];

	check(fd, "written");
	samples->count = 0;
	for (int i = 0; i < repetitions(place); i++) {
		off_t at = (off_t) i * BLOCK;
		uint64_t begin;

		content_fill(block, BLOCK, SEED_WRITE, (uint64_t) at);
		begin = measure_now();
		if (pwrite(fd, block, BLOCK, at) != BLOCK)
			err(EXIT_FAILURE, "write");
		samples_add(samples, begin);
	}
	check(close(TAKE_FD(fd)), "close");
	report_latency("write 4 KiB", samples);
	content_check(place->directory, "written", SEED_WRITE, (uint64_t) repetitions(place) * BLOCK, &sum);
	check(unlinkat(place->directory, "written", 0), "unlink");
}

void micro_run(const struct place *place)
{
	static const struct {
		const char *row;
		void (*operation)(const struct place *place, int i, struct samples *samples);
	} operations[] = {
		{ "lookup", op_lookup }, { "missing name", op_missing }, { "null (statfs)", op_null },
		{ "stat", op_stat },     { "open and close", op_open },  { "create and close", op_create },
		{ "rename", op_rename }, { "unlink", op_unlink },        { "mkdir", op_mkdir },
		{ "rmdir", op_rmdir },
	};
	struct samples samples;

	samples_init(&samples, (size_t) repetitions(place));
	for (size_t i = 0; i < ARRAY_SIZE(operations); i++) {
		samples.count = 0;
		for (int k = 0; k < repetitions(place); k++)
			operations[i].operation(place, k, &samples);
		report_latency(operations[i].row, &samples);
	}
	measure_reads(place, &samples, "read 4 KiB");
	measure_reads(place, &samples, "read 4 KiB again");
	measure_writes(place, &samples);
	samples_done(&samples);
}
