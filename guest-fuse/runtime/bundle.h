/* SPDX-License-Identifier: Apache-2.0 */
/* A container's config.json (OCI runtime-spec): what it binds, whose it is, and other sources in place of those. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "guest-fuse/runtime/numbers.h"

struct bundle_bind {
	json_t *mount; /* in config */
	char *source;  /* absolute */
	bool recursive;
	bool mapped; /* the container's own id map is for the runtime to make */
};

struct bundle {
	char path[4096]; /* of config.json */
	json_t *config;  /* its numbers are hidden */
	struct numbers numbers;
	struct bundle_bind *binds;
	size_t count;
	uid_t uid; /* of the container's process, as the guest's kernel has them */
	gid_t gid;
	bool user_is_known; /* false: no map of the container's user namespace has them */
};

/* 0 and what bundle_done() frees; or a negative errno and words (-EINVAL: malformed). */
int bundle_read(const char *directory, struct bundle *ret_bundle, char *error, size_t error_size);
/* Binds path in place of the source. 0 or -ENOMEM. */
int bundle_set_source(struct bundle_bind *bind, const char *path);
/* In one step, with the file's mode and owner; the file as it was is kept beside it (binds/clones.h). 0, or a negative
 * errno and words. */
int bundle_write(const struct bundle *bundle, char *error, size_t error_size);
void bundle_done(struct bundle *bundle);
