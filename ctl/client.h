/* SPDX-License-Identifier: Apache-2.0 */
/* bindsharectl's end of the control socket; docs/BACKEND.md says what goes over it. */
#pragma once

#include <jansson.h>
#include <stdbool.h>

enum { CLIENT_DEADLINE_MS = 10000 };

/* A descriptor or a negative errno. */
int client_connect(const char *path);
/* Sends a request, which it takes, as a line. False: the connection broke. */
bool client_send(int fd, json_t *request);

/* Lines that a server sends. */
struct client_lines {
	int fd;
	char *bytes; /* owned */
	size_t length, size;
};

/* The next line as an object, the caller's. NULL: the server closed, was silent for timeout_ms (-1: ever), or no JSON.
 */
json_t *client_next(struct client_lines *lines, int timeout_ms);
void client_done(struct client_lines *lines);

/* Connects, asks, takes the one answer; takes request. NULL after words on stderr, and the exit code. */
json_t *client_ask(const char *path, json_t *request, int *ret_code);
/* A request without more members. */
json_t *client_request(const char *name);
/* EX_OK, or the exit code for an answer that is an error, after words on stderr. */
int client_check(const json_t *answer);
