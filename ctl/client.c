/* SPDX-License-Identifier: Apache-2.0 */
/* bindsharectl's end of the control socket. */
#include "ctl/client.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sysexits.h>

#include "protocol/address.h"
#include "protocol/cleanup.h"

enum { LINE_MAX_BYTES = 16 * 1024 * 1024, CONNECT_MS = 5000 };

int client_connect(const char *path)
{
	struct proto_address address = { .kind = PROTO_ADDRESS_UNIX };

	if (strlen(path) >= sizeof(address.path))
		return -ENAMETOOLONG;
	strcpy(address.path, path);
	return proto_address_connect(&address, CONNECT_MS);
}

bool client_send(int fd, json_t *request)
{
	_cleanup_free_ char *text = json_dumps(request, JSON_COMPACT);
	size_t length;

	json_decref(request);
	if (text == NULL)
		return false;
	length = strlen(text);
	text[length++] = '\n';
	for (size_t sent = 0; sent < length;) {
		ssize_t n = send(fd, text + sent, length - sent, MSG_NOSIGNAL);

		if (n < 0 && errno != EINTR)
			return false;
		sent += n > 0 ? (size_t) n : 0;
	}
	return true;
}

/* Reads more. False: there is none. */
static bool read_more(struct client_lines *lines, int timeout_ms)
{
	struct pollfd poller = { .fd = lines->fd, .events = POLLIN };
	ssize_t n;

	if (lines->length == lines->size) {
		char *larger = lines->size >= LINE_MAX_BYTES ? NULL : realloc(lines->bytes, lines->size + 65536);

		if (larger == NULL)
			return false;
		lines->bytes = larger;
		lines->size += 65536;
	}
	if (poll(&poller, 1, timeout_ms) <= 0)
		return false;
	n = read(lines->fd, lines->bytes + lines->length, lines->size - lines->length);
	if (n <= 0)
		return false;
	lines->length += (size_t) n;
	return true;
}

json_t *client_next(struct client_lines *lines, int timeout_ms)
{
	char *end;
	size_t length;
	json_t *object;

	while (lines->length == 0 || (end = memchr(lines->bytes, '\n', lines->length)) == NULL)
		if (!read_more(lines, timeout_ms))
			return NULL;
	length = (size_t) (end - lines->bytes) + 1;
	object = json_loadb(lines->bytes, length, 0, NULL);
	lines->length -= length;
	memmove(lines->bytes, lines->bytes + length, lines->length);
	return object;
}

void client_done(struct client_lines *lines)
{
	free(lines->bytes);
	lines->fd = close_fd(lines->fd);
}

json_t *client_ask(const char *path, json_t *request, int *ret_code)
{
	struct client_lines lines = { .fd = client_connect(path) };
	json_t *answer = NULL;

	*ret_code = EX_UNAVAILABLE;
	if (lines.fd < 0) {
		(void) fprintf(stderr,
		               "bindsharectl: no file server at %s: %s\n"
		               "Start bindshare-fileserver, or say with --control where its socket is.\n",
		               path, strerror(-lines.fd));
		json_decref(request);
		return NULL;
	}
	if (client_send(lines.fd, request))
		answer = client_next(&lines, CLIENT_DEADLINE_MS);
	client_done(&lines);
	*ret_code = answer == NULL ? EX_PROTOCOL : EX_OK;
	if (answer == NULL)
		(void) fprintf(stderr, "bindsharectl: the file server at %s gave no answer\n", path);
	return answer;
}

json_t *client_request(const char *name)
{
	return json_pack("{si ss}", "version", 1, "request", name);
}

int client_check(const json_t *answer)
{
	static const struct {
		const char *code;
		int exit_code;
	} codes[] = {
		{ "bad-path", EX_DATAERR },      { "too-many", EX_DATAERR },   { "not-found", EX_NOINPUT },
		{ "not-directory", EX_NOINPUT }, { "not-shared", EX_NOINPUT }, { "policy", EX_NOPERM },
		{ "settings", EX_CONFIG },       { "token-file", EX_CONFIG },  { "no-token", EX_CONFIG },
		{ "unsettled", EX_TEMPFAIL },    { "system", EX_OSERR },
	};
	const char *error = json_string_value(json_object_get(answer, "error"));
	const char *code = json_string_value(json_object_get(answer, "code"));

	if (error == NULL)
		return EX_OK;
	(void) fprintf(stderr, "bindsharectl: %s\n", error);
	for (unsigned i = 0; i < ARRAY_SIZE(codes); i++)
		if (code != NULL && strcmp(code, codes[i].code) == 0)
			return codes[i].exit_code;
	return EX_PROTOCOL;
}
