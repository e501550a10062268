/* SPDX-License-Identifier: Apache-2.0 */
/* Which extended attributes the guest sees, and their names on the host. */
#include "fileserver/worker/host/xattr-names.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

bool xattr_names_are_roots(const struct session *session)
{
	return (session->config.flags & PROTO_HELLO_OWNER_HOST) != 0 && session->uid == 0;
}

static bool starts(const char *name, const char *prefix)
{
	return strncmp(name, prefix, strlen(prefix)) == 0;
}

static bool is_user(const char *name)
{
	return starts(name, "user.") && name[5] != '\0';
}

bool xattr_names_is_trusted(const char *name)
{
	return starts(name, "trusted.") && name[8] != '\0';
}

/* Attributes of the server itself. */
static bool is_private(const char *name)
{
	return strcmp(name, XATTR_NAMES_OWNERSHIP) == 0 || starts(name, XATTR_NAMES_PREFIX);
}

static const char *prefix_of(const struct session *session)
{
	return xattr_names_are_roots(session) ? XATTR_NAMES_PREFIX_ROOT : XATTR_NAMES_PREFIX;
}

const char *xattr_names_guest(const struct session *session, const char *name)
{
	const char *prefix = prefix_of(session);

	if (is_user(name) && !is_private(name))
		return name;
	return starts(name, prefix) && xattr_names_is_trusted(name + strlen(prefix)) ? name + strlen(prefix) : NULL;
}

bool xattr_names_is_shown(const struct session *session, const char *name)
{
	return xattr_names_guest(session, name) != NULL;
}

int xattr_names_host(const struct session *session, const char *name, char host[PROTO_NAME_MAX + 1])
{
	int length;

	if (is_private(name))
		return -EPERM;
	if (!is_user(name) && !xattr_names_is_trusted(name))
		return -EOPNOTSUPP;
	length = snprintf(host, PROTO_NAME_MAX + 1, "%s%s", is_user(name) ? "" : prefix_of(session), name);
	return length > PROTO_NAME_MAX ? -ERANGE : 0;
}
