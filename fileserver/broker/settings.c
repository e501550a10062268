/* SPDX-License-Identifier: Apache-2.0 */
/* The settings file: reading it. */
#include "fileserver/broker/settings.h"

#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "fileserver/broker/expand.h"
#include "protocol/cleanup.h"
#include "protocol/document.h"
#include "protocol/words.h"

enum { SETTINGS_DIRECTORIES_MAX = 1024, QUOTED_MAX = 200 /* bytes of what is quoted in words */ };

/* For the words of an error, or of what is left out. */
struct reader {
	const char *path;
	char *error;
	size_t error_size;
};

static int refuse(const struct reader *reader, const char *format, ...) __attribute__((format(printf, 2, 3)));
static int refuse(const struct reader *reader, const char *format, ...)
{
	char words[512];
	va_list arguments;

	va_start(arguments, format);
	(void) vsnprintf(words, sizeof(words), format, arguments);
	va_end(arguments);
	return words_refuse(-EINVAL, reader->error, reader->error_size, "settings file %s: %s", reader->path, words);
}

/* What is wrong with one entry, beside what was wrong with others. */
static void note(const struct reader *reader, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void note(const struct reader *reader, const char *format, ...)
{
	size_t used = strlen(reader->error);
	char words[1024];
	va_list arguments;

	va_start(arguments, format);
	(void) vsnprintf(words, sizeof(words), format, arguments);
	va_end(arguments);
	if (used == 0)
		(void) snprintf(reader->error, reader->error_size, "settings file %s: %s", reader->path, words);
	else
		(void) snprintf(reader->error + used, reader->error_size - used, "; %s", words);
}

json_t *settings_list(const json_t *root)
{
	return document_member(root, SETTINGS_LIST_KEY, SETTINGS_OLDER_LIST_KEY);
}

bool settings_is_same(const char *left, const char *right)
{
	char normal[2][PATH_MAX];

	return left != NULL && right != NULL && expand_path(left, normal[0]) == 0 &&
	       expand_path(right, normal[1]) == 0 && strcmp(normal[0], normal[1]) == 0;
}

/* Keys that differ from this one in case alone: beside it they count for nothing, and two of them make no sense. */
static int check_spellings(const struct reader *reader, const json_t *root, const char *name, const char *older)
{
	const char *key, *counts = json_object_get(root, name) != NULL ? name : older;
	const json_t *value;

	if (counts != NULL && json_object_get(root, counts) == NULL)
		counts = NULL;
	json_object_foreach((json_t *) root, key, value)
	{
		if (strcasecmp(key, name) != 0 || strcmp(key, name) == 0 || (older != NULL && strcmp(key, older) == 0))
			continue;
		if (counts == NULL)
			counts = key;
		else if (strcmp(counts, name) != 0 && (older == NULL || strcmp(counts, older) != 0))
			return refuse(reader, "both %.100s and %.100s are there: leave %s", counts, key, name);
		else
			note(reader, "%.100s counts for nothing beside %s", key, counts);
	}
	return 0;
}

enum { PROBLEM_SIZE = 256 };

/* One of the words, the last of which is NULL; a NULL value is none of them. 0, or -EINVAL and what is wrong. */
static int take_word(const char *key, const json_t *value, const char *const words[], const char **ret_word,
                     char problem[PROBLEM_SIZE])
{
	const char *text = json_string_value(value);
	size_t length = (size_t) snprintf(problem, PROBLEM_SIZE, "%s is not", key);

	for (unsigned i = 0; words[i] != NULL; i++) {
		if (text != NULL && strcmp(text, words[i]) == 0) {
			*ret_word = words[i];
			return 0;
		}
		length += (size_t) snprintf(problem + length, PROBLEM_SIZE - length, "%s \"%s\"", i > 0 ? " or" : "",
		                            words[i]);
	}
	return -EINVAL;
}

/* One key of "bindshare" or of a directory in it. 0; 1: it is none of these; -EINVAL and what is wrong. */
static int take_mount_key(const char *key, const json_t *value, struct settings_mount *mount,
                          char problem[PROBLEM_SIZE])
{
	static const char *const owner[] = { "view", "host", NULL }, *const permissions[] = { "guest", "host", NULL },
	                         *const cache[] = { "auto", "timeout", "none", NULL };

	if (strcmp(key, "owner") == 0)
		return take_word(key, value, owner, &mount->owner, problem);
	if (strcmp(key, "permissions") == 0)
		return take_word(key, value, permissions, &mount->permissions, problem);
	if (strcmp(key, "cache") == 0)
		return take_word(key, value, cache, &mount->cache, problem);
	return 1;
}

static int refuse_key(const char *key, char problem[PROBLEM_SIZE])
{
	(void) snprintf(problem, PROBLEM_SIZE,
	                "there is no key \"%.100s\"; there are owner, permissions, cache, shares, and in a directory "
	                "of shares readOnly",
	                key);
	return -EINVAL;
}

/* How one directory is to be shared. 0, or -EINVAL and what is wrong. */
static int take_share(const json_t *object, struct settings_directory *directory, char problem[PROBLEM_SIZE])
{
	const char *key;
	json_t *value;
	int r = 0;

	if (!json_is_object(object)) {
		(void) snprintf(problem, PROBLEM_SIZE, "what it is to be like is not an object");
		return -EINVAL;
	}
	json_object_foreach((json_t *) object, key, value)
	{
		r = take_mount_key(key, value, &directory->mount, problem);
		if (r == 1 && strcmp(key, "readOnly") != 0) {
			r = refuse_key(key, problem);
		} else if (r == 1 && !json_is_boolean(value)) {
			(void) snprintf(problem, PROBLEM_SIZE, "readOnly is not true or false");
			r = -EINVAL;
		} else if (r == 1) {
			directory->read_only = json_is_true(value);
			r = 0;
		}
		if (r < 0)
			break;
	}
	return r;
}

/* What is misspelt may have been to keep others from writing: such a directory is read-only. */
static void take_shares(const struct reader *reader, json_t *shares, struct settings *settings)
{
	const char *key;
	json_t *object;

	json_object_foreach(shares, key, object)
	{
		struct settings_directory unused = { 0 };
		char problem[PROBLEM_SIZE], normal[PATH_MAX];
		int r = expand_path(key, normal);

		if (r < 0) {
			note(reader, "bindshare: shares: \"%.*s\" %s; it counts for nothing", QUOTED_MAX, key,
			     expand_words(r));
			continue;
		}
		r = take_share(object, &unused, problem);
		if (r < 0)
			note(reader, "bindshare: shares: \"%.*s\": %s; it is read-only until that is mended",
			     QUOTED_MAX, key, problem);
		for (size_t i = 0; i < settings->count; i++)
			if (strcmp(settings->directories[i].path, normal) == 0 &&
			    take_share(object, &settings->directories[i], problem) < 0)
				settings->directories[i].read_only = true;
	}
}

/* The object "bindshare". What is wrong in it itself concerns every directory. */
static int take_own(const struct reader *reader, json_t *own, struct settings *settings)
{
	struct settings_mount all = { 0 };
	char problem[PROBLEM_SIZE];
	const char *key;
	json_t *value;

	if (own == NULL)
		return 0;
	if (!json_is_object(own))
		return refuse(reader, "bindshare is not an object");
	json_object_foreach(own, key, value)
	{
		int r = take_mount_key(key, value, &all, problem);

		if (r == 1 && strcmp(key, "shares") != 0)
			r = refuse_key(key, problem);
		if (r < 0)
			return refuse(reader, "bindshare: %s", problem);
	}
	for (size_t i = 0; i < settings->count; i++)
		settings->directories[i].mount = all;
	value = json_object_get(own, "shares");
	if (value != NULL && !json_is_object(value))
		return refuse(reader, "bindshare: shares is not an object");
	if (value != NULL)
		take_shares(reader, value, settings);
	return 0;
}

/* One entry of the list, the number-th; one that is no path is left out, and told of. 0 or -ENOMEM. */
static int take_directory(const struct reader *reader, const json_t *entry, size_t number, struct settings *settings)
{
	const char *text = document_text(entry);
	char normal[PATH_MAX];
	int r = text == NULL ? -EINVAL : expand_path(text, normal);

	if (r < 0) {
		_cleanup_free_ char *quoted = json_dumps(entry, JSON_ENCODE_ANY | JSON_COMPACT);

		note(reader, "entry %zu of " SETTINGS_LIST_KEY ", %.*s, %s; it is left out", number, QUOTED_MAX,
		     quoted == NULL ? "?" : quoted, expand_words(r));
		return 0;
	}
	settings->directories[settings->count].path = strdup(normal);
	return settings->directories[settings->count++].path == NULL ? -ENOMEM : 0;
}

static int take_directories(const struct reader *reader, json_t *list, struct settings *settings)
{
	int r = 0;

	settings->has_list = true;
	if (!json_is_array(list))
		return refuse(reader, SETTINGS_LIST_KEY " is not a list of paths");
	if (json_array_size(list) > SETTINGS_DIRECTORIES_MAX)
		return refuse(reader, "more than %d directories are shared", SETTINGS_DIRECTORIES_MAX);
	settings->directories = calloc(json_array_size(list) + 1, sizeof(*settings->directories));
	if (settings->directories == NULL)
		r = -ENOMEM;
	for (size_t i = 0; i < json_array_size(list) && r == 0; i++)
		r = take_directory(reader, json_array_get(list, i), i + 1, settings);
	return r < 0 ? words_refuse(r, reader->error, reader->error_size, "settings file %s: out of memory",
	                            reader->path)
	             : 0;
}

int settings_read(const char *path, struct settings *ret_settings, char *error, size_t error_size)
{
	const struct reader reader = { path, error, error_size };
	_cleanup_json_ json_t *root = NULL;
	struct settings settings = { 0 };
	json_t *list;
	int r;

	error[0] = '\0';
	r = document_read(SETTINGS_WHAT, path, &root, error, error_size);
	if (r < 0)
		return r;
	r = check_spellings(&reader, root, SETTINGS_LIST_KEY, SETTINGS_OLDER_LIST_KEY);
	if (r == 0)
		r = check_spellings(&reader, root, SETTINGS_OWN_KEY, NULL);
	list = settings_list(root);
	if (r == 0 && list != NULL)
		r = take_directories(&reader, list, &settings);
	if (r == 0)
		r = take_own(&reader, document_member(root, SETTINGS_OWN_KEY, NULL), &settings);
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

int settings_default_path(char *path, size_t size)
{
	const char *home = getenv("HOME");
	int length;

	if (home == NULL || home[0] != '/')
		return -ENOENT;
	length = snprintf(path, size, "%s/.docker/desktop/settings-store.json", home);
	return length < 0 || (size_t) length >= size ? -ENAMETOOLONG : 0;
}
