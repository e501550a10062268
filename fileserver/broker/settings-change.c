/* SPDX-License-Identifier: Apache-2.0 */
/* The settings file: changing its list, all else in it kept. */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "fileserver/broker/settings.h"
#include "protocol/cleanup.h"
#include "protocol/document.h"
#include "protocol/words.h"

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
		r = document_read(SETTINGS_WHAT, path, ret_root, error, error_size);
		if (r < 0)
			return r;
	}
	if (settings_list(*ret_root) != NULL)
		return 0;
	list = json_array();
	for (size_t i = 0; i < defaults->count; i++)
		(void) json_array_append_new(list, json_string(defaults->directories[i].path));
	return json_object_set_new(*ret_root, SETTINGS_LIST_KEY, list) < 0 ? -ENOMEM : 0;
}

/* Takes every spelling of a directory off. The number of those. */
static size_t drop(json_t *root, const char *directory)
{
	json_t *list = settings_list(root),
	       *shares = json_object_get(document_member(root, SETTINGS_OWN_KEY, NULL), "shares"), *value;
	size_t dropped = 0;
	const char *key;
	void *next;

	for (size_t i = json_array_size(list); i-- > 0;)
		if (settings_is_same(json_string_value(json_array_get(list, i)), directory)) {
			(void) json_array_remove(list, i);
			dropped++;
		}
	json_object_foreach_safe(shares, next, key, value)
	{
		if (settings_is_same(key, directory))
			(void) json_object_del(shares, key);
	}
	return dropped;
}

/* The object for a directory in "bindshare", made where it is not there. */
static json_t *own_of(json_t *root, const char *directory)
{
	json_t *own = document_member(root, SETTINGS_OWN_KEY, NULL), *shares, *object;
	const char *key;

	if (own == NULL) {
		own = json_object();
		(void) json_object_set_new(root, SETTINGS_OWN_KEY, own);
	}
	shares = json_object_get(own, "shares");
	if (shares == NULL) {
		shares = json_object();
		(void) json_object_set_new(own, "shares", shares);
	}
	json_object_foreach(shares, key, object)
	{
		if (settings_is_same(key, directory))
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
	list = settings_list(root);
	json_array_foreach(list, i, entry)
	{
		found = found || settings_is_same(json_string_value(entry), directory);
	}
	if (!found && json_array_append_new(list, json_string(directory)) < 0)
		return words_refuse(-EINVAL, error, error_size,
		                    "%s cannot be written to the settings file %s: it is no UTF-8", directory, path);
	if (read_only || found)
		(void) json_object_set_new(own_of(root, directory), "readOnly", json_boolean(read_only));
	return document_write(SETTINGS_WHAT, path, root, error, error_size);
}

int settings_remove(const char *path, const char *directory, const struct settings *defaults, char *error,
                    size_t error_size)
{
	_cleanup_json_ json_t *root = NULL;
	int r = open_list(path, defaults, &root, error, error_size);

	if (r < 0)
		return r;
	if (drop(root, directory) == 0)
		return words_refuse(-ENOENT, error, error_size, "%s is not on the list of the settings file %s",
		                    directory, path);
	return document_write(SETTINGS_WHAT, path, root, error, error_size);
}

int settings_make_directory(const char *path)
{
	char directory[PATH_MAX];

	if (snprintf(directory, sizeof(directory), "%s", path) >= (int) sizeof(directory))
		return -ENAMETOOLONG;
	for (char *slash = strchr(directory + 1, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		if (mkdir(directory, 0700) < 0 && errno != EEXIST && access(directory, F_OK) < 0)
			return -errno;
		*slash = '/';
	}
	return 0;
}
