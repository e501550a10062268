/* SPDX-License-Identifier: Apache-2.0 */
/* A directory's tree as text. */
#include "tests/support/picture.h"

#include <assert.h>
#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

enum { LINES = 64, LINE_SIZE = 512, CONTENT = 64 };

static char lines[LINES][LINE_SIZE];
static size_t count;

static void content_of(const char *path, mode_t mode, char content[CONTENT])
{
	ssize_t n = 0;
	int fd;

	if (S_ISLNK(mode)) {
		n = readlink(path, content, CONTENT - 1);
	} else if (S_ISREG(mode)) {
		fd = open(path, O_RDONLY | O_CLOEXEC);
		n = read(fd, content, CONTENT - 1);
		close(fd);
	}
	assert(n >= 0);
	content[n] = '\0';
}

static int add(const char *path, const struct stat *st, int type, struct FTW *at)
{
	const char *name = path;
	char content[CONTENT], record[128] = "", user[32] = "";
	bool sized = !S_ISDIR(st->st_mode);

	assert(count < LINES);
	/* The path from the top on, which has another name each time. */
	for (int level = at->level, i = (int) strlen(path); i > 0 && level >= 0; i--)
		if (path[i - 1] == '/' && level-- == 1)
			name = path + i;
	content_of(path, st->st_mode, content);
	(void) lgetxattr(path, "user.containers.override_stat", record, sizeof(record) - 1);
	(void) lgetxattr(path, "user.test", user, sizeof(user) - 1);
	(void) snprintf(lines[count++], LINE_SIZE, "%s %o %d %lld %u:%u \"%s\" [%s] [%s]\n",
	                at->level == 0 ? "." : name, st->st_mode, sized ? (int) st->st_nlink : 0,
	                sized ? (long long) st->st_size : 0, st->st_uid, st->st_gid, content, record, user);
	return 0;
}

static int compare(const void *left, const void *right)
{
	return strcmp(left, right);
}

char *picture_take(const char *directory)
{
	char *text = calloc(LINES, LINE_SIZE);
	int r;

	count = 0;
	memset(lines, 0, sizeof(lines));
	r = nftw(directory, add, 16, FTW_PHYS);
	assert(r == 0 && text != NULL);
	qsort(lines, count, LINE_SIZE, compare);
	for (size_t i = 0; i < count; i++)
		strcat(text, lines[i]);
	return text;
}

int picture_descriptors(void)
{
	DIR *directory = opendir("/proc/self/fd");
	int descriptors = 0;

	assert(directory != NULL);
	while (readdir(directory) != NULL)
		descriptors++;
	closedir(directory);
	return descriptors;
}
