/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a request to the Docker Engine API asks to bind, in every version's form: the older ones, too, since a client
 * chooses. dockerd reads JSON as Go does (keys in any case, the last of two alike): what it could read differently than
 * this is refused.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

enum engine_result {
	ENGINE_HARMLESS,   /* binds nothing */
	ENGINE_BINDS,      /* *ret_sources, a list for binds_ask_binds() that is the caller's */
	ENGINE_UNREADABLE, /* words: why it must be refused */
};

/* What dockerd says of a request. */
struct engine_request {
	const char *method, *uri; /* as the client sent them, with the query */
	const char *body;         /* NULL when dockerd did not pass it on */
	size_t length;
	bool empty; /* the client said that it has no body: without that it may be one that was not passed on */
};

/* Reads it. *ret_sources is set with ENGINE_BINDS only, error with ENGINE_UNREADABLE only. */
enum engine_result engine_read(const struct engine_request *request, json_t **ret_sources, char *error,
                               size_t error_size);
