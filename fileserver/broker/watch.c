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

#include "fileserver/broker/canonical.h"
#include "fileserver/broker/identity.h"
#include "fileserver/broker/way.h"
#include "protocol/cleanup.h"
#include "protocol/log.h"

/* Of one way: what lies in a share a guest may have made. */
enum { STEPS_MAX = 4 * CANONICAL_DEPTH_MAX };

struct watch_name {
	struct watch_name *next;
	unsigned generation; /* the watch's when it was wanted last */
	bool content;
	char name[];
};

struct watch_directory {
	UT_hash_handle hh;
	struct watch *watch;
	uv_fs_event_t handle;
	struct watch_name *names;
	unsigned generation;
	struct identity identity;
};

static void on_timer(uv_timer_t *timer)
{
	struct watch *watch = timer->data;

	uint64_t begin = uv_hrtime(), took;

	watch->changed(watch->context);
	took = (uv_hrtime() - begin) / 1000000;
	uv_update_time(watch->loop);
	watch->due =
	        uv_now(watch->loop) + (took * WATCH_SHARE > WATCH_INTERVAL_MS ? took * WATCH_SHARE : WATCH_INTERVAL_MS);
}

/* Changes come in swarms, and a guest may cause them: they are looked at together and not without pause. */
void watch_plan(struct watch *watch)
{
	uint64_t now = uv_now(watch->loop), due = watch->due;

	if (!uv_is_active((uv_handle_t *) &watch->timer))
		(void) uv_timer_start(&watch->timer, on_timer, due > now + WATCH_DELAY_MS ? due - now : WATCH_DELAY_MS,
		                      0);
}

static void on_event(uv_fs_event_t *handle, const char *name, int events, int status)
{
	const struct watch_directory *directory = handle->data;

	/* Without a name the kernel lost some. */
	if (status < 0 || name == NULL) {
		watch_plan(directory->watch);
		return;
	}
	for (const struct watch_name *next = directory->names; next != NULL; next = next->next)
		if (next->generation == directory->generation && strcmp(next->name, name) == 0 &&
		    (next->content || (events & UV_RENAME) != 0)) {
			watch_plan(directory->watch);
			return;
		}
}

static void on_mounts(uv_poll_t *poll, int status, int events)
{
	watch_plan(poll->data);
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

void watch_begin(struct watch *watch)
{
	watch->generation++;
	watch->failed = 0;
}

static void forget_names(struct watch_directory *directory)
{
	struct watch_name **link = &directory->names;

	while (*link != NULL) {
		struct watch_name *name = *link;

		if (name->generation == directory->generation) {
			link = &name->next;
			continue;
		}
		*link = name->next;
		free(name);
	}
}

void watch_end(struct watch *watch)
{
	struct watch_directory *directory, *next;

	HASH_ITER (hh, watch->directories, directory, next) {
		if (directory->generation == watch->generation) {
			forget_names(directory);
			continue;
		}
		HASH_DEL(watch->directories, directory);
		watch->count--;
		uv_close((uv_handle_t *) &directory->handle, on_closed);
	}
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

/* The directory that is open there, watched; path: for people. NULL: it cannot be. */
static struct watch_directory *directory_of(struct watch *watch, int fd, const char *path)
{
	struct watch_directory *directory;
	struct identity identity;
	char place[40];
	int r;

	if (identity_of(fd, &identity) < 0)
		return NULL;
	HASH_FIND(hh, watch->directories, &identity, sizeof(identity), directory);
	if (directory != NULL)
		return directory;
	if (watch->count >= WATCH_DIRECTORIES_MAX)
		return NULL;
	directory = calloc(1, sizeof(*directory));
	if (directory == NULL)
		return NULL;
	directory->identity = identity;
	directory->watch = watch;
	directory->handle.data = directory;
	(void) uv_fs_event_init(watch->loop, &directory->handle);
	/* One step for the kernel, however deep it lies. */
	(void) snprintf(place, sizeof(place), "/proc/self/fd/%d", fd);
	r = uv_fs_event_start(&directory->handle, on_event, place, 0);
	if (r < 0) {
		tell_failure(path, r);
		uv_close((uv_handle_t *) &directory->handle, on_closed);
		return NULL;
	}
	HASH_ADD(hh, watch->directories, identity, sizeof(identity), directory);
	watch->count++;
	return directory;
}

static void want(struct watch *watch, int fd, const char *path, const char *name, bool content)
{
	struct watch_directory *directory = directory_of(watch, fd, path);
	struct watch_name *wanted;

	if (directory == NULL) {
		watch->failed++;
		return;
	}
	directory->generation = watch->generation;
	for (wanted = directory->names; wanted != NULL && strcmp(wanted->name, name) != 0;)
		wanted = wanted->next;
	if (wanted == NULL) {
		wanted = calloc(1, sizeof(*wanted) + strlen(name) + 1);
		if (wanted == NULL) {
			watch->failed++;
			return;
		}
		strcpy(wanted->name, name);
		wanted->next = directory->names;
		directory->names = wanted;
	}
	wanted->content = content || (wanted->content && wanted->generation == watch->generation);
	wanted->generation = watch->generation;
}

void watch_add(struct watch *watch, const char *path, bool content)
{
	struct way way;
	char name[NAME_MAX + 1];
	bool goes_on = way_begin(&way, path, STEPS_MAX);

	while (goes_on && way_next(&way, name) > 0) {
		_cleanup_close_ int next = -EBADF;
		struct stat st;

		if (strcmp(name, "..") != 0)
			want(watch, way.fd, way.at, name, content && way.rest[strspn(way.rest, "/")] == '\0');
		next = openat(way.fd, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
		goes_on = next >= 0 && fstat(next, &st) == 0 && way_step(&way, name, TAKE_FD(next), &st);
	}
	way_end(&way);
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
	watch_begin(watch);
	watch_end(watch);
	uv_close((uv_handle_t *) &watch->timer, NULL);
	uv_close((uv_handle_t *) &watch->mounts, NULL);
	watch->mounts_fd = close_fd(watch->mounts_fd);
}
