/* SPDX-License-Identifier: Apache-2.0 */
/* Two trees, compared entry by entry. */
#include "tests/e2e/model/model.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct comparison {
	bool contents_only; /* the host's own view: no owners, no modes, and special files are regular ones */
	bool quiet;
};

static bool differ(const struct comparison *how, const char *path, const char *what)
{
	if (!how->quiet)
		printf("# trees differ: %s: %s\n", path, what);
	return false;
}

static int by_name(const struct dirent **left, const struct dirent **right)
{
	return strcmp((*left)->d_name, (*right)->d_name);
}

static uint64_t contents(int directory, const char *name, off_t *ret_size)
{
	static char bytes[65536];
	int fd = openat(directory, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	uint64_t hash = 0xcbf29ce484222325u;
	ssize_t n;

	*ret_size = 0;
	if (fd < 0)
		return (uint64_t) errno;
	while ((n = read(fd, bytes, sizeof(bytes))) > 0) {
		hash = model_hash(hash, bytes, (size_t) n);
		*ret_size += n;
	}
	(void) close(fd);
	return hash;
}

static bool same_directories(const struct comparison *how, int left, int right, const char *path);

static bool same_entries(const struct comparison *how, int left, int right, const char *name, const char *path)
{
	char targets[2][4096] = { "", "" };
	struct stat l, r;
	off_t left_size, right_size;

	if (fstatat(left, name, &l, AT_SYMLINK_NOFOLLOW) < 0 || fstatat(right, name, &r, AT_SYMLINK_NOFOLLOW) < 0)
		return differ(how, path, "cannot be looked at");
	if (how->contents_only && !S_ISREG(l.st_mode) && !S_ISDIR(l.st_mode) && !S_ISLNK(l.st_mode))
		return S_ISREG(r.st_mode) || differ(how, path, "a special file that is none on the host");
	if ((l.st_mode & S_IFMT) != (r.st_mode & S_IFMT) || l.st_nlink != r.st_nlink)
		return differ(how, path, "type or number of links");
	if (!how->contents_only && (l.st_mode != r.st_mode || l.st_uid != r.st_uid || l.st_gid != r.st_gid))
		return differ(how, path, "mode or owner");
	if (S_ISLNK(l.st_mode)) {
		if (readlinkat(left, name, targets[0], 4095) < 0 || readlinkat(right, name, targets[1], 4095) < 0 ||
		    strcmp(targets[0], targets[1]) != 0)
			return differ(how, path, "target");
	} else if (S_ISREG(l.st_mode)) {
		if (contents(left, name, &left_size) != contents(right, name, &right_size) || left_size != right_size ||
		    l.st_size != r.st_size || left_size != l.st_size)
			return differ(how, path, "contents or size");
	} else if (S_ISDIR(l.st_mode)) {
		/* O_PATH: a deep tree must not need an open handle for each level. */
		int below_left = openat(left, name, O_PATH | O_DIRECTORY | O_CLOEXEC);
		int below_right = openat(right, name, O_PATH | O_DIRECTORY | O_CLOEXEC);

		return same_directories(how, below_left, below_right, path);
	}
	return true;
}

/* Closes both. */
static bool same_directories(const struct comparison *how, int left, int right, const char *path)
{
	struct dirent **lists[2] = { NULL, NULL };
	int counts[2] = { scandirat(left, ".", &lists[0], NULL, by_name),
		          scandirat(right, ".", &lists[1], NULL, by_name) };
	bool same = counts[0] >= 0 && counts[0] == counts[1];

	if (!same)
		(void) differ(how, path, counts[0] < 0 || counts[1] < 0 ? strerror(errno) : "number of entries");
	for (int i = 0; same && i < counts[0]; i++) {
		const char *name = lists[0][i]->d_name;
		char below[4096];

		(void) snprintf(below, sizeof(below), "%s/%s", path, name);
		if (strcmp(name, lists[1][i]->d_name) != 0)
			same = differ(how, below, "name");
		else if (strcmp(name, ".") != 0 && strcmp(name, "..") != 0)
			same = same_entries(how, left, right, name, below);
	}
	for (int side = 0; side < 2; side++) {
		for (int i = 0; i < counts[side]; i++)
			free(lists[side][i]);
		free(lists[side]);
	}
	if (left >= 0)
		(void) close(left);
	if (right >= 0)
		(void) close(right);
	return same;
}

bool model_same_trees(const char *left, const char *right, bool contents_only, bool quiet)
{
	struct comparison how = { .contents_only = contents_only, .quiet = quiet };

	return same_directories(&how, open(left, O_PATH | O_DIRECTORY | O_CLOEXEC),
	                        open(right, O_PATH | O_DIRECTORY | O_CLOEXEC), "");
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	return remove(path);
}

void model_remove_tree(const char *path)
{
	(void) nftw(path, remove_one, 64, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
}
