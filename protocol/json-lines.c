/* SPDX-License-Identifier: Apache-2.0 */
/* The client's end of a unix socket that carries JSON objects, one per line. */
#include "protocol/json-lines.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#include "protocol/address.h"
#include "protocol/cleanup.h"
#include "protocol/clock.h"
#include "protocol/document.h"

enum { GROWTH = 64 * 1024 };

int json_lines_open(struct json_lines *lines, const char *path, int timeout_ms)
{
	struct proto_address address = { .kind = PROTO_ADDRESS_UNIX };

	lines->fd = -EBADF;
	lines->bytes = NULL;
	lines->length = lines->size = 0;
	if (strlen(path) >= sizeof(address.path))
		return -ENAMETOOLONG;
	strcpy(address.path, path);
	lines->fd = proto_address_connect(&address, timeout_ms);
	return lines->fd < 0 ? lines->fd : 0;
}

/* Polls for events. Returns 0, -ETIMEDOUT or another negative errno. */
static int wait_for(int fd, short events, int64_t deadline)
{
	struct pollfd poller = { .fd = fd, .events = events };
	int64_t left = deadline == JSON_LINES_EVER ? -1 : deadline - clock_ms();
	int r;

	if (deadline != JSON_LINES_EVER && left <= 0)
		return -ETIMEDOUT;
	r = poll(&poller, 1, left < INT_MAX ? (int) left : INT_MAX);
	return r < 0 ? -errno : r == 0 && left < INT_MAX ? -ETIMEDOUT : 0;
}

int json_lines_send(struct json_lines *lines, json_t *object, int64_t deadline)
{
	_cleanup_json_ json_t *owned = object;
	_cleanup_free_ char *line = json_dumps(owned, JSON_COMPACT);
	size_t length, sent = 0;
	int r = 0;

	if (line == NULL)
		return -EINVAL;
	length = strlen(line);
	line[length++] = '\n'; /* in place of the NUL */
	while (sent < length && (r == 0 || r == -EINTR)) {
		ssize_t n = send(lines->fd, line + sent, length - sent, MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n >= 0)
			sent += (size_t) n;
		else if (errno != EAGAIN && errno != EINTR)
			return -errno;
		if (sent < length)
			r = wait_for(lines->fd, POLLOUT, deadline);
	}
	return sent == length ? 0 : r;
}

/* Reads more. Returns 0, -EAGAIN, -ENODATA at the end of the stream, or another negative errno. */
static int read_more(struct json_lines *lines)
{
	ssize_t n;

	if (lines->length == lines->size) {
		size_t size = lines->size + GROWTH < lines->line_max ? lines->size + GROWTH : lines->line_max;
		char *larger = size == lines->size ? NULL : realloc(lines->bytes, size);

		if (larger == NULL)
			return size == lines->size ? -EMSGSIZE : -ENOMEM;
		lines->bytes = larger;
		lines->size = size;
	}
	n = recv(lines->fd, lines->bytes + lines->length, lines->size - lines->length, MSG_DONTWAIT);
	if (n <= 0)
		return n == 0 ? -ENODATA : -errno;
	lines->length += (size_t) n;
	return 0;
}

/* Removes a line of length bytes from the buffer and parses it. Returns 0 or -EPROTO. */
static int take_line(struct json_lines *lines, size_t length, json_t **ret_object)
{
	json_t *object = json_loadb(lines->bytes, length, JSON_REJECT_DUPLICATES, NULL);

	lines->length -= length;
	memmove(lines->bytes, lines->bytes + length, lines->length);
	if (!json_is_object(object)) {
		json_decref(object);
		return -EPROTO;
	}
	*ret_object = object;
	return 0;
}

int json_lines_next(struct json_lines *lines, int64_t deadline, json_t **ret_object)
{
	for (;;) {
		const char *end = lines->length == 0 ? NULL : memchr(lines->bytes, '\n', lines->length);
		int r;

		if (end != NULL)
			return take_line(lines, (size_t) (end - lines->bytes) + 1, ret_object);
		r = read_more(lines);
		if (r == -EAGAIN)
			r = wait_for(lines->fd, POLLIN, deadline);
		if (r == -ENODATA && lines->unfinished_is_ok && lines->length > 0)
			return take_line(lines, lines->length, ret_object);
		if (r < 0 && r != -EINTR)
			return r;
	}
}

void json_lines_close(struct json_lines *lines)
{
	lines->fd = close_fd(lines->fd);
	free(lines->bytes);
	lines->bytes = NULL;
	lines->length = lines->size = 0;
}
