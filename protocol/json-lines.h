/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The client's end of a unix socket that carries JSON objects, one per line: guestd's requests, the server's control
 * socket, a mount's statistics. Calls block until their deadline, in the time of clock_ms().
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#define JSON_LINES_EVER INT64_MAX /* no deadline */

struct json_lines {
	size_t line_max;       /* set by the caller: longest line to accept, in bytes with its newline */
	bool unfinished_is_ok; /* set by the caller: the end of the stream ends a line as a newline does */

	int fd; /* private to json-lines.c from here on */
	char *bytes;
	size_t length, size;
};

/*
 * Connects to the socket at path. Returns 0; -ENAMETOOLONG; -ETIMEDOUT: nobody accepts; or an error of connect(2).
 * json_lines_close() may be called in every case.
 */
int json_lines_open(struct json_lines *lines, const char *path, int timeout_ms);

/*
 * Sends object and always takes over the reference. Returns 0; -EINVAL: NULL, or not UTF-8; -ETIMEDOUT; or an error of
 * send(2).
 */
int json_lines_send(struct json_lines *lines, json_t *object, int64_t deadline);

/*
 * Receives the object of the next line, which the caller owns. Returns 0; -ETIMEDOUT; -ENODATA: the peer has closed;
 * -EMSGSIZE: the line is too long; -EPROTO: not a JSON object, or a member occurs twice; -ENOMEM; or an error of
 * recv(2).
 */
int json_lines_next(struct json_lines *lines, int64_t deadline, json_t **ret_object);

void json_lines_close(struct json_lines *lines);

static inline void cleanup_json_lines(struct json_lines *lines)
{
	json_lines_close(lines);
}
#define _cleanup_json_lines_ __attribute__((cleanup(cleanup_json_lines)))
