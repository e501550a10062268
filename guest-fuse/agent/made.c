/* SPDX-License-Identifier: Apache-2.0 */
/* Directories that guestd makes in the guest, and removes again. */
#include "guest-fuse/agent/made.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "guest-fuse/open.h"
#include "protocol/cleanup.h"
#include "protocol/paths.h"

static int remember(struct made *made, const char *path)
{
	if (made->count >= MADE_MAX)
		return -ENAMETOOLONG;
	made->paths[made->count] = strdup(path);
	if (made->paths[made->count] == NULL)
		return -ENOMEM;
	made->count++;
	return 0;
}

void made_remove(struct made *made, size_t count)
{
	while (made->count > count) {
		char *path = made->paths[--made->count], *name = strrchr(path, '/');
		_cleanup_close_ int parent = -EBADF;

		*name = '\0';
		parent = open_plain(name == path ? "/" : path, O_PATH | O_DIRECTORY);
		if (parent >= 0 && !open_is_shared(parent))
			(void) unlinkat(parent, name + 1, AT_REMOVEDIR);
		free(path);
	}
}

int made_directories(struct made *made, const char *path, int *ret_fd)
{
	_cleanup_close_ int fd = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	char done[PATH_MAX] = "/";

	for (const char *name = path + 1; fd >= 0 && *name != '\0';) {
		size_t length = strcspn(name, "/");
		int next, r = paths_append(done, name, length);
		const char *last = strrchr(done, '/') + 1;

		if (r == 0 && !open_is_shared(fd)) {
			if (mkdirat(fd, last, 0755) == 0)
				r = remember(made, done);
			else if (errno != EEXIST)
				r = -errno;
		}
		if (r < 0)
			return r;
		next = openat(fd, last, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (next < 0)
			return errno == ENOTDIR ? -ELOOP : -errno;
		close_fd(fd);
		fd = next;
		name += length;
		name += strspn(name, "/");
	}
	if (fd < 0)
		return -errno;
	*ret_fd = TAKE_FD(fd);
	return 0;
}

bool made_is_empty(int directory)
{
	int fd = openat(directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *entries = fd < 0 ? NULL : fdopendir(fd);
	const struct dirent *entry;
	bool empty = entries != NULL;

	while (empty && (entry = readdir(entries)) != NULL)
		empty = strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0;
	if (entries != NULL)
		(void) closedir(entries);
	else
		close_fd(fd);
	return empty;
}

void made_done(struct made *made)
{
	while (made->count > 0)
		free(made->paths[--made->count]);
}
