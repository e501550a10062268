/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What containers are handed of shares: for each bind a mount of its own, a clone of a directory or file of the share's
 * mount, at <runDirectory>/binds/<container>/<number>. It is opened beneath the share without following any link, so
 * that nothing that is swapped in after the decision leads elsewhere.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "guest-fuse/binds/config.h"

/*
 * The bundle's configuration as it was, beside the one that binds the clones: put back when they are undone, so that
 * the bundle can be used again.
 */
#define CLONES_ORIGINAL "config.json.before-bindshare"

/* The clones of one container. */
struct clones {
	const struct guest_config *config;
	char directory[4096];
	unsigned count;
	int user_namespace; /* of the id map; -EBADF: none is asked for */
};

/* A name that may be a directory's: what an OCI runtime takes for a container's id. */
bool clones_id_is_valid(const char *id);

/*
 * Makes the container's place; what an earlier one of this name left is undone before. bundle: as long as it is there
 * the clones are kept by clones_sweep(). 0, or a negative errno and words.
 */
int clones_begin(const struct guest_config *config, const char *id, const char *bundle, struct clones *ret_clones,
                 char *error, size_t error_size);

/*
 * From now on clones show what belongs to 0 as uid's and gid's, and the other way round; every other id itself. Ids as
 * the guest's kernel has them. 0 or a negative errno: then clones are as they would be without.
 */
int clones_map(struct clones *clones, uid_t uid, gid_t gid);

struct clones_source {
	const char *mount, *rest; /* of binds_decide() */
	bool file, recursive;
	bool idmap; /* the share allows it */
};

/*
 * Makes one. 0 and its path; 1: the same, and the kernel did not map the ids; or a negative errno and words.
 */
int clones_add(struct clones *clones, const struct clones_source *source, char path[4096], char *error,
               size_t error_size);
void clones_done(struct clones *clones);

/* Undoes all of a container, be it there or not. */
void clones_undo(const struct guest_config *config, const char *id);
/* Undoes all whose bundle is gone: of runtimes that were killed. Returns how many. */
unsigned clones_sweep(const struct guest_config *config);

/*
 * Undoes all, and the directory of all. Containers that run keep what they have, which is mounted in their own
 * namespaces. 0, or a negative errno: something is left (-ENOTEMPTY, -EBUSY).
 */
int clones_end(const struct guest_config *config);

/* The lines of a uid_map that exchanges 0 and id. The length. */
size_t clones_map_lines(unsigned id, char *text, size_t size);
