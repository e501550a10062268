/* SPDX-License-Identifier: Apache-2.0 */
/* The settings file. */
#include "fileserver/broker/settings.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "protocol/cleanup.h"

enum { SETTINGS_FILE_MAX = 1024 * 1024, SETTINGS_DIRECTORIES_MAX = 1024 };

static void cleanup_json(json_t **json)
{
	json_decref(*json);
}
#define _cleanup_json_ __attribute__((cleanup(cleanup_json)))

static int refuse(int number, char *error, size_t error_size, const char *format, ...)
        __attribute__((format(printf, 4, 5)));
static int refuse(int number, char *error, size_t error_size, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	(void) vsnprintf(error, error_size, format, arguments);
	va_end(arguments);
	return number;
}

/* Opens the file and looks at the open one, so that nothing can be swapped in between. */
static int open_settings(const char *path, char *error, size_t error_size)
{
	/* The last component may be no link, and no FIFO that blocks. */
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
	struct stat st;
	int saved;

	if (fd < 0 || fstat(fd, &st) < 0) {
		saved = errno;
		if (saved == ELOOP)
			return refuse(-EPERM, error, error_size, "the settings file %s is a symbolic link", path);
		return refuse(-saved, error, error_size, "cannot open the settings file %s: %s", path, strerror(saved));
	}
	if (!S_ISREG(st.st_mode))
		return refuse(-EPERM, error, error_size, "the settings file %s is not a regular file", path);
	if (st.st_uid != 0 && st.st_uid != geteuid())
		return refuse(-EPERM, error, error_size,
		              "the settings file %s belongs to user %u; it must belong to root or to user %u", path,
		              (unsigned) st.st_uid, (unsigned) geteuid());
	if ((st.st_mode & 022) != 0)
		return refuse(-EPERM, error, error_size,
		              "others may write the settings file %s (mode %04o); run: chmod go-w %s", path,
		              (unsigned) st.st_mode & 07777, path);
	if (st.st_size > SETTINGS_FILE_MAX)
		return refuse(-EINVAL, error, error_size, "the settings file %s has more than %d bytes", path,
		              SETTINGS_FILE_MAX);
	return TAKE_FD(fd);
}

static int take_directories(json_t *list, const char *path, struct settings *settings, char *error, size_t error_size)
{
	json_t *entry;
	size_t i;

	if (!json_is_array(list))
		return refuse(-EINVAL, error, error_size,
		              "settings file %s: FilesharingDirectories is not a list of paths", path);
	if (json_array_size(list) > SETTINGS_DIRECTORIES_MAX)
		return refuse(-EINVAL, error, error_size, "settings file %s: more than %d directories are shared", path,
		              SETTINGS_DIRECTORIES_MAX);
	settings->directories = calloc(json_array_size(list) + 1, sizeof(*settings->directories));
	if (settings->directories == NULL)
		return refuse(-ENOMEM, error, error_size, "settings file %s: out of memory", path);
	json_array_foreach(list, i, entry)
	{
		const char *text = json_string_value(entry);

		if (text == NULL || text[0] != '/' || strlen(text) != json_string_length(entry))
			return refuse(-EINVAL, error, error_size,
			              "settings file %s: entry %zu of FilesharingDirectories is not an absolute path",
			              path, i + 1);
		settings->directories[i] = strdup(text);
		if (settings->directories[i] == NULL)
			return refuse(-ENOMEM, error, error_size, "settings file %s: out of memory", path);
		settings->count++;
	}
	return 0;
}

int settings_read(const char *path, struct settings *ret_settings, char *error, size_t error_size)
{
	_cleanup_close_ int fd = open_settings(path, error, error_size);
	_cleanup_json_ json_t *root = NULL;
	struct settings settings = { 0 };
	json_error_t where;
	json_t *list;
	int r;

	if (fd < 0)
		return fd == -EBADF ? -EIO : fd;
	root = json_loadfd(fd, JSON_REJECT_DUPLICATES, &where);
	if (root == NULL)
		return refuse(-EINVAL, error, error_size, "settings file %s, line %d, column %d: %s", path, where.line,
		              where.column, where.text);
	if (!json_is_object(root))
		return refuse(-EINVAL, error, error_size, "settings file %s is not a JSON object", path);
	list = json_object_get(root, "FilesharingDirectories");
	if (list == NULL)
		list = json_object_get(root, "filesharingDirectories");
	/* Nothing said, nothing shared. */
	r = list == NULL ? 0 : take_directories(list, path, &settings, error, error_size);
	if (r < 0)
		settings_done(&settings);
	else
		*ret_settings = settings;
	return r;
}

void settings_done(struct settings *settings)
{
	for (size_t i = 0; i < settings->count; i++)
		free(settings->directories[i]);
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
