/* SPDX-License-Identifier: Apache-2.0 */
/* A walk down a path. */
#include "fileserver/broker/way.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "protocol/cleanup.h"
#include "protocol/paths.h"

enum { LINKS_MAX = 40 };

static int open_root(void)
{
	return open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
}

bool way_begin(struct way *way, const char *path, unsigned steps_max)
{
	*way = (struct way){ .fd = open_root(), .at = "/", .rest = way->text, .links = LINKS_MAX, .steps = steps_max };
	return way->fd >= 0 && snprintf(way->text, sizeof(way->text), "%s", path) < (int) sizeof(way->text);
}

int way_next(struct way *way, char ret_name[NAME_MAX + 1])
{
	size_t length;

	do {
		way->rest += strspn(way->rest, "/");
		length = strcspn(way->rest, "/");
		if (length == 0)
			return 0;
		if (length > NAME_MAX || way->steps == 0)
			return -1;
		way->steps--;
		memcpy(ret_name, way->rest, length);
		ret_name[length] = '\0';
		way->rest += length;
	} while (strcmp(ret_name, ".") == 0);
	return 1;
}

/* Puts a link's target before the rest of the way. */
static bool enter_link(struct way *way, int link)
{
	char target[PATH_MAX], joined[sizeof(way->text)];
	ssize_t length = readlinkat(link, "", target, sizeof(target) - 1);

	if (length < 0 || way->links == 0)
		return false;
	way->links--;
	target[length] = '\0';
	if (snprintf(joined, sizeof(joined), "%s/%s", target, way->rest) >= (int) sizeof(joined))
		return false;
	strcpy(way->text, joined);
	way->rest = way->text;
	if (target[0] == '/') {
		strcpy(way->at, "/");
		close_fd(way->fd);
		way->fd = open_root();
	}
	return way->fd >= 0;
}

bool way_step(struct way *way, const char *name, int next, const struct stat *st)
{
	_cleanup_close_ int taken = next;
	bool up = strcmp(name, "..") == 0;

	if (S_ISLNK(st->st_mode))
		return enter_link(way, taken);
	if (!S_ISDIR(st->st_mode) || (up ? 0 : paths_append(way->at, name, strlen(name))) < 0)
		return false;
	if (up)
		(void) paths_pop(way->at);
	close_fd(way->fd);
	way->fd = TAKE_FD(taken);
	return true;
}

void way_end(struct way *way)
{
	way->fd = close_fd(way->fd);
}
