/* SPDX-License-Identifier: Apache-2.0 */
/* One path of a request for binds, and what it comes to. */
#pragma once

#include <jansson.h>

#include "guest-fuse/binds/decide.h"

struct source {
	char *path;
	bool create;
	char *resolved; /* NULL: the server was not asked */
	json_t *answer; /* decided, for good or for now */
	bool waits;     /* answer may still change for the better */
	char *ask;      /* what the server is to be asked; NULL: nothing */
	char *refused;  /* a path that the server is told of, and PROTO_BIND_* why; NULL: none */
	uint32_t reason;
};

/* From a path, or an object with "path" and "create". 0, -EINVAL or -ENOMEM; source_done() is right in every case. */
int source_init(struct source *source, const json_t *value);
void source_done(struct source *source);

/*
 * Decides, unless that was done for good or the server is to be asked before. make_missing: what is missing and may be
 * made is. May block for as long as the share's mount does.
 */
void source_decide(struct source *source, const struct guest_config *config, const struct binds_table *table,
                   bool make_missing);
/* Nobody says where the path leads: it is as those of which nothing is known yet. */
void source_not_reached(struct source *source, const struct guest_config *config);
