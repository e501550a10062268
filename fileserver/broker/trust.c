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

#include "fileserver/broker/way.h"
#include "protocol/cleanup.h"

enum { STEPS_MAX = 1024 };

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

/* False: what the name leads to may have been put there by others. */
static bool is_trusted(int at, const char *name, const struct stat *st)
{
	struct stat directory;

	if (fstat(at, &directory) < 0)
		return false;
	if (strcmp(name, "..") == 0)
		return true;
	if (!is_ours(directory.st_uid))
		return false;
	return !is_open_to_others(at, &directory) || ((directory.st_mode & S_ISVTX) != 0 && is_ours(st->st_uid));
}

bool trust_path(const char *path, bool (*is_shared)(void *context, const char *directory), void *context)
{
	struct way way;
	char name[NAME_MAX + 1];
	bool trusted = way_begin(&way, path, STEPS_MAX);
	bool crossed = false; /* a link that a guest could have made */
	int more = 0;

	while (trusted && (more = way_next(&way, name)) > 0) {
		_cleanup_close_ int next = openat(way.fd, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
		struct stat st;

		trusted = next >= 0 && fstat(next, &st) == 0 && is_trusted(way.fd, name, &st);
		if (!trusted)
			break;
		crossed = crossed || (S_ISLNK(st.st_mode) && is_shared(context, way.at));
		trusted = way_step(&way, name, TAKE_FD(next), &st);
	}
	way_end(&way);
	/* A guest gains nothing by a link to what it may write to anyway. */
	return trusted && more == 0 && (!crossed || is_shared(context, way.at));
}
