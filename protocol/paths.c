/* SPDX-License-Identifier: Apache-2.0 */
/* Paths as text: normalising, comparing, appending. */
#include "protocol/paths.h"

#include <errno.h>
#include <string.h>

int paths_append(char path[PATH_MAX], const char *name, size_t length)
{
	size_t end = strcmp(path, "/") == 0 ? 0 : strlen(path);
	bool slash = end > 0 || path[0] == '/';

	if (end + (slash ? 1 : 0) + length >= PATH_MAX)
		return -ENAMETOOLONG;
	if (slash)
		path[end++] = '/';
	memcpy(path + end, name, length);
	path[end + length] = '\0';
	return 0;
}

bool paths_pop(char path[PATH_MAX])
{
	char *slash = strrchr(path, '/');

	if (path[0] == '\0' || strcmp(path, "/") == 0)
		return false;
	if (slash == NULL)
		path[0] = '\0';
	else
		slash[slash == path ? 1 : 0] = '\0';
	return true;
}

int paths_normalise(const char *path, char normal[PATH_MAX])
{
	if (path[0] != '/')
		return -EINVAL;
	strcpy(normal, "/");
	while (*path != '\0') {
		size_t length = strcspn(path, "/");

		if (length == 2 && path[0] == '.' && path[1] == '.') {
			(void) paths_pop(normal);
		} else if (length > 0 && !(length == 1 && path[0] == '.')) {
			int r = paths_append(normal, path, length);

			if (r < 0)
				return r;
		}
		path += length;
		path += strspn(path, "/");
	}
	return 0;
}

bool paths_is_beneath(const char *path, const char *directory)
{
	size_t length = strlen(directory);

	if (strcmp(directory, "/") == 0)
		return path[0] == '/';
	return strncmp(path, directory, length) == 0 && (path[length] == '\0' || path[length] == '/');
}

const char *paths_rest(const char *path, const char *directory)
{
	path += strcmp(directory, "/") == 0 ? 0 : strlen(directory);
	return path + strspn(path, "/");
}
