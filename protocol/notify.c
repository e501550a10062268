/* SPDX-License-Identifier: Apache-2.0 */
/* Messages to the service manager. */
#include "protocol/notify.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "protocol/cleanup.h"

int notify_send(const char *lines)
{
	_cleanup_close_ int fd = -EBADF;
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	const char *path = getenv("NOTIFY_SOCKET");
	size_t length;

	if (path == NULL || path[0] == '\0')
		return 0;
	length = strlen(path);
	if (length >= sizeof(address.sun_path) || (path[0] != '/' && path[0] != '@'))
		return -EAFNOSUPPORT;
	memcpy(address.sun_path, path, length);
	/* "@" means the abstract socket namespace. */
	if (path[0] == '@')
		address.sun_path[0] = '\0';
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	return sendto(fd, lines, strlen(lines), MSG_NOSIGNAL, (struct sockaddr *) &address,
	              (socklen_t) (offsetof(struct sockaddr_un, sun_path) + length)) < 0
	               ? -errno
	               : 0;
}
