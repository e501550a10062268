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

enum { ENGINE_NAME_SIZE = 128 };

enum engine_result {
	ENGINE_HARMLESS, /* binds nothing */
	ENGINE_BINDS,    /* *ret_binds is set */
	ENGINE_REFUSED,  /* words: why it must be */
};

/* What dockerd says of a request. */
struct engine_request {
	const char *method, *uri; /* as the client sent them, with the query */
	const char *body;         /* NULL when dockerd did not pass it on */
	size_t length;
	bool empty; /* the client said that it has no body: without that it may be one that was not passed on */
	bool form;  /* the body is a form, in which parameters can be that are not in the address */
};

struct engine_binds {
	/*
	 * A list for binds_ask_binds() that is the caller's. Those of "inPlace" the engine mounts itself, at the path
	 * that was named: no runtime puts another mount in their place.
	 */
	json_t *sources;
	char runtime[ENGINE_NAME_SIZE]; /* that the container is to have; "": the engine's default */
};

/* Reads it. error is set with ENGINE_REFUSED only. */
enum engine_result engine_read(const struct engine_request *request, struct engine_binds *ret_binds, char *error,
                               size_t error_size);
