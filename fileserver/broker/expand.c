/* SPDX-License-Identifier: Apache-2.0 */
/* "~" and variables at the beginning of a path. */
#include "fileserver/broker/expand.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fileserver/broker/allowlist.h"

/* The value of a variable of so many bytes; NULL: there is no such one. */
static const char *value_of(const char *name, size_t length)
{
	if (length == 4 && strncmp(name, "HOME", length) == 0)
		return getenv("HOME");
	if ((length == 3 && strncmp(name, "TMP", length) == 0) || (length == 4 && strncmp(name, "TEMP", length) == 0))
		return getenv("TMPDIR") != NULL ? getenv("TMPDIR") : "/tmp";
	return NULL;
}

/* What stands at the beginning for something else. *text: moved behind it. NULL: nothing is known for it. */
static const char *take_beginning(const char **text)
{
	const char *name = *text;
	size_t length = strcspn(name, "/");

	*text += length;
	if (name[0] == '~')
		return length == 1 ? value_of("HOME", 4) : NULL;
	if (length > 3 && name[1] == '{' && name[length - 1] == '}')
		return value_of(name + 2, length - 3);
	return value_of(name + 1, length - 1);
}

int expand_path(const char *text, char normal[PATH_MAX])
{
	char path[PATH_MAX];
	const char *beginning = "";

	if (text[0] == '~' || text[0] == '$') {
		beginning = take_beginning(&text);
		if (beginning == NULL || beginning[0] != '/')
			return -ENOENT;
	}
	if (snprintf(path, sizeof(path), "%s%s", beginning, text) >= (int) sizeof(path))
		return -ENAMETOOLONG;
	return allowlist_normalise(path, normal);
}

const char *expand_words(int error)
{
	switch (error) {
	case -ENOENT:
		return "begins with what is not known here: ~, $HOME, $TMP and $TEMP are, where they are set";
	case -ENAMETOOLONG:
		return "is too long";
	default:
		return "is not an absolute path without \"..\"";
	}
}
