/* SPDX-License-Identifier: Apache-2.0 */
/* Which directories may be mounted. */
#include "fileserver/broker/allowlist.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "protocol/cleanup.h"
#include "protocol/paths.h"

enum { LINKS_MAX = 40 };

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
	for (size_t i = 0; i < list->count; i++) {
		if (paths_is_beneath(normal, entries[i].path))
			added->outermost = false;
		else if (paths_is_beneath(entries[i].path, normal))
			entries[i].outermost = false;
	}
	list->count++;
	return 0;
}

void allowlist_done(struct allowlist *list)
{
	for (size_t i = 0; i < list->count; i++)
		free(list->entries[i].path);
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
		bool by_name = paths_is_beneath(path, entry->path), is_there;
		char canonical[PATH_MAX];

		if (!entry->outermost)
			continue;
		is_there = realpath(entry->path, canonical) != NULL;
		if (!is_there && by_name)
			r = errno == ENOTDIR ? -ENOTDIR : -ENOENT;
		if (!is_there || (!by_name && !paths_is_beneath(path, canonical)))
			continue;
		if (entry->replaced)
			return -ESTALE;
		*ret_rest = path + (by_name ? strlen(entry->path) : strlen(canonical));
		strcpy(ret_canonical, canonical);
		return 0;
	}
	return r;
}

/* True: path, which is canonical, lies within an outermost entry. */
static bool is_within(const struct allowlist *list, const char *path)
{
	char canonical[PATH_MAX];

	for (size_t i = 0; i < list->count; i++)
		if (list->entries[i].outermost && !list->entries[i].replaced &&
		    realpath(list->entries[i].path, canonical) != NULL && paths_is_beneath(path, canonical))
			return true;
	return false;
}

/* A walk down a path: at is canonical and within the entries, rest is still to be walked. */
struct walk {
	const struct allowlist *list;
	char at[PATH_MAX];
	char *rest; /* owned */
	unsigned links;
};

/* Puts a symbolic link's target before what is still to be walked. link: the link's own path. */
static int follow(struct walk *walk, const char *link, const char *rest)
{
	char target[PATH_MAX], joined[2 * PATH_MAX];
	ssize_t length = readlink(link, target, sizeof(target));
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
		if (r < 0)
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
	char next[PATH_MAX];
	struct stat st;
	char *slash;
	int r;

	if (is(name, length, "."))
		return 0;
	if (is(name, length, "..")) {
		slash = strrchr(walk->at, '/');
		slash[slash == walk->at ? 1 : 0] = '\0';
		return is_within(walk->list, walk->at) ? 0 : -EACCES;
	}
	strcpy(next, walk->at);
	r = paths_append(next, name, length);
	if (r < 0)
		return r;
	if (lstat(next, &st) < 0)
		return -errno;
	if (S_ISLNK(st.st_mode))
		return follow(walk, next, rest);
	if (!S_ISDIR(st.st_mode))
		return -ENOTDIR;
	strcpy(walk->at, next);
	return 0;
}

static int resolve(const struct allowlist *list, const char *path, char ret_canonical[PATH_MAX])
{
	struct walk walk = { .list = list };
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
	while (r == 0 && next_component(&rest, &name, &length)) {
		unsigned links = walk.links;

		r = step(&walk, name, length, rest);
		if (r == 0 && links != walk.links)
			rest = walk.rest;
	}
	if (r == 0 && (stat(walk.at, &st) < 0 || !S_ISDIR(st.st_mode)))
		r = -ENOTDIR;
	if (r == 0)
		strcpy(ret_canonical, walk.at);
	free(walk.rest);
	return r == 0 || r == -ENOENT || r == -ENOTDIR || r == -ENOMEM || r == -ESTALE ? r : -EACCES;
}

int allowlist_match(const struct allowlist *list, const char *path, struct allowlist_match *ret_match)
{
	struct allowlist_match match = { 0 };
	char normal[PATH_MAX], entry[PATH_MAX];
	int r = allowlist_normalise(path, normal);

	if (r == 0)
		r = resolve(list, normal, match.path);
	if (r < 0)
		return r == -EINVAL || r == -ENAMETOOLONG ? -EACCES : r;
	for (size_t i = 0; i < list->count; i++) {
		const char *by_name = list->entries[i].path;

		if (!list->entries[i].read_only)
			continue;
		if (paths_is_beneath(normal, by_name) || paths_is_beneath(by_name, normal) ||
		    paths_is_beneath(match.path, by_name) || paths_is_beneath(by_name, match.path))
			match.read_only = true;
		else if (resolve(list, by_name, entry) == 0 &&
		         (paths_is_beneath(match.path, entry) || paths_is_beneath(entry, match.path)))
			match.read_only = true;
	}
	*ret_match = match;
	return 0;
}
