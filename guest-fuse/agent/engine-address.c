/* SPDX-License-Identifier: Apache-2.0 */
/* The address of a request to the Docker Engine API. */
#include "guest-fuse/agent/engine-address.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "protocol/number.h"

static int hex(char digit)
{
	return isdigit((unsigned char) digit) ? digit - '0' : tolower((unsigned char) digit) - 'a' + 10;
}

/* API 1.24 and later, written as clients do: "v1.41". */
static bool is_recent(const char *version, size_t size)
{
	uint64_t minor;
	const char *end;

	return strncmp(version, "v1.", 3) == 0 && version[3] != '0' &&
	       number_begin(version + 3, 10, 9999, &minor, &end) == 0 && end == version + size && minor >= 24;
}

int engine_address_clean(const char *uri, char path[PATH_MAX], bool *ret_old)
{
	char decoded[PATH_MAX];
	size_t have = 0, length = 0;

	*ret_old = false;
	if (uri[0] != '/')
		return -EINVAL;
	while (*uri != '\0' && *uri != '?') {
		char byte = *uri++;

		if (byte == '%') {
			if (!isxdigit((unsigned char) uri[0]) || !isxdigit((unsigned char) uri[1]))
				return -EINVAL;
			byte = (char) (hex(uri[0]) * 16 + hex(uri[1]));
			uri += 2;
		} else if (byte == '#')
			return -EINVAL;
		if (byte == '\0' || have + 1 >= sizeof(decoded))
			return -EINVAL;
		decoded[have++] = byte;
	}
	decoded[have] = '\0';
	for (const char *part = decoded + strspn(decoded, "/"); *part != '\0'; part += strspn(part, "/")) {
		size_t size = strcspn(part, "/");
		bool version = length == 0 && part[0] == 'v' && isdigit((unsigned char) part[1]);

		if (size == 2 && part[0] == '.' && part[1] == '.')
			return -EINVAL;
		if (!version && !(size == 1 && part[0] == '.'))
			length += (size_t) sprintf(path + length, "%s%.*s", length > 0 ? "/" : "", (int) size, part);
		if (version && !is_recent(part, size))
			*ret_old = true;
		part += size;
	}
	path[length] = '\0';
	return 0;
}

/* The text up to end, without escapes. */
static bool is_name(const char *text, const char *end, const char *name)
{
	for (; text < end; text++, name++) {
		char byte = *text == '+' ? ' ' : *text;

		if (byte == '%' && end - text > 2 && isxdigit((unsigned char) text[1]) &&
		    isxdigit((unsigned char) text[2])) {
			byte = (char) (hex(text[1]) * 16 + hex(text[2]));
			text += 2;
		}
		if (byte == '\0' || byte != *name)
			return false;
	}
	return *name == '\0';
}

bool engine_address_sets(const char *uri, const char *name)
{
	const char *part = strchr(uri, '?');

	/* Go took ";" for a separator, too, until 1.17. */
	for (; part != NULL; part = strpbrk(part + 1, "&;")) {
		const char *key = part + 1, *end = key + strcspn(key, "=&;");

		if (is_name(key, end, name) && *end == '=' && strchr("&;", end[1]) == NULL)
			return true;
	}
	return false;
}
