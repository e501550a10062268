/* SPDX-License-Identifier: Apache-2.0 */
/* XXH3 of a whole tree: names, types, links and contents, in whatever order the directories list them. */
#include <dirent.h>
#include <err.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include "bench/workloads/measure.h"
#include "bench/workloads/workloads.h"
#include "protocol/cleanup.h"

enum { PART = 256 * 1024 };

struct digest {
	uint64_t files, bytes, sum;
	char buffer[PART];
};

static uint64_t file_hash(struct digest *digest, int parent, const char *name)
{
	_cleanup_close_ int fd = openat(parent, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	uint64_t hash = 1;
	ssize_t n;

	if (fd < 0)
		err(EXIT_FAILURE, "%s", name);
	while ((n = read(fd, digest->buffer, PART)) > 0) {
		hash = XXH3_64bits_withSeed(digest->buffer, (size_t) n, hash);
		digest->bytes += (uint64_t) n;
	}
	if (n < 0)
		err(EXIT_FAILURE, "reading %s", name);
	digest->files++;
	return hash;
}

static uint64_t link_hash(struct digest *digest, int parent, const char *name)
{
	ssize_t n = readlinkat(parent, name, digest->buffer, PART);

	if (n < 0)
		err(EXIT_FAILURE, "%s", name);
	return XXH3_64bits_withSeed(digest->buffer, (size_t) n, 2);
}

/* above: the hash of the directory's own path. */
static void digest_directory(struct digest *digest, int parent, const char *name, uint64_t above)
{
	int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	DIR *listing = fd < 0 ? NULL : fdopendir(fd);
	const struct dirent *entry;

	if (listing == NULL)
		err(EXIT_FAILURE, "%s", name);
	while ((entry = readdir(listing)) != NULL) {
		uint64_t path, content = 3;
		struct stat st;

		if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
			continue;
		if (fstatat(fd, entry->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
			err(EXIT_FAILURE, "%s", entry->d_name);
		path = XXH3_64bits_withSeed(entry->d_name, strlen(entry->d_name), above);
		if (S_ISDIR(st.st_mode))
			digest_directory(digest, fd, entry->d_name, path);
		else if (S_ISREG(st.st_mode))
			content = file_hash(digest, fd, entry->d_name);
		else if (S_ISLNK(st.st_mode))
			content = link_hash(digest, fd, entry->d_name);
		digest->sum += XXH3_64bits_withSeed(&content, sizeof(content), path);
	}
	(void) closedir(listing);
}

void digest_run(const struct place *place)
{
	_cleanup_free_ struct digest *digest = calloc(1, sizeof(*digest));

	if (digest == NULL)
		err(EXIT_FAILURE, "memory");
	digest_directory(digest, place->directory, ".", 0);
	report_verified(digest->files, digest->bytes, digest->sum);
}
