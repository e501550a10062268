/* SPDX-License-Identifier: Apache-2.0 */
/* bindshare-mount --stats: asks a running mount and prints what it says. */
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>

#include "guest-fuse/mount/exits.h"
#include "guest-fuse/mount/stats.h"
#include "protocol/cleanup.h"
#include "protocol/log.h"

enum { ANSWER_MAX = 64 * 1024, ANSWER_S = 5 };

static int connect_to(const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	struct timeval timeout = { .tv_sec = ANSWER_S };
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -errno;
	(void) snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
	(void) setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout));
	if (connect(fd, (struct sockaddr *) &address, sizeof(address)) < 0)
		return -errno;
	return TAKE_FD(fd);
}

static int receive(int fd, char *text, size_t size)
{
	size_t length = 0;

	while (length < size - 1) {
		ssize_t n = recv(fd, text + length, size - 1 - length, 0);

		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		length += (size_t) n;
	}
	text[length] = '\0';
	return length == 0 ? -ENODATA : 0;
}

static void print_table(const char *title, const json_t *counts)
{
	const char *name;
	json_t *value;

	(void) printf("%-16s %12s\n", title, "count");
	json_object_foreach((json_t *) counts, name, value)(void)
	        printf("  %-14s %12lld\n", name, (long long) json_integer_value(value));
}

static int print(const char *text, bool json)
{
	json_t *object = json_loads(text, 0, NULL);

	if (!json_is_object(object)) {
		log_error("the mount's answer makes no sense");
		json_decref(object);
		return EXITS_SYSTEM;
	}
	if (json) {
		(void) printf("%s\n", text);
	} else {
		print_table("FUSE requests", json_object_get(object, "fuse"));
		print_table("RPCs", json_object_get(object, "rpc"));
		(void) printf("%-16s %12lld\n", "lanes",
		              (long long) json_integer_value(json_object_get(object, "lanes")));
		(void) printf("%-16s %12lld\n", "known nodes",
		              (long long) json_integer_value(json_object_get(object, "nodes")));
	}
	json_decref(object);
	return fflush(stdout) == 0 ? EXITS_OK : EXITS_SYSTEM;
}

int stats_show(const char *mountpoint, bool json)
{
	_cleanup_free_ char *text = malloc(ANSWER_MAX);
	_cleanup_close_ int fd = -EBADF;
	char path[STATS_PATH_SIZE];
	struct statx stx;
	int r;

	if (text == NULL)
		return EXITS_SYSTEM;
	/* Without a question to the server, which may be gone. */
	if (statx(AT_FDCWD, mountpoint, AT_STATX_DONT_SYNC | AT_NO_AUTOMOUNT, 0, &stx) < 0) {
		log_error("%s: %s", mountpoint, strerror(errno));
		return EXITS_USAGE;
	}
	stats_path(stx.stx_dev_major, stx.stx_dev_minor, path);
	fd = connect_to(path);
	if (fd == -EACCES) {
		log_error("only root may ask for the figures of a mount");
		return EXITS_USAGE;
	}
	if (fd < 0) {
		log_error("%s is no running mount of bindshare (%s: %s)", mountpoint, path, strerror(-fd));
		return EXITS_USAGE;
	}
	r = receive(fd, text, ANSWER_MAX);
	if (r < 0) {
		log_error("%s does not answer: %s", mountpoint, strerror(-r));
		return EXITS_SYSTEM;
	}
	return print(text, json);
}
