/* SPDX-License-Identifier: Apache-2.0 */
/* Which directories may be mounted. */
#include "fileserver/broker/allowlist.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "fileserver/broker/canonical.h"
#include "fileserver/common/resolve.h"
#include "protocol/cleanup.h"
#include "protocol/paths.h"

/* Steps of one walk, links' targets included: a guest chooses these. */
enum { LINKS_MAX = 40, STEPS_MAX = 4 * CANONICAL_DEPTH_MAX };

/* Takes the next component off the front of *rest. False: there is none. */
static bool next_component(const char **rest, const char **ret_name, size_t *ret_length)
{
	*rest += strspn(*rest, "/");
	*ret_name = *rest;
	*ret_length = strcspn(*rest, "/");
	*rest += *ret_length;
	return *ret_length > 0;
}

static bool is(const char *name, size_t length, const char *text)
{
	return length == strlen(text) && memcmp(name, text, length) == 0;
}

int allowlist_normalise(const char *path, char normal[PATH_MAX])
{
	const char *rest = path, *name;
	size_t length;
	int r = 0;

	if (path[0] != '/')
		return -EINVAL;
	strcpy(normal, "/");
	while (r == 0 && next_component(&rest, &name, &length)) {
		if (is(name, length, ".."))
			return -EINVAL;
		if (!is(name, length, "."))
			r = paths_append(normal, name, length);
	}
	return r;
}

static void place_done(struct allowlist_entry *entry)
{
	free(entry->canonical);
	free(entry->above);
	entry->canonical = NULL;
	entry->above = NULL;
	entry->above_count = 0;
}

/* True: the object that an open directory lies in; at then is that. */
static bool go_up(int *at, struct allowlist_object *object)
{
	int up = openat(*at, "..", O_PATH | O_DIRECTORY | O_CLOEXEC);
	struct stat st;

	close_fd(*at);
	*at = up;
	if (up < 0 || fstat(up, &st) < 0 || (st.st_dev == object->device && st.st_ino == object->ino))
		return false;
	*object = (struct allowlist_object){ .device = st.st_dev, .ino = st.st_ino };
	return true;
}

static int note_above(struct allowlist_entry *entry, const struct allowlist_object *object)
{
	struct allowlist_object *above = reallocarray(entry->above, entry->above_count + 1, sizeof(*above));

	if (above == NULL)
		return -ENOMEM;
	entry->above = above;
	above[entry->above_count++] = *object;
	return 0;
}

/* Where the entry is now. */
static int look_at(struct allowlist_entry *entry)
{
	char canonical[PATH_MAX];
	struct stat st;
	int at, r = canonical_path(entry->path, canonical, &st);

	place_done(entry);
	entry->error = r == 0 && !S_ISDIR(st.st_mode) ? -ENOTDIR : r;
	if (r < 0)
		return 0;
	entry->object = (struct allowlist_object){ .device = st.st_dev, .ino = st.st_ino };
	entry->canonical = strdup(canonical);
	if (entry->canonical == NULL)
		return -ENOMEM;
	if (!entry->read_only || entry->error < 0)
		return 0;
	at = resolve_open_root(canonical);
	for (struct allowlist_object object = entry->object; r == 0 && at >= 0 && go_up(&at, &object);)
		r = note_above(entry, &object);
	close_fd(at);
	return r;
}

int allowlist_add(struct allowlist *list, const char *path, bool read_only)
{
	struct allowlist_entry *entries, *added;
	char normal[PATH_MAX];
	int r = allowlist_normalise(path, normal);

	if (r < 0)
		return r;
	entries = reallocarray(list->entries, list->count + 1, sizeof(*entries));
	if (entries == NULL)
		return -ENOMEM;
	list->entries = entries;
	added = &entries[list->count];
	*added = (struct allowlist_entry){ .path = strdup(normal), .read_only = read_only, .outermost = true };
	if (added->path == NULL)
		return -ENOMEM;
	list->count++;
	for (size_t i = 0; i + 1 < list->count; i++) {
		if (paths_is_beneath(normal, entries[i].path))
			added->outermost = false;
		else if (paths_is_beneath(entries[i].path, normal))
			entries[i].outermost = false;
	}
	return look_at(added);
}

void allowlist_done(struct allowlist *list)
{
	for (size_t i = 0; i < list->count; i++) {
		free(list->entries[i].path);
		place_done(&list->entries[i]);
	}
	free(list->entries);
	*list = (struct allowlist){ 0 };
}

/*
 * The outermost entry that path lies in, by its own path or by the one that it leads to. ret_canonical: where the
 * entry is, ret_rest: what of path is beneath it. 0; -EACCES; -ESTALE; or why the entry is not there.
 */
static int find_start(const struct allowlist *list, const char *path, char ret_canonical[PATH_MAX],
                      const char **ret_rest)
{
	int r = -EACCES;

	for (size_t i = 0; i < list->count; i++) {
		const struct allowlist_entry *entry = &list->entries[i];
		bool by_name = paths_is_beneath(path, entry->path);

		if (!entry->outermost)
			continue;
		if (entry->canonical == NULL && by_name)
			r = entry->error == -ENOTDIR ? -ENOTDIR : -ENOENT;
		if (entry->canonical == NULL || (!by_name && !paths_is_beneath(path, entry->canonical)))
			continue;
		if (entry->replaced)
			return -ESTALE;
		*ret_rest = path + (by_name ? strlen(entry->path) : strlen(entry->canonical));
		strcpy(ret_canonical, entry->canonical);
		return 0;
	}
	return r;
}

/* True: path, which is canonical, lies within an outermost entry. */
static bool is_within(const struct allowlist *list, const char *path)
{
	for (size_t i = 0; i < list->count; i++) {
		const struct allowlist_entry *entry = &list->entries[i];

		if (entry->outermost && !entry->replaced && entry->canonical != NULL &&
		    paths_is_beneath(path, entry->canonical))
			return true;
	}
	return false;
}

/* A walk down a path: at is canonical and within the entries, fd is open there, rest is still to be walked. */
struct walk {
	const struct allowlist *list;
	char at[PATH_MAX];
	int fd;
	char *rest; /* owned */
	unsigned links, steps;
};

/* Goes to where at is. */
static int go(struct walk *walk)
{
	close_fd(walk->fd);
	walk->fd = resolve_open_root(walk->at);
	return walk->fd < 0 ? walk->fd : 0;
}

/* Puts a symbolic link's target before what is still to be walked. link: an O_PATH descriptor of it. */
static int enter_link(struct walk *walk, int link, const char *rest)
{
	char target[PATH_MAX], joined[2 * PATH_MAX];
	ssize_t length = readlinkat(link, "", target, sizeof(target));
	const char *start = joined;
	char *copy;
	int r;

	if (length < 0)
		return -errno;
	if ((size_t) length >= sizeof(target) || ++walk->links > LINKS_MAX ||
	    snprintf(joined, sizeof(joined), "%.*s%s", (int) length, target, rest) >= (int) sizeof(joined))
		return -EACCES;
	if (joined[0] == '/') {
		char normal[PATH_MAX];

		/* "..": only the walk itself could say where it leads, and it would look outside. */
		if (allowlist_normalise(joined, normal) < 0)
			return -EACCES;
		strcpy(joined, normal);
		r = find_start(walk->list, joined, walk->at, &start);
		if (r < 0 || go(walk) < 0)
			return -EACCES;
	}
	copy = strdup(start);
	if (copy == NULL)
		return -ENOMEM;
	free(walk->rest);
	walk->rest = copy;
	return 0;
}

/* One component further. */
static int step(struct walk *walk, const char *name, size_t length, const char *rest)
{
	_cleanup_close_ int next = -EBADF;
	char component[NAME_MAX + 1];
	struct stat st;
	int r;

	if (is(name, length, "."))
		return 0;
	if (++walk->steps > STEPS_MAX)
		return -EACCES;
	if (is(name, length, "..")) {
		(void) paths_pop(walk->at);
		return is_within(walk->list, walk->at) ? go(walk) : -EACCES;
	}
	if (length > NAME_MAX)
		return -ENAMETOOLONG;
	memcpy(component, name, length);
	component[length] = '\0';
	next = openat(walk->fd, component, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	if (next < 0 || fstat(next, &st) < 0)
		return -errno;
	if (S_ISLNK(st.st_mode))
		return enter_link(walk, next, rest);
	if (!S_ISDIR(st.st_mode))
		return -ENOTDIR;
	r = paths_append(walk->at, name, length);
	if (r < 0)
		return r;
	close_fd(walk->fd);
	walk->fd = TAKE_FD(next);
	return 0;
}

/* Where the path leads, and an open descriptor of that. */
static int resolve(const struct allowlist *list, const char *path, char ret_canonical[PATH_MAX], int *ret_fd)
{
	struct walk walk = { .list = list, .fd = -EBADF };
	const char *rest, *name;
	struct stat st;
	size_t length;
	int r = find_start(list, path, walk.at, &rest);

	if (r < 0)
		return r;
	walk.rest = strdup(rest);
	if (walk.rest == NULL)
		return -ENOMEM;
	rest = walk.rest;
	r = go(&walk);
	while (r == 0 && next_component(&rest, &name, &length)) {
		unsigned links = walk.links;

		r = step(&walk, name, length, rest);
		if (r == 0 && links != walk.links)
			rest = walk.rest;
	}
	if (r == 0 && (fstat(walk.fd, &st) < 0 || !S_ISDIR(st.st_mode)))
		r = -ENOTDIR;
	if (r == 0 && canonical_depth(walk.at) > CANONICAL_DEPTH_MAX)
		r = -E2BIG;
	if (r == 0) {
		strcpy(ret_canonical, walk.at);
		*ret_fd = TAKE_FD(walk.fd);
	}
	close_fd(walk.fd);
	free(walk.rest);
	return r == 0 || r == -ENOENT || r == -ENOTDIR || r == -ENOMEM || r == -ESTALE || r == -E2BIG ? r : -EACCES;
}

static bool is_object(const struct allowlist_object *left, const struct allowlist_object *right)
{
	return left->ino == right->ino && left->device == right->device;
}

/* By their paths, one of them lies in the other. */
static bool overlaps(const char *left, const char *right)
{
	return paths_is_beneath(left, right) || paths_is_beneath(right, left);
}

/*
 * True: a read-only entry contains the directory at fd or lies in it. By the objects, not by names: a file system may
 * take several spellings for one name, and a directory may be mounted at several places.
 */
static bool is_read_only(const struct allowlist *list, int fd)
{
	_cleanup_close_ int at = openat(fd, ".", O_PATH | O_DIRECTORY | O_CLOEXEC);
	struct allowlist_object object;
	struct stat st;

	/* What cannot be looked at is not written to. */
	if (at < 0 || fstat(at, &st) < 0)
		return true;
	object = (struct allowlist_object){ .device = st.st_dev, .ino = st.st_ino };
	for (size_t i = 0; i < list->count; i++)
		for (size_t k = 0; list->entries[i].read_only && k < list->entries[i].above_count; k++)
			if (is_object(&list->entries[i].above[k], &object))
				return true;
	do {
		for (size_t i = 0; i < list->count; i++)
			if (list->entries[i].read_only && list->entries[i].canonical != NULL &&
			    is_object(&list->entries[i].object, &object))
				return true;
	} while (go_up(&at, &object));
	return at < 0;
}

int allowlist_match(const struct allowlist *list, const char *path, struct allowlist_match *ret_match)
{
	struct allowlist_match match = { 0 };
	_cleanup_close_ int fd = -EBADF;
	char normal[PATH_MAX];
	bool some = false;
	int r = allowlist_normalise(path, normal);

	if (r == 0 && canonical_depth(normal) > CANONICAL_DEPTH_MAX)
		return -E2BIG;
	if (r == 0)
		r = resolve(list, normal, match.path, &fd);
	if (r < 0)
		return r == -EINVAL || r == -ENAMETOOLONG ? -EACCES : r;
	for (size_t i = 0; i < list->count && !match.read_only; i++) {
		const struct allowlist_entry *entry = &list->entries[i];

		if (!entry->read_only)
			continue;
		some = true;
		match.read_only = overlaps(normal, entry->path) || overlaps(match.path, entry->path) ||
		                  (entry->canonical != NULL && overlaps(match.path, entry->canonical));
	}
	if (some && !match.read_only)
		match.read_only = is_read_only(list, fd);
	*ret_match = match;
	return 0;
}
