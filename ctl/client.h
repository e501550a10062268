/* SPDX-License-Identifier: Apache-2.0 */
/* bindsharectl's end of the control socket; docs/BACKEND.md says what goes over it. */
#pragma once

#include "protocol/json-lines.h"

enum { CLIENT_DEADLINE_MS = 10000 };

/* Connects. 0 or a negative errno; json_lines_close() is right in every case. */
int client_open(const char *path, struct json_lines *ret_lines);

/* Connects, asks, takes the one answer; takes request. NULL after words on stderr, and the exit code. */
json_t *client_ask(const char *path, json_t *request, int *ret_code);
/* The same; the answer may take so much longer. */
json_t *client_ask_longer(const char *path, json_t *request, int64_t more_ms, int *ret_code);
/* A request without more members. */
json_t *client_request(const char *name);
/* EX_OK, or the exit code for an answer that is an error, after words on stderr. */
int client_check(const json_t *answer);
