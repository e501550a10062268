/* SPDX-License-Identifier: Apache-2.0 */
/* Whether somebody else could have put there what a path leads to. */
#include "fileserver/broker/trust.h"

#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "protocol/cleanup.h"
#include "protocol/paths.h"

enum { LINKS_MAX = 40, STEPS_MAX = 1024 };

/* In a user namespace root of the host is a number that many have: what is known is that it is not the user. */
static bool is_overflow(uid_t uid)
{
	_cleanup_fclose_ FILE *map = fopen("/proc/self/uid_map", "re");
	_cleanup_fclose_ FILE *overflow = fopen("/proc/sys/kernel/overflowuid", "re");
	unsigned number = 65534, inside, outside, count;

	/* The kernel's own numbers. */
	if (overflow != NULL)
		(void) !fscanf(overflow, "%u", &number); /* NOLINT(cert-err34-c) */
	if (uid != number || map == NULL)
		return false;
	if (fscanf(map, "%u %u %u", &inside, &outside, &count) != 3) /* NOLINT(cert-err34-c) */
		return false;
	return count != UINT_MAX;
}

static bool is_ours(uid_t uid)
{
	return uid == 0 || uid == geteuid() || is_overflow(uid);
}

/* True: the group has the user alone in it, as where each user has one of his own. */
static bool is_own_group(gid_t gid)
{
	const struct passwd *user = getpwuid(geteuid());
	const struct group *group = user != NULL && user->pw_gid == gid ? getgrgid(gid) : NULL;

	if (group == NULL || strcmp(group->gr_name, user->pw_name) != 0)
		return false;
	for (char **member = group->gr_mem; *member != NULL; member++)
		if (strcmp(*member, user->pw_name) != 0)
			return false;
	return true;
}

/* True: others than its owner may make, rename and remove names in the directory. */
static bool is_open_to_others(int directory, const struct stat *st)
{
	char path[40];

	if ((st->st_mode & S_IWOTH) != 0)
		return true;
	if ((st->st_mode & S_IWGRP) == 0)
		return false;
	/* With an ACL these bits are the most that anybody in it has. */
	(void) snprintf(path, sizeof(path), "/proc/self/fd/%d", directory);
	return getxattr(path, "system.posix_acl_access", NULL, 0) > 0 || !is_own_group(st->st_gid);
}

/* A way down a path. */
struct way {
	int fd;
	char at[PATH_MAX], text[2 * PATH_MAX];
	const char *rest;
	unsigned links, steps;
	bool crossed; /* a link that a guest could have made */
	bool (*is_shared)(void *context, const char *directory);
	void *context;
};

/* Puts a link's target before the rest of the way. */
static bool follow(struct way *way, int link)
{
	char target[PATH_MAX], joined[sizeof(way->text)];
	ssize_t length = readlinkat(link, "", target, sizeof(target) - 1);

	if (length < 0 || ++way->links > LINKS_MAX)
		return false;
	way->crossed = way->crossed || way->is_shared(way->context, way->at);
	target[length] = '\0';
	if (snprintf(joined, sizeof(joined), "%s/%s", target, way->rest) >= (int) sizeof(joined))
		return false;
	strcpy(way->text, joined);
	way->rest = way->text;
	if (target[0] == '/') {
		strcpy(way->at, "/");
		close_fd(way->fd);
		way->fd = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	}
	return way->fd >= 0;
}

/* One component further. False: it is not there, or not to be trusted. */
static bool step(struct way *way, const char *name)
{
	_cleanup_close_ int next = openat(way->fd, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	bool up = strcmp(name, "..") == 0;
	struct stat directory, st;

	if (next < 0 || fstat(way->fd, &directory) < 0 || fstat(next, &st) < 0)
		return false;
	if (!up) {
		if (!is_ours(directory.st_uid))
			return false;
		if (is_open_to_others(way->fd, &directory) &&
		    ((directory.st_mode & S_ISVTX) == 0 || !is_ours(st.st_uid)))
			return false;
	}
	if (S_ISLNK(st.st_mode))
		return follow(way, next);
	if (!S_ISDIR(st.st_mode) || (up ? 0 : paths_append(way->at, name, strlen(name))) < 0)
		return false;
	if (up)
		(void) paths_pop(way->at);
	close_fd(way->fd);
	way->fd = TAKE_FD(next);
	return true;
}

bool trust_path(const char *path, bool (*is_shared)(void *context, const char *directory), void *context)
{
	struct way way = { .fd = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC),
		           .at = "/",
		           .rest = way.text,
		           .is_shared = is_shared,
		           .context = context };
	bool trusted = way.fd >= 0 && snprintf(way.text, sizeof(way.text), "%s", path) < (int) sizeof(way.text);
	char name[NAME_MAX + 1];

	while (trusted) {
		size_t skip = strspn(way.rest, "/"), length = strcspn(way.rest + skip, "/");

		if (length == 0)
			break;
		trusted = length <= NAME_MAX && way.steps++ < STEPS_MAX;
		if (!trusted)
			break;
		memcpy(name, way.rest + skip, length);
		name[length] = '\0';
		way.rest += skip + length;
		trusted = strcmp(name, ".") == 0 || step(&way, name);
	}
	close_fd(way.fd);
	/* A guest gains nothing by a link to what it may write to anyway. */
	return trusted && (!way.crossed || is_shared(context, way.at));
}
