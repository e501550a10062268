/* SPDX-License-Identifier: Apache-2.0 */
/* Finds a directory that the host has moved. */
#include "fileserver/worker/nodes/search.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "fileserver/common/resolve.h"
#include "fileserver/worker/nodes/nodes.h"
#include "protocol/cleanup.h"

enum { BUFFER = 4096 /* on the small stack of a lane's thread, once per level */ };

static int look_at(struct search *search, int directory, const struct dirent64 *entry, int depth)
{
	_cleanup_close_ int fd = -EBADF;
	struct statx stx;

	if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
		return -ENOENT;
	if ((entry->d_type != DT_DIR && entry->d_type != DT_UNKNOWN) || (depth == 0 && entry->d_ino != search->ino))
		return -ENOENT;
	fd = resolve_pin(directory, entry->d_name);
	if (fd < 0)
		return -ENOENT;
	if (entry->d_ino == search->ino && statx(fd, "", AT_EMPTY_PATH, NODES_STATX, &stx) == 0 &&
	    search->is(search->context, &stx)) {
		strcpy(search->name, entry->d_name);
		return TAKE_FD(fd);
	}
	return depth == 0 ? -ENOENT : search_below(search, fd, depth - 1);
}

int search_below(struct search *search, int directory, int depth)
{
	char bytes[BUFFER] __attribute__((aligned(8)));
	_cleanup_close_ int fd = resolve_reopen(directory, O_RDONLY | O_DIRECTORY);
	long n;

	while (fd >= 0 && (n = getdents64(fd, bytes, sizeof(bytes))) > 0) {
		for (long at = 0; at < n; at += ((const struct dirent64 *) (const void *) (bytes + at))->d_reclen) {
			int found;

			if (search->left == 0)
				return -ENOENT;
			search->left--;
			found = look_at(search, directory, (const void *) (bytes + at), depth);
			if (found >= 0)
				return found;
		}
	}
	return -ENOENT;
}
