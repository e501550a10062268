/* SPDX-License-Identifier: Apache-2.0 */
/* Tells when what a path leads to may have changed. */
#include "fileserver/broker/watch.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <uthash.h>

#include "protocol/cleanup.h"
#include "protocol/log.h"

enum { LINKS_MAX = 40 };

struct watch_name {
	struct watch_name *next;
	bool content;
	char name[];
};

struct watch_directory {
	UT_hash_handle hh;
	struct watch *watch;
	uv_fs_event_t handle;
	struct watch_name *names;
	char path[];
};

static void on_timer(uv_timer_t *timer)
{
	struct watch *watch = timer->data;

	watch->last = uv_now(watch->loop);
	watch->changed(watch->context);
}

/* Changes come in swarms, and a guest may cause them: they are looked at together and not without pause. */
static void plan(struct watch *watch)
{
	uint64_t now = uv_now(watch->loop), due = watch->last + WATCH_INTERVAL_MS;

	if (!uv_is_active((uv_handle_t *) &watch->timer))
		(void) uv_timer_start(&watch->timer, on_timer, due > now + WATCH_DELAY_MS ? due - now : WATCH_DELAY_MS,
		                      0);
}

static void on_event(uv_fs_event_t *handle, const char *name, int events, int status)
{
	const struct watch_directory *directory = handle->data;

	/* Without a name the kernel lost some. */
	if (status < 0 || name == NULL) {
		plan(directory->watch);
		return;
	}
	for (const struct watch_name *next = directory->names; next != NULL; next = next->next)
		if (strcmp(next->name, name) == 0 && (next->content || (events & UV_RENAME) != 0)) {
			plan(directory->watch);
			return;
		}
}

static void on_mounts(uv_poll_t *poll, int status, int events)
{
	plan(poll->data);
}

static void on_closed(uv_handle_t *handle)
{
	struct watch_directory *directory = handle->data;
	struct watch_name *name = directory->names;

	while (name != NULL) {
		struct watch_name *next = name->next;

		free(name);
		name = next;
	}
	free(directory);
}

void watch_reset(struct watch *watch)
{
	struct watch_directory *directory, *next;

	HASH_ITER (hh, watch->directories, directory, next) {
		HASH_DEL(watch->directories, directory);
		uv_close((uv_handle_t *) &directory->handle, on_closed);
	}
	watch->count = watch->failed = 0;
}

static void tell_failure(const char *path, int error)
{
	static struct log_limit limit;

	/* What the user may not list he cannot watch; nor can he change it, as a rule. */
	if (error == -EACCES)
		log_debug("cannot watch %s, which may not be listed", path);
	else if (log_limit_allows(&limit))
		log_warning("cannot watch %s: %s; its changes are seen at the next mount, or on SIGHUP", path,
		            error == -ENOSPC ? "all inotify watches of the user are in use (raise "
		                               "fs.inotify.max_user_watches)"
		                             : strerror(-error));
}

/* The directory at this path, watched. NULL: it cannot be. */
static struct watch_directory *directory_of(struct watch *watch, const char *path)
{
	struct watch_directory *directory;
	size_t length = strlen(path);
	int r;

	HASH_FIND_STR(watch->directories, path, directory);
	if (directory != NULL)
		return directory;
	if (watch->count >= WATCH_DIRECTORIES_MAX)
		return NULL;
	directory = calloc(1, sizeof(*directory) + length + 1);
	if (directory == NULL)
		return NULL;
	memcpy(directory->path, path, length + 1);
	directory->watch = watch;
	directory->handle.data = directory;
	(void) uv_fs_event_init(watch->loop, &directory->handle);
	r = uv_fs_event_start(&directory->handle, on_event, path, 0);
	if (r < 0) {
		tell_failure(path, r);
		uv_close((uv_handle_t *) &directory->handle, on_closed);
		return NULL;
	}
	HASH_ADD_STR(watch->directories, path, directory);
	watch->count++;
	return directory;
}

static void want(struct watch *watch, const char *path, const char *name, bool content)
{
	struct watch_directory *directory = directory_of(watch, path);
	struct watch_name *wanted;

	if (directory == NULL) {
		watch->failed++;
		return;
	}
	for (wanted = directory->names; wanted != NULL; wanted = wanted->next)
		if (strcmp(wanted->name, name) == 0) {
			wanted->content = wanted->content || content;
			return;
		}
	wanted = calloc(1, sizeof(*wanted) + strlen(name) + 1);
	if (wanted == NULL) {
		watch->failed++;
		return;
	}
	strcpy(wanted->name, name);
	wanted->content = content;
	wanted->next = directory->names;
	directory->names = wanted;
}

/* Puts a link's target before the rest of the way. False: the way ends here. */
static bool follow(char at[PATH_MAX], const char *link, char rest[PATH_MAX])
{
	char target[PATH_MAX], joined[PATH_MAX];
	ssize_t length = readlink(link, target, sizeof(target) - 1);

	if (length < 0)
		return false;
	target[length] = '\0';
	if (snprintf(joined, sizeof(joined), "%s/%s", target, rest) >= (int) sizeof(joined))
		return false;
	strcpy(rest, joined);
	if (target[0] == '/')
		strcpy(at, "/");
	return true;
}

void watch_add(struct watch *watch, const char *path, bool content)
{
	char at[PATH_MAX] = "/", rest[PATH_MAX], name[NAME_MAX + 1], next[PATH_MAX];
	unsigned links = 0;
	struct stat st;

	if (snprintf(rest, sizeof(rest), "%s", path) >= (int) sizeof(rest))
		return;
	for (;;) {
		size_t skip = strspn(rest, "/"), length = strcspn(rest + skip, "/");

		if (length == 0 || length > NAME_MAX)
			return;
		memcpy(name, rest + skip, length);
		name[length] = '\0';
		memmove(rest, rest + skip + length, strlen(rest + skip + length) + 1);
		if (strcmp(name, ".") == 0)
			continue;
		if (strcmp(name, "..") == 0) {
			char *slash = strrchr(at, '/');

			slash[slash == at] = '\0';
			continue;
		}
		want(watch, at, name, content && rest[strspn(rest, "/")] == '\0');
		if (snprintf(next, sizeof(next), "%s/%s", strcmp(at, "/") == 0 ? "" : at, name) >= (int) sizeof(next) ||
		    lstat(next, &st) < 0)
			return;
		if (S_ISLNK(st.st_mode)) {
			if (++links > LINKS_MAX || !follow(at, next, rest))
				return;
		} else if (S_ISDIR(st.st_mode)) {
			strcpy(at, next);
		} else {
			return;
		}
	}
}

int watch_open(struct watch *watch, uv_loop_t *loop, void (*changed)(void *context), void *context)
{
	int r;

	*watch = (struct watch){ .loop = loop, .changed = changed, .context = context };
	watch->mounts_fd = open("/proc/self/mountinfo", O_RDONLY | O_CLOEXEC);
	if (watch->mounts_fd < 0)
		return -errno;
	r = uv_poll_init(loop, &watch->mounts, watch->mounts_fd);
	if (r < 0) {
		watch->mounts_fd = close_fd(watch->mounts_fd);
		return r;
	}
	(void) uv_timer_init(loop, &watch->timer);
	watch->timer.data = watch->mounts.data = watch;
	return uv_poll_start(&watch->mounts, UV_PRIORITIZED, on_mounts);
}

void watch_close(struct watch *watch)
{
	watch_reset(watch);
	uv_close((uv_handle_t *) &watch->timer, NULL);
	uv_close((uv_handle_t *) &watch->mounts, NULL);
	watch->mounts_fd = close_fd(watch->mounts_fd);
}
