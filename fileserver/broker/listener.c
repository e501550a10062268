/* SPDX-License-Identifier: Apache-2.0 */
/* A listening socket on the broker's loop. */
#include "fileserver/broker/listener.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "protocol/cleanup.h"
#include "protocol/log.h"

int listener_check_directory(const struct proto_address *address, char *error, size_t error_size)
{
	char directory[sizeof(address->path) + 2];
	const char *slash = strrchr(address->path, '/');
	struct stat st;

	if (address->kind != PROTO_ADDRESS_UNIX)
		return 0;
	if (slash == NULL)
		strcpy(directory, ".");
	else if (slash == address->path)
		strcpy(directory, "/");
	else
		(void) snprintf(directory, sizeof(directory), "%.*s", (int) (slash - address->path), address->path);
	if (stat(directory, &st) < 0) {
		int saved = errno;

		(void) snprintf(error, error_size, "the socket's directory %s: %s%s%s", directory, strerror(saved),
		                saved == ENOENT ? "; make it: mkdir -m 700 " : "", saved == ENOENT ? directory : "");
		if (saved == ENOENT && getenv("XDG_RUNTIME_DIR") == NULL)
			(void) snprintf(error, error_size,
			                "the socket's directory %s is not there; XDG_RUNTIME_DIR is not set, which a "
			                "login session sets to /run/user/%u: if the address was to be there, write it "
			                "out",
			                directory, (unsigned) geteuid());
		return -saved;
	}
	if ((st.st_uid != 0 && st.st_uid != geteuid()) || (st.st_mode & 022) != 0) {
		(void) snprintf(
		        error, error_size,
		        "others may replace a socket in %s (owner %u, mode %04o); use a directory that is yours "
		        "alone: mkdir -m 700 DIR",
		        directory, (unsigned) st.st_uid, (unsigned) st.st_mode & 07777);
		return -EPERM;
	}
	return 0;
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
	struct listener *listener = poll->data;
	int fd = accept4(listener->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	if (fd >= 0) {
		listener->accepted(listener, fd);
	} else if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
		log_peer_error("cannot accept a connection: %s", strerror(errno));
	}
}

int listener_open(struct listener *listener, uv_loop_t *loop, const struct proto_address *address, int backlog,
                  void (*accepted)(struct listener *listener, int fd), void *context)
{
	_cleanup_close_ int fd = proto_address_listen(address, backlog);
	int r;

	if (fd < 0)
		return fd;
	r = uv_poll_init(loop, &listener->poll, fd);
	if (r < 0)
		return r;
	listener->poll.data = listener;
	listener->address = *address;
	listener->accepted = accepted;
	listener->context = context;
	listener->fd = TAKE_FD(fd);
	listener_resume(listener);
	return 0;
}

void listener_pause(struct listener *listener)
{
	(void) uv_poll_stop(&listener->poll);
}

void listener_resume(struct listener *listener)
{
	if (!uv_is_closing((uv_handle_t *) &listener->poll))
		(void) uv_poll_start(&listener->poll, UV_READABLE, on_readable);
}

void listener_close(struct listener *listener)
{
	if (uv_is_closing((uv_handle_t *) &listener->poll))
		return;
	uv_close((uv_handle_t *) &listener->poll, NULL);
	listener->fd = close_fd(listener->fd);
	if (listener->address.kind == PROTO_ADDRESS_UNIX)
		(void) unlink(listener->address.path);
}
