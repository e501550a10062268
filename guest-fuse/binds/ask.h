/* SPDX-License-Identifier: Apache-2.0 */
/* A question to bindshare-guestd: one line of JSON there, one back. docs/GUEST.md has them. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

enum { BINDS_LINE_MAX = 256 * 1024 };

/*
 * Asks at socket and waits timeout_ms, 1 at least, for the answer, be guestd stuck or not. Takes request. 0 and an
 * object that is the caller's; -ECONNREFUSED: nobody is there; -ETIMEDOUT; -EPROTO: the answer makes no sense; or the
 * socket's error; and words.
 */
int binds_ask(const char *socket_path, json_t *request, int timeout_ms, json_t **ret_answer, char *error,
              size_t error_size);

/* What guestd says of itself, its server and each share. Errors as of binds_ask(). */
int binds_ask_status(const char *socket_path, int timeout_ms, json_t **ret_answer, char *error, size_t error_size);

/*
 * What paths come to, an answer for each; wait_ms: how long to wait for shares; make: what is missing and may be made
 * is. sources: a list, taken. Errors as of binds_ask(); -EPROTO: guestd refuses, too.
 */
int binds_ask_binds(const char *socket_path, json_t *sources, unsigned wait_ms, bool make, json_t **ret_answer,
                    char *error, size_t error_size);
