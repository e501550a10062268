/* SPDX-License-Identifier: Apache-2.0 */
/* The settings file. */
#include "fileserver/broker/settings.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "fileserver/broker/allowlist.h"
#include "protocol/document.h"
#include "protocol/cleanup.h"

enum { SETTINGS_DIRECTORIES_MAX = 1024 };

static const char what[] = "settings file";
static const char list_key[] = "FilesharingDirectories", older_key[] = "filesharingDirectories";

/* For the words of an error. */
struct reader {
	const char *path;
	char *error;
	size_t error_size;
};

/* One of two words; a NULL value is none of them. 0 or -EINVAL. */
static int take_word(const struct reader *reader, const char *key, const json_t *value, const char *const words[2],
                     const char **ret_word)
{
	const char *text = json_string_value(value);

	for (unsigned i = 0; i < 2; i++)
		if (text != NULL && strcmp(text, words[i]) == 0) {
			*ret_word = words[i];
			return 0;
		}
	return document_refuse(-EINVAL, reader->error, reader->error_size,
	                       "settings file %s: bindshare: %s is not \"%s\" or \"%s\"", reader->path, key, words[0],
	                       words[1]);
}

/* One key of "bindshare" or of a directory in it. 1: it is none of these. */
static int take_mount_key(const struct reader *reader, const char *key, const json_t *value,
                          struct settings_mount *mount)
{
	static const char *const owner[] = { "view", "host" }, *const permissions[] = { "guest", "host" },
	                         *const cache[] = { "auto", "none" };

	if (strcmp(key, "owner") == 0)
		return take_word(reader, key, value, owner, &mount->owner);
	if (strcmp(key, "permissions") == 0)
		return take_word(reader, key, value, permissions, &mount->permissions);
	if (strcmp(key, "cache") == 0)
		return take_word(reader, key, value, cache, &mount->cache);
	return 1;
}

static int refuse_key(const struct reader *reader, const char *key)
{
	return document_refuse(-EINVAL, reader->error, reader->error_size,
	                       "settings file %s: bindshare: there is no key \"%.100s\"; there are owner, permissions, "
	                       "cache, shares, and in a directory of shares readOnly",
	                       reader->path, key);
}

static int take_share(const struct reader *reader, json_t *object, struct settings_directory *directory)
{
	const char *key;
	json_t *value;

	if (!json_is_object(object))
		return document_refuse(-EINVAL, reader->error, reader->error_size,
		                       "settings file %s: bindshare: what %.512s is to be like is not an object",
		                       reader->path, directory->path);
	json_object_foreach(object, key, value)
	{
		int r = take_mount_key(reader, key, value, &directory->mount);

		if (r < 0)
			return r;
		if (r == 0)
			continue;
		if (strcmp(key, "readOnly") != 0)
			return refuse_key(reader, key);
		if (!json_is_boolean(value))
			return document_refuse(-EINVAL, reader->error, reader->error_size,
			                       "settings file %s: bindshare: readOnly is not true or false",
			                       reader->path);
		directory->read_only = json_is_true(value);
	}
	return 0;
}

/* True: both are the same path, however it is written. */
static bool is_same(const char *left, const char *right)
{
	char normal[2][PATH_MAX];

	return allowlist_normalise(left, normal[0]) == 0 && allowlist_normalise(right, normal[1]) == 0 &&
	       strcmp(normal[0], normal[1]) == 0;
}

static int take_shares(const struct reader *reader, json_t *shares, struct settings *settings)
{
	const char *key;
	json_t *object;
	int r = 0;

	if (!json_is_object(shares))
		return document_refuse(-EINVAL, reader->error, reader->error_size,
		                       "settings file %s: bindshare: shares is not an object", reader->path);
	json_object_foreach(shares, key, object)
	{
		/* Also what counts for nothing must be well formed. */
		struct settings_directory unused = { .path = (char *) key };

		r = take_share(reader, object, &unused);
		for (size_t i = 0; i < settings->count && r == 0; i++)
			if (is_same(settings->directories[i].path, key))
				r = take_share(reader, object, &settings->directories[i]);
		if (r < 0)
			break;
	}
	return r;
}

/* The object "bindshare". */
static int take_own(const struct reader *reader, json_t *own, struct settings *settings)
{
	struct settings_mount all = { 0 };
	const char *key;
	json_t *value;

	if (own == NULL)
		return 0;
	if (!json_is_object(own))
		return document_refuse(-EINVAL, reader->error, reader->error_size,
		                       "settings file %s: bindshare is not an object", reader->path);
	json_object_foreach(own, key, value)
	{
		int r = take_mount_key(reader, key, value, &all);

		if (r < 0)
			return r;
		if (r == 1 && strcmp(key, "shares") != 0)
			return refuse_key(reader, key);
	}
	for (size_t i = 0; i < settings->count; i++)
		settings->directories[i].mount = all;
	value = json_object_get(own, "shares");
	return value == NULL ? 0 : take_shares(reader, value, settings);
}

static int take_directories(const struct reader *reader, json_t *list, struct settings *settings)
{
	json_t *entry;
	size_t i;

	settings->has_list = true;
	if (!json_is_array(list))
		return document_refuse(-EINVAL, reader->error, reader->error_size,
		                       "settings file %s: FilesharingDirectories is not a list of paths", reader->path);
	if (json_array_size(list) > SETTINGS_DIRECTORIES_MAX)
		return document_refuse(-EINVAL, reader->error, reader->error_size,
		                       "settings file %s: more than %d directories are shared", reader->path,
		                       SETTINGS_DIRECTORIES_MAX);
	settings->directories = calloc(json_array_size(list) + 1, sizeof(*settings->directories));
	if (settings->directories == NULL)
		return document_refuse(-ENOMEM, reader->error, reader->error_size, "settings file %s: out of memory",
		                       reader->path);
	json_array_foreach(list, i, entry)
	{
		const char *text = json_string_value(entry);
		char normal[PATH_MAX];

		if (text == NULL || strlen(text) != json_string_length(entry) || allowlist_normalise(text, normal) < 0)
			return document_refuse(-EINVAL, reader->error, reader->error_size,
			                       "settings file %s: entry %zu of FilesharingDirectories is not an "
			                       "absolute path without \"..\"",
			                       reader->path, i + 1);
		settings->directories[i].path = strdup(text);
		if (settings->directories[i].path == NULL)
			return document_refuse(-ENOMEM, reader->error, reader->error_size,
			                       "settings file %s: out of memory", reader->path);
		settings->count++;
	}
	return 0;
}

static json_t *list_of(const json_t *root)
{
	json_t *list = json_object_get(root, list_key);

	return list != NULL ? list : json_object_get(root, older_key);
}

int settings_read(const char *path, struct settings *ret_settings, char *error, size_t error_size)
{
	const struct reader reader = { path, error, error_size };
	_cleanup_json_ json_t *root = NULL;
	struct settings settings = { 0 };
	json_t *list;
	int r = document_read(what, path, &root, error, error_size);

	if (r < 0)
		return r;
	list = list_of(root);
	if (list != NULL)
		r = take_directories(&reader, list, &settings);
	if (r == 0)
		r = take_own(&reader, json_object_get(root, "bindshare"), &settings);
	if (r < 0)
		settings_done(&settings);
	else
		*ret_settings = settings;
	return r;
}

void settings_done(struct settings *settings)
{
	for (size_t i = 0; i < settings->count; i++)
		free(settings->directories[i].path);
	free(settings->directories);
	*settings = (struct settings){ 0 };
}

/* What is to be changed: the file's object, sound, with a list in it. */
static int open_list(const char *path, const struct settings *defaults, json_t **ret_root, char *error,
                     size_t error_size)
{
	struct settings settings;
	json_t *list;
	int r = settings_read(path, &settings, error, error_size);

	if (r == -ENOENT) {
		*ret_root = json_object();
	} else {
		if (r < 0)
			return r;
		settings_done(&settings);
		r = document_read(what, path, ret_root, error, error_size);
		if (r < 0)
			return r;
	}
	if (list_of(*ret_root) != NULL)
		return 0;
	list = json_array();
	for (size_t i = 0; i < defaults->count; i++)
		(void) json_array_append_new(list, json_string(defaults->directories[i].path));
	return json_object_set_new(*ret_root, list_key, list) < 0 ? -ENOMEM : 0;
}

/* Takes every spelling of a directory off. The number of those. */
static size_t drop(json_t *root, const char *directory)
{
	json_t *list = list_of(root), *shares = json_object_get(json_object_get(root, "bindshare"), "shares"), *value;
	size_t dropped = 0;
	const char *key;
	void *next;

	for (size_t i = json_array_size(list); i-- > 0;)
		if (is_same(json_string_value(json_array_get(list, i)), directory)) {
			(void) json_array_remove(list, i);
			dropped++;
		}
	json_object_foreach_safe(shares, next, key, value)
	{
		if (is_same(key, directory))
			(void) json_object_del(shares, key);
	}
	return dropped;
}

/* The object for a directory in "bindshare", made where it is not there. */
static json_t *own_of(json_t *root, const char *directory)
{
	json_t *own = json_object_get(root, "bindshare"), *shares, *object;
	const char *key;

	if (own == NULL) {
		own = json_object();
		(void) json_object_set_new(root, "bindshare", own);
	}
	shares = json_object_get(own, "shares");
	if (shares == NULL) {
		shares = json_object();
		(void) json_object_set_new(own, "shares", shares);
	}
	json_object_foreach(shares, key, object)
	{
		if (is_same(key, directory))
			return object;
	}
	object = json_object();
	(void) json_object_set_new(shares, directory, object);
	return object;
}

int settings_add(const char *path, const char *directory, bool read_only, const struct settings *defaults, char *error,
                 size_t error_size)
{
	_cleanup_json_ json_t *root = NULL;
	json_t *list, *entry;
	bool found = false;
	size_t i;
	int r = open_list(path, defaults, &root, error, error_size);

	if (r < 0)
		return r;
	list = list_of(root);
	json_array_foreach(list, i, entry)
	{
		found = found || is_same(json_string_value(entry), directory);
	}
	if (!found && json_array_append_new(list, json_string(directory)) < 0)
		return document_refuse(-EINVAL, error, error_size,
		                       "%s cannot be written to the settings file %s: it is no UTF-8", directory, path);
	if (read_only || found)
		(void) json_object_set_new(own_of(root, directory), "readOnly", json_boolean(read_only));
	return document_write(what, path, root, error, error_size);
}

int settings_remove(const char *path, const char *directory, const struct settings *defaults, char *error,
                    size_t error_size)
{
	_cleanup_json_ json_t *root = NULL;
	int r = open_list(path, defaults, &root, error, error_size);

	if (r < 0)
		return r;
	if (drop(root, directory) == 0)
		return document_refuse(-ENOENT, error, error_size, "%s is not on the list of the settings file %s",
		                       directory, path);
	return document_write(what, path, root, error, error_size);
}

int settings_default_path(char *path, size_t size)
{
	const char *home = getenv("HOME");
	int length;

	if (home == NULL || home[0] != '/')
		return -ENOENT;
	length = snprintf(path, size, "%s/.docker/desktop/settings-store.json", home);
	return length < 0 || (size_t) length >= size ? -ENAMETOOLONG : 0;
}
