/* SPDX-License-Identifier: Apache-2.0 */
/* The path of the control socket, and the directory that it is in. */
#include "protocol/control-path.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "protocol/cleanup.h"
#include "protocol/paths.h"

enum { DIRECTORY_SIZE = 128 };

static bool is_own_directory(const char *path)
{
	struct stat st;

	return lstat(path, &st) == 0 && S_ISDIR(st.st_mode) && st.st_uid == geteuid();
}

/* ret_shared: others may make directories beside it (/tmp). Returns 0 or -ENAMETOOLONG. */
static int runtime_directory(char directory[DIRECTORY_SIZE], bool *ret_shared)
{
	const char *runtime = getenv("XDG_RUNTIME_DIR");
	char users[DIRECTORY_SIZE];
	int length;

	*ret_shared = false;
	if (runtime == NULL || runtime[0] != '/') {
		(void) snprintf(users, sizeof(users), "/run/user/%u", (unsigned) geteuid());
		runtime = users;
		*ret_shared = !is_own_directory(users);
	}
	if (*ret_shared)
		length = snprintf(directory, DIRECTORY_SIZE, "/tmp/bindshare-%u", (unsigned) geteuid());
	else
		length = snprintf(directory, DIRECTORY_SIZE, "%s/bindshare", runtime);
	return length < 0 || length >= DIRECTORY_SIZE ? -ENAMETOOLONG : 0;
}

/*
 * Makes sure that the directory exists, is the user's own and closed to others: whoever reaches the control socket
 * decides what is shared.
 */
static int make_directory(const char *directory)
{
	_cleanup_close_ int fd = -EBADF;
	struct stat st;

	if (mkdir(directory, 0700) < 0 && errno != EEXIST)
		return -errno;
	fd = open(directory, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return errno == ELOOP || errno == ENOTDIR ? -EPERM : -errno;
	if (fstat(fd, &st) < 0)
		return -errno;
	if (st.st_uid != geteuid())
		return -EPERM;
	return (st.st_mode & 07777) != 0700 && fchmod(fd, 0700) < 0 ? -errno : 0;
}

int control_path_default(char *path, size_t size, bool make)
{
	char directory[DIRECTORY_SIZE];
	bool shared;
	int r = runtime_directory(directory, &shared);

	if (r < 0 || snprintf(path, size, "%s/control.sock", directory) >= (int) size)
		return -ENAMETOOLONG;
	if (make)
		return make_directory(directory);
	/* A socket that somebody else has put there must be told nothing. */
	return shared && access(directory, F_OK) == 0 && !is_own_directory(directory) ? -EPERM : 0;
}

int control_path_make_directory(const char *path)
{
	char normal[PATH_MAX], directory[DIRECTORY_SIZE], wanted[PATH_MAX];
	bool shared;

	if (runtime_directory(directory, &shared) < 0 || paths_normalise(directory, wanted) < 0 ||
	    paths_normalise(path, normal) < 0 || !paths_pop(normal) || strcmp(normal, wanted) != 0)
		return 0;
	return make_directory(wanted);
}

const char *control_path_words(int error)
{
	return error == -EPERM ? "belongs to somebody else, or is no directory" : strerror(-error);
}
