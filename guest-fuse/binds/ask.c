/* SPDX-License-Identifier: Apache-2.0 */
/* A question to bindshare-guestd. */
#include "guest-fuse/binds/ask.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "protocol/cleanup.h"
#include "protocol/clock.h"
#include "protocol/document.h"

enum { GRACE_MS = 3000 }; /* beyond what guestd itself waits */

/* Neither the connecting nor the sending takes longer than the time allowed: guestd may be stuck. */
static int connect_to(const char *path, int timeout_ms)
{
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	const struct timeval limit = { .tv_sec = timeout_ms / 1000, .tv_usec = timeout_ms % 1000 * 1000 };

	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit)) < 0)
		return -errno;
	if (strlen(path) >= sizeof(address.sun_path))
		return -ENAMETOOLONG;
	strcpy(address.sun_path, path);
	if (connect(fd, (struct sockaddr *) &address, sizeof(address)) < 0)
		return errno == ENOENT ? -ECONNREFUSED : errno == EAGAIN ? -ETIMEDOUT : -errno;
	return TAKE_FD(fd);
}

static int send_line(int fd, const json_t *request, int64_t until)
{
	_cleanup_free_ char *line = json_dumps(request, JSON_COMPACT);
	size_t length, sent = 0;

	if (line == NULL)
		return -ENOMEM;
	length = strlen(line);
	line[length++] = '\n'; /* in place of the NUL */
	while (sent < length) {
		ssize_t n = send(fd, line + sent, length - sent, MSG_NOSIGNAL);

		if (n < 0 && errno != EINTR)
			return errno == EAGAIN ? -ETIMEDOUT : -errno;
		if (n > 0)
			sent += (size_t) n;
		if (sent < length && clock_ms() >= until)
			return -ETIMEDOUT;
	}
	return 0;
}

/* A line without its newline. 0 or a negative errno. */
static int receive_line(int fd, char *line, size_t size, int64_t until)
{
	size_t have = 0;

	for (;;) {
		struct pollfd poller = { .fd = fd, .events = POLLIN };
		int64_t left = until - clock_ms();
		ssize_t n;

		if (left <= 0 || poll(&poller, 1, (int) left) == 0)
			return -ETIMEDOUT;
		n = recv(fd, line + have, size - have - 1, MSG_DONTWAIT);
		if (n < 0 && (errno == EINTR || errno == EAGAIN))
			continue;
		if (n <= 0)
			return n == 0 ? -EPROTO : -errno;
		have += (size_t) n;
		line[have] = '\0';
		if (strchr(line, '\n') != NULL) {
			*strchr(line, '\n') = '\0';
			return 0;
		}
		if (have + 1 >= size)
			return -EPROTO;
	}
}

int binds_ask(const char *socket_path, json_t *request, int timeout_ms, json_t **ret_answer, char *error,
              size_t error_size)
{
	_cleanup_json_ json_t *question = request;
	_cleanup_free_ char *line = malloc(BINDS_LINE_MAX);
	int64_t until = clock_ms() + timeout_ms;
	_cleanup_close_ int fd = line == NULL || question == NULL ? -ENOMEM : connect_to(socket_path, timeout_ms);
	int r = fd < 0 ? fd : send_line(fd, question, until);

	if (r == 0)
		r = receive_line(fd, line, BINDS_LINE_MAX, until);
	if (r == 0) {
		_cleanup_json_ json_t *answer = json_loads(line, JSON_REJECT_DUPLICATES, NULL);

		if (json_is_object(answer)) {
			*ret_answer = TAKE_PTR(answer);
			return 0;
		}
		r = -EPROTO;
	}
	if (r == -ECONNREFUSED)
		return document_refuse(
		        r, error, error_size,
		        "bindshare-guestd is not running: nobody listens at %s; start it with \"systemctl "
		        "start bindshare-guestd\"",
		        socket_path);
	if (r == -ETIMEDOUT)
		return document_refuse(r, error, error_size, "bindshare-guestd does not answer at %s", socket_path);
	return document_refuse(r, error, error_size, "bindshare-guestd at %s: %s", socket_path,
	                       r == -EPROTO ? "its answer makes no sense" : strerror(-r));
}

int binds_ask_status(const char *socket_path, int timeout_ms, json_t **ret_answer, char *error, size_t error_size)
{
	return binds_ask(socket_path, json_pack("{s:i, s:s}", "version", 1, "request", "status"), timeout_ms,
	                 ret_answer, error, error_size);
}

int binds_ask_binds(const char *socket_path, json_t *sources, unsigned wait_ms, bool make, json_t **ret_answer,
                    char *error, size_t error_size)
{
	size_t count = json_array_size(sources);
	json_t *request = json_pack("{s:i, s:s, s:i, s:b, s:o}", "version", 1, "request", "binds", "waitMs",
	                            (int) wait_ms, "make", make, "sources", sources);
	_cleanup_json_ json_t *answer = NULL;
	int r = binds_ask(socket_path, request, (int) wait_ms + GRACE_MS, &answer, error, error_size);

	if (r < 0)
		return r;
	if (!json_is_true(json_object_get(answer, "ok"))) {
		const char *text = json_string_value(json_object_get(answer, "text"));

		return document_refuse(-EPROTO, error, error_size, "bindshare-guestd refuses: %s",
		                       text != NULL ? text : "?");
	}
	if (json_array_size(json_object_get(answer, "binds")) != count)
		return document_refuse(-EPROTO, error, error_size, "bindshare-guestd answers for other binds");
	*ret_answer = TAKE_PTR(answer);
	return 0;
}
