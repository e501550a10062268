/* SPDX-License-Identifier: Apache-2.0 */
/* Trees of small files: walk, read, names in vain, create, remove; one large directory. */
#include <dirent.h>
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bench/workloads/content.h"
#include "bench/workloads/measure.h"
#include "bench/workloads/workloads.h"
#include "protocol/cleanup.h"

enum {
	FILES_EACH = 50,
	NAME = 64,
	LARGEST = 16 * 1024,
	CREATED_SIZE = 4096,
	CREATED_SEED = 1000000,
	LISTING = 20000, /* entries; quick: a tenth */
	LISTING_LARGE = 100000,
};

/* 10,000 files in 200 directories. */
static int tree_directories(const struct place *place)
{
	return place->quick ? 20 : 200;
}

static int create_directories(const struct place *place)
{
	return place->quick ? 10 : 100;
}

/* 200 bytes to 8 KiB, most of them small, some up to 16 KiB: as sources are. */
static uint64_t tree_size(uint64_t seed)
{
	uint64_t word = content_word(seed, 8);

	return 200 + (word >> 32) % (word % 8 == 0 ? LARGEST - 200 : 4000);
}

static const char *file_name(char name[NAME], int directory, int file)
{
	(void) snprintf(name, NAME, "tree/d%03d/source-%02d.c", directory, file);
	return name;
}

static uint64_t file_seed(int directory, int file)
{
	return (uint64_t) directory * FILES_EACH + (uint64_t) file + 1;
}

static void make_directory(const struct place *place, const char *name)
{
	if (mkdirat(place->directory, name, 0755) < 0)
		err(EXIT_FAILURE, "%s", name);
}

static void make_directories(const struct place *place, int count)
{
	char name[NAME];

	make_directory(place, "tree");
	for (int d = 0; d < count; d++) {
		(void) snprintf(name, NAME, "tree/d%03d", d);
		make_directory(place, name);
	}
}

void tree_prepare(const struct place *place)
{
	char name[NAME];

	make_directories(place, tree_directories(place));
	for (int d = 0; d < tree_directories(place); d++)
		for (int f = 0; f < FILES_EACH; f++)
			content_write(place->directory, file_name(name, d, f), file_seed(d, f),
			              tree_size(file_seed(d, f)));
}

void tree_verify(const struct place *place)
{
	struct content_sum sum = { 0 };
	char name[NAME];

	for (int d = 0; d < tree_directories(place); d++)
		for (int f = 0; f < FILES_EACH; f++)
			content_check(place->directory, file_name(name, d, f), file_seed(d, f),
			              tree_size(file_seed(d, f)), &sum);
	content_report(&sum);
}

/* Visits a directory: its entries are stat'ed or, with remove, removed. Returns how many there are below it. */
static uint64_t visit(int parent, const char *name, bool remove)
{
	int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *listing = fd < 0 ? NULL : fdopendir(fd);
	const struct dirent *entry;
	uint64_t count = 0;

	if (listing == NULL)
		err(EXIT_FAILURE, "%s", name);
	while ((entry = readdir(listing)) != NULL) {
		bool directory = entry->d_type == DT_DIR;
		struct stat st;

		if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
			continue;
		count++;
		if (!remove || entry->d_type == DT_UNKNOWN) {
			if (fstatat(fd, entry->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
				err(EXIT_FAILURE, "stat of %s", entry->d_name);
			directory = S_ISDIR(st.st_mode);
		}
		if (directory)
			count += visit(fd, entry->d_name, remove);
		if (remove && unlinkat(fd, entry->d_name, directory ? AT_REMOVEDIR : 0) < 0)
			err(EXIT_FAILURE, "unlink of %s", entry->d_name);
	}
	(void) closedir(listing);
	return count;
}

static void visit_and_report(const struct place *place, const char *row, bool remove)
{
	uint64_t expected = (uint64_t) tree_directories(place) * (FILES_EACH + 1), count, begin = measure_now();

	count = visit(place->directory, "tree", remove);
	if (remove && unlinkat(place->directory, "tree", AT_REMOVEDIR) < 0)
		err(EXIT_FAILURE, "rmdir of tree");
	report_duration(row, measure_now() - begin, count, 0);
	if (count != expected)
		errx(EXIT_FAILURE, "%s: %llu entries in place of %llu", row, (unsigned long long) count,
		     (unsigned long long) expected);
}

void tree_walk(const struct place *place)
{
	visit_and_report(place, "walk, cold", false);
	measure_rest(place->quick);
	visit_and_report(place, "walk, warm", false);
}

void tree_remove(const struct place *place)
{
	visit_and_report(place, "rm -rf", true);
}

void tree_remove_verify(const struct place *place)
{
	if (faccessat(place->directory, "tree", F_OK, 0) == 0 || errno != ENOENT)
		errx(EXIT_FAILURE, "the tree is still there");
}

static size_t read_file(const struct place *place, const char *name, char buffer[LARGEST])
{
	_cleanup_close_ int fd = openat(place->directory, name, O_RDONLY | O_CLOEXEC);
	ssize_t n;

	if (fd < 0)
		err(EXIT_FAILURE, "%s", name);
	n = read(fd, buffer, LARGEST);
	if (n < 0)
		err(EXIT_FAILURE, "reading %s", name);
	return (size_t) n;
}

static void read_tree(const struct place *place, const char *row)
{
	uint64_t bytes = 0, count = 0, begin = measure_now();
	char buffer[LARGEST], name[NAME];

	for (int d = 0; d < tree_directories(place); d++) {
		for (int f = 0; f < FILES_EACH; f++) {
			size_t size = read_file(place, file_name(name, d, f), buffer);

			if (size != tree_size(file_seed(d, f)))
				errx(EXIT_FAILURE, "%s has %zu bytes", name, size);
			bytes += size;
			count++;
		}
	}
	report_duration(row, measure_now() - begin, count, bytes);
}

void tree_read(const struct place *place)
{
	read_tree(place, "small files, cold");
	measure_rest(place->quick);
	read_tree(place, "small files, warm");
	tree_verify(place);
}

/* As a resolver of modules does: the same names in vain in each directory. */
static void look_in_vain(const struct place *place, const char *row)
{
	enum { NAMES = 50 };
	uint64_t count = 0, begin = measure_now();
	char name[NAME];

	for (int d = 0; d < tree_directories(place); d++) {
		for (int i = 0; i < NAMES; i++) {
			(void) snprintf(name, NAME, "tree/d%03d/module-%02d/package.json", d, i);
			if (faccessat(place->directory, name, F_OK, 0) == 0 || errno != ENOENT)
				errx(EXIT_FAILURE, "%s is there", name);
			count++;
		}
	}
	report_duration(row, measure_now() - begin, count, 0);
}

void tree_missing(const struct place *place)
{
	look_in_vain(place, "missing names, cold");
	measure_rest(place->quick);
	look_in_vain(place, "missing names, warm");
}

void create_run(const struct place *place)
{
	int directories = create_directories(place);
	uint64_t count = (uint64_t) directories * FILES_EACH, begin;
	char content[CREATED_SIZE], name[NAME];

	content_fill(content, sizeof(content), CREATED_SEED, 0);
	begin = measure_now();
	make_directories(place, directories);
	for (int d = 0; d < directories; d++) {
		for (int f = 0; f < FILES_EACH; f++) {
			_cleanup_close_ int fd = openat(place->directory, file_name(name, d, f),
			                                O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);

			if (fd < 0 || write(fd, content, sizeof(content)) != (ssize_t) sizeof(content))
				err(EXIT_FAILURE, "%s", name);
		}
	}
	report_duration("create 4 KiB files", measure_now() - begin, count, count * CREATED_SIZE);
}

void create_verify(const struct place *place)
{
	struct content_sum sum = { 0 };
	char name[NAME];

	for (int d = 0; d < create_directories(place); d++)
		for (int f = 0; f < FILES_EACH; f++)
			content_check(place->directory, file_name(name, d, f), CREATED_SEED, CREATED_SIZE, &sum);
	content_report(&sum);
}

static void make_many(const struct place *place, int count)
{
	char name[NAME];

	make_directory(place, "many");
	for (int i = 0; i < (place->quick ? count / 10 : count); i++) {
		_cleanup_close_ int fd = -EBADF;

		(void) snprintf(name, NAME, "many/entry-%06d", i);
		fd = openat(place->directory, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
		if (fd < 0)
			err(EXIT_FAILURE, "%s", name);
	}
}

static void list(const struct place *place, const char *row, int expected)
{
	const struct dirent *entry;
	uint64_t count = 0, begin = measure_now();
	int fd = openat(place->directory, "many", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *listing = fd < 0 ? NULL : fdopendir(fd);

	if (listing == NULL)
		err(EXIT_FAILURE, "many");
	while ((entry = readdir(listing)) != NULL)
		count += strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
	(void) closedir(listing);
	report_duration(row, measure_now() - begin, count, 0);
	if (count != (uint64_t) (place->quick ? expected / 10 : expected))
		errx(EXIT_FAILURE, "%s: %llu entries", row, (unsigned long long) count);
}

void listing_prepare(const struct place *place)
{
	make_many(place, LISTING);
}

void listing_run(const struct place *place)
{
	list(place, "listing of 20,000, cold", LISTING);
	measure_rest(place->quick);
	list(place, "listing of 20,000, warm", LISTING);
}

void listing_large_prepare(const struct place *place)
{
	make_many(place, LISTING_LARGE);
}

void listing_large_run(const struct place *place)
{
	list(place, "listing of 100,000, cold", LISTING_LARGE);
	measure_rest(place->quick);
	list(place, "listing of 100,000, warm", LISTING_LARGE);
}
