/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The client's end of a unix socket over which JSON objects go, one on a line: guestd's requests, the server's control
 * socket, a mount's figures. Blocks, but never beyond a deadline; deadlines are of clock_ms().
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#define JSON_LINES_EVER INT64_MAX /* no deadline */

struct json_lines {
	size_t line_max;       /* set by the caller: bytes of a line that comes, with its end */
	bool unfinished_is_ok; /* set by the caller: the connection's end ends a line as a newline does */

	int fd; /* kept by json-lines.c from here on */
	char *bytes;
	size_t length, size;
};

/*
 * Connects to the socket at path. 0; -ENAMETOOLONG; -ETIMEDOUT: nobody accepts; or what connect(2) says.
 * json_lines_close() is right in every case.
 */
int json_lines_open(struct json_lines *lines, const char *path, int timeout_ms);

/* Sends an object, which it takes. 0; -EINVAL: it is none (NULL, or no UTF-8); -ETIMEDOUT; or what send(2) says. */
int json_lines_send(struct json_lines *lines, json_t *object, int64_t deadline);

/*
 * The next line's object, the caller's. 0; -ETIMEDOUT; -ENODATA: the other end has closed; -EMSGSIZE: the line is too
 * long; -EPROTO: it is no JSON object, or has a member twice; -ENOMEM; or what recv(2) says.
 */
int json_lines_next(struct json_lines *lines, int64_t deadline, json_t **ret_object);

void json_lines_close(struct json_lines *lines);

static inline void cleanup_json_lines(struct json_lines *lines)
{
	json_lines_close(lines);
}
#define _cleanup_json_lines_ __attribute__((cleanup(cleanup_json_lines)))
