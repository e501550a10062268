/* SPDX-License-Identifier: Apache-2.0 */
/* Tells when the host mounts or unmounts something in the share. */
#include "fileserver/worker/leases/mounts.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <xxhash.h>

#include "fileserver/common/resolve.h"
#include "protocol/cleanup.h"
#include "protocol/faults.h"

struct mounts {
	int root, table; /* table: /proc/self/mountinfo */
	uint64_t sum;    /* of the lines about mounts in the share */
};

/* As the kernel escapes a path in mountinfo: space, tab, newline and backslash in octal. */
static void escape(const char *path, char *ret_escaped, size_t size)
{
	size_t at = 0;

	for (; *path != '\0' && at + 5 < size; path++) {
		if (strchr(" \t\n\\", *path) != NULL)
			at += (size_t) snprintf(ret_escaped + at, size - at, "\\%03o",
			                        (unsigned) (unsigned char) *path);
		else
			ret_escaped[at++] = *path;
	}
	ret_escaped[at] = '\0';
}

/* "id parent major:minor root mountpoint options...": whether the mountpoint is root or beneath it. */
static bool is_beneath(const char *line, const char *root)
{
	size_t length = strlen(root);

	for (int fields = 0; fields < 4; fields++) {
		line = strchr(line, ' ');
		if (line == NULL)
			return false;
		line++;
	}
	if (length == 1)
		return true;
	return strncmp(line, root, length) == 0 && (line[length] == ' ' || line[length] == '/');
}

static uint64_t sum_of(const struct mounts *mounts)
{
	char link[RESOLVE_PATH_SIZE], path[PATH_MAX], root[4 * PATH_MAX], *line = NULL;
	ssize_t length = readlink(resolve_path(mounts->root, link), path, sizeof(path) - 1);
	size_t size = 0;
	uint64_t sum = 1;
	FILE *table;

	if (length <= 0)
		return 0;
	path[length] = '\0';
	escape(path, root, sizeof(root));
	table = fopen("/proc/self/mountinfo", "re");
	if (table == NULL)
		return 0;
	while ((length = getline(&line, &size, table)) > 0)
		if (is_beneath(line, root))
			sum = XXH3_64bits_withSeed(line, (size_t) length, sum);
	free(line);
	(void) fclose(table);
	return sum;
}

int mounts_new(int root, struct mounts **ret_mounts)
{
	struct mounts *mounts = FAULT_NULL(WORKER_LEASES, calloc(1, sizeof(*mounts)));

	if (mounts == NULL)
		return -ENOMEM;
	mounts->root = root;
	mounts->table = FAULT(WORKER_MOUNTS, open("/proc/self/mountinfo", O_RDONLY | O_CLOEXEC));
	if (mounts->table < 0) {
		int r = -errno;

		free(mounts);
		return r;
	}
	mounts->sum = sum_of(mounts);
	*ret_mounts = mounts;
	return 0;
}

void mounts_free(struct mounts *mounts)
{
	if (mounts == NULL)
		return;
	close_fd(mounts->table);
	free(mounts);
}

int mounts_fd(const struct mounts *mounts)
{
	return mounts->table;
}

bool mounts_changed(struct mounts *mounts)
{
	uint64_t sum = sum_of(mounts);
	bool changed = sum != mounts->sum || sum == 0;

	mounts->sum = sum;
	return changed;
}
