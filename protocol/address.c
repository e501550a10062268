/* SPDX-License-Identifier: Apache-2.0 */
/* Addresses of vsock and unix sockets: parsing, connecting, listening. */
#include "protocol/address.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/vm_sockets.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>

#include "protocol/cleanup.h"
#include "protocol/clock.h"
#include "protocol/number.h"
#include "protocol/words.h"

/* Source ports that only a privileged process may bind. */
enum { PORT_LOWEST = 512, PORT_COUNT = 512 };

union socket_address {
	struct sockaddr any;
	struct sockaddr_un un;
	struct sockaddr_vm vm;
};

/* The first length bytes of text are a 32-bit decimal number without leading zeros. */
static bool number(const char *text, size_t length, uint32_t *ret_number)
{
	uint64_t value;
	const char *end;

	if ((text[0] == '0' && length > 1) || number_begin(text, 10, UINT32_MAX, &value, &end) < 0 ||
	    end != text + length)
		return false;
	*ret_number = (uint32_t) value;
	return true;
}

static bool port_is_valid(uint32_t port)
{
	return port >= 1 && port != VMADDR_PORT_ANY;
}

static int parse_vsock(const char *text, size_t length, struct proto_address *address, char *error, size_t error_size)
{
	const char *colon = memchr(text, ':', length);
	const char *port = colon == NULL ? text : colon + 1;

	address->kind = PROTO_ADDRESS_VSOCK;
	address->cid = VMADDR_CID_ANY;
	if (colon != NULL && (!number(text, (size_t) (colon - text), &address->cid) || address->cid == VMADDR_CID_ANY))
		return words_refuse(
		        -EINVAL, error, error_size,
		        "\"vsock:%.*s\": the CID is not a number from 0 to 4294967294; write vsock:CID:PORT, where "
		        "CID 2 is the host",
		        (int) length, text);
	if (!number(port, length - (size_t) (port - text), &address->port) || !port_is_valid(address->port))
		return words_refuse(
		        -EINVAL, error, error_size,
		        "\"vsock:%.*s\": the port is not a number from 1 to 4294967294; write vsock:PORT or "
		        "vsock:CID:PORT",
		        (int) length, text);
	return 0;
}

static int parse_unix(const char *text, size_t length, struct proto_address *address, char *error, size_t error_size)
{
	const char *underscore = memrchr(text, '_', length);

	address->kind = PROTO_ADDRESS_UNIX;
	if (length == 0 || text[length - 1] == '/')
		return words_refuse(-EINVAL, error, error_size, "\"unix:%.*s\": no socket's path; write unix:PATH",
		                    (int) length, text);
	if (length >= sizeof(address->path))
		return words_refuse(-EINVAL, error, error_size,
		                    "\"unix:%.*s\": the path has %zu bytes, a socket's may have %zu", (int) length,
		                    text, length, sizeof(address->path) - 1);
	memcpy(address->path, text, length);
	if (underscore == NULL)
		return 0;
	underscore++;
	if (number(underscore, length - (size_t) (underscore - text), &address->port) && port_is_valid(address->port))
		address->hybrid = true;
	else
		address->port = 0;
	return 0;
}

static int parse(const char *text, size_t length, struct proto_address *ret_address, char *error, size_t error_size)
{
	struct proto_address address = { 0 };
	int r;

	if (length >= 6 && memcmp(text, "vsock:", 6) == 0)
		r = parse_vsock(text + 6, length - 6, &address, error, error_size);
	else if (length >= 5 && memcmp(text, "unix:", 5) == 0)
		r = parse_unix(text + 5, length - 5, &address, error, error_size);
	else
		r = words_refuse(-EINVAL, error, error_size,
		                 "\"%.*s\" is no address; write vsock:PORT, vsock:CID:PORT or unix:PATH",
		                 (int) (length < 256 ? length : 256), text);
	if (r == 0)
		*ret_address = address;
	return r;
}

int proto_address_parse(const char *text, struct proto_address *ret_address, char *error, size_t error_size)
{
	return parse(text, strlen(text), ret_address, error, error_size);
}

int proto_address_split_source(const char *text, struct proto_address *ret_address, const char **ret_share, char *error,
                               size_t error_size)
{
	const char *colon = NULL;
	int r;

	if (strncmp(text, "unix:", 5) == 0) {
		for (const char *next = strstr(text + 5, ":/"); next != NULL; next = strstr(next + 1, ":/"))
			colon = next;
	} else if (strncmp(text, "vsock:", 6) == 0) {
		colon = strstr(text + 6, ":/");
	} else {
		return parse(text, strlen(text), ret_address, error, error_size);
	}
	if (colon == NULL)
		return words_refuse(
		        -EINVAL, error, error_size,
		        "\"%.256s\" names no directory; write ADDRESS:/host/path, as in vsock:2:1024:/home/me or "
		        "unix:/run/socket:/home/me",
		        text);
	r = parse(text, (size_t) (colon - text), ret_address, error, error_size);
	if (r == 0)
		*ret_share = colon + 1;
	return r;
}

static socklen_t to_socket_address(const struct proto_address *address, union socket_address *ret)
{
	memset(ret, 0, sizeof(*ret));
	if (address->kind == PROTO_ADDRESS_VSOCK) {
		ret->vm.svm_family = AF_VSOCK;
		ret->vm.svm_cid = address->cid;
		ret->vm.svm_port = address->port;
		return sizeof(ret->vm);
	}
	ret->un.sun_family = AF_UNIX;
	memcpy(ret->un.sun_path, address->path, sizeof(ret->un.sun_path));
	return (socklen_t) (offsetof(struct sockaddr_un, sun_path) + strlen(address->path) + 1);
}

/* Binds the socket to a source port below 1024, if the caller is privileged and one is free. */
static void bind_privileged(int fd)
{
	uint16_t start;

	/* A random first port: the VMM may still hold an address that was closed a moment ago. */
	if (getrandom(&start, sizeof(start), GRND_NONBLOCK) != sizeof(start))
		start = 0;
	for (unsigned i = 0; i < PORT_COUNT; i++) {
		struct sockaddr_vm source = { .svm_family = AF_VSOCK,
			                      .svm_cid = VMADDR_CID_ANY,
			                      .svm_port = PORT_LOWEST + (start + i) % PORT_COUNT };

		if (bind(fd, (struct sockaddr *) &source, sizeof(source)) == 0 || errno != EADDRINUSE)
			return;
	}
}

/* The kernel continues a non-blocking vsock connect while we poll for its result. */
static int connect_vsock(int fd, const union socket_address *to, socklen_t length, int timeout_ms)
{
	struct pollfd poller = { .fd = fd, .events = POLLOUT };
	struct timeval timeout = clock_timeval_ms(timeout_ms);
	int64_t end = clock_ms() + timeout_ms;
	int error = 0, r;
	socklen_t size = sizeof(error);

	bind_privileged(fd);
	/* The kernel's default is 2 s. A kernel without this option keeps that limit. */
	(void) setsockopt(fd, AF_VSOCK, SO_VM_SOCKETS_CONNECT_TIMEOUT, &timeout, sizeof(timeout));
	if (fcntl(fd, F_SETFL, O_RDWR | O_NONBLOCK) < 0)
		return -errno;
	if (connect(fd, &to->any, length) < 0) {
		if (errno != EINPROGRESS)
			return -errno;
		do {
			int64_t left = end - clock_ms();

			r = poll(&poller, 1, left > 0 ? (int) left : 0);
		} while (r < 0 && errno == EINTR);
		if (r == 0)
			return -ETIMEDOUT;
		if (r < 0 || getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) < 0)
			return -errno;
		if (error != 0)
			return -error;
	}
	return fcntl(fd, F_SETFL, O_RDWR) < 0 ? -errno : 0;
}

/*
 * A unix socket connects at once, or waits for room in the listener's backlog. Only a blocking socket waits for that;
 * SO_SNDTIMEO limits the wait.
 */
static int connect_unix(int fd, const union socket_address *to, socklen_t length, int timeout_ms)
{
	struct timeval timeout = clock_timeval_ms(timeout_ms > 0 ? timeout_ms : 1), none = { 0 };
	int r;

	if (setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof(timeout)) < 0)
		return -errno;
	do
		r = connect(fd, &to->any, length);
	while (r < 0 && errno == EINTR);
	if (r < 0)
		return errno == EAGAIN ? -ETIMEDOUT : -errno;
	return setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &none, sizeof(none)) < 0 ? -errno : 0;
}

int proto_address_connect(const struct proto_address *address, int timeout_ms)
{
	bool vsock = address->kind == PROTO_ADDRESS_VSOCK;
	_cleanup_close_ int fd = socket(vsock ? AF_VSOCK : AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	union socket_address to;
	socklen_t length = to_socket_address(address, &to);
	int r;

	if (fd < 0)
		return -errno;
	r = vsock ? connect_vsock(fd, &to, length, timeout_ms) : connect_unix(fd, &to, length, timeout_ms);
	return r < 0 ? r : TAKE_FD(fd);
}

/* Whether the file is a socket that nobody listens on, left by a process that died. */
static bool is_left_over(const struct proto_address *address)
{
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	union socket_address to;
	socklen_t length = to_socket_address(address, &to);
	struct stat st;

	return fd >= 0 && lstat(address->path, &st) == 0 && S_ISSOCK(st.st_mode) && connect(fd, &to.any, length) < 0 &&
	       errno == ECONNREFUSED;
}

/* Binds so that the socket file has mode 0600 from the start. */
static int bind_unix(int fd, const union socket_address *at, socklen_t length)
{
	mode_t saved = umask(0177);
	int r = bind(fd, &at->any, length) < 0 ? -errno : 0;

	(void) umask(saved);
	return r;
}

int proto_address_listen(const struct proto_address *address, int backlog)
{
	bool vsock = address->kind == PROTO_ADDRESS_VSOCK;
	_cleanup_close_ int fd = socket(vsock ? AF_VSOCK : AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	union socket_address at;
	socklen_t length = to_socket_address(address, &at);
	int r;

	if (fd < 0)
		return -errno;
	if (vsock) {
		r = bind(fd, &at.any, length) < 0 ? -errno : 0;
	} else {
		r = bind_unix(fd, &at, length);
		if (r == -EADDRINUSE && is_left_over(address) && unlink(address->path) == 0)
			r = bind_unix(fd, &at, length);
	}
	if (r == 0 && listen(fd, backlog) < 0)
		r = -errno;
	return r < 0 ? r : TAKE_FD(fd);
}

void proto_address_format(const struct proto_address *address, char *text, size_t size)
{
	if (address->kind == PROTO_ADDRESS_UNIX)
		(void) snprintf(text, size, "unix:%s", address->path);
	else if (address->cid == VMADDR_CID_ANY)
		(void) snprintf(text, size, "vsock:%u", address->port);
	else
		(void) snprintf(text, size, "vsock:%u:%u", address->cid, address->port);
}
