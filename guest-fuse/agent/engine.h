/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a request to the Docker Engine API asks to bind, in every version's form: the older ones, too, since a client
 * chooses. dockerd reads JSON as Go does (keys in any case, the last of two alike): what it could read differently than
 * this is refused.
 */
#pragma once

#include <jansson.h>
#include <stddef.h>

enum engine_result {
	ENGINE_HARMLESS,   /* binds nothing */
	ENGINE_BINDS,      /* *ret_sources, a list for binds_ask_binds() that is the caller's */
	ENGINE_UNREADABLE, /* words: why it must be refused */
};

/*
 * method, uri: as the client sent them, with the query. body, length: NULL when dockerd did not pass it on.
 */
enum engine_result engine_read(const char *method, const char *uri, const char *body, size_t length,
                               json_t **ret_sources, char *error, size_t error_size);
