/* SPDX-License-Identifier: Apache-2.0 */
/*
 * guestd's request socket: a line of JSON in, a line out. status: the server and the shares; binds: what paths come to,
 * see binds/decide.h. Only root may ask. docs/GUEST.md has the lines.
 */
#pragma once

#include <uv.h>

#include "guest-fuse/agent/link.h"
#include "guest-fuse/agent/mounts.h"

enum { REQUESTS_CLIENTS_MAX = 256, REQUESTS_SOURCES_MAX = 1024 };

struct requests {
	uv_loop_t *loop;
	const struct guest_config *config;
	struct link *link;
	const struct mounts *mounts;

	uv_pipe_t pipe; /* kept by requests.c from here on */
	struct requests_client *clients;
	unsigned count;
	bool closing;
};

/* Listens. 0, or a negative errno and words. */
int requests_open(struct requests *requests, char *error, size_t error_size);
/* The list or the mounts have changed: whoever waits is looked at again. */
void requests_look(struct requests *requests);
void requests_close(struct requests *requests);
