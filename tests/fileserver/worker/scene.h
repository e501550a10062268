/* SPDX-License-Identifier: Apache-2.0 */
/* A share with a few files in it, and every operation on them: what faults are tried on. */
#pragma once

#include "tests/support/share.h"

/* What an operation works on, and what it got. */
struct scene {
	struct share *share;
	struct raw *raw;
	uint64_t root, file, directory, link;
	uint64_t file_handle, other_handle, directory_handle;
	uint64_t got_node, got_handle;
	uint64_t nodes, handles; /* counts before it */
	int descriptors;
};

/* How a share is served. */
struct scene_setting {
	uint32_t flags; /* PROTO_HELLO_* */
	uid_t user;
	mode_t file, directory; /* what the owner's own bits allow */
};
extern struct scene_setting scene_setting;

/* A fresh share with its files and what an operation needs; each fails the test when it cannot. */
void scene_begin(struct scene *scene);
/* Gives back what the operation got, and fails the test when something stays behind. */
void scene_check(struct scene *scene);
/* The same for everything. */
void scene_end(struct scene *scene);
/* The host's tree, which root may read; the caller frees it. */
char *scene_picture(const struct scene *scene);

/* Its last step reads the attributes for the answer; when that fails the operation is done all the same. */
#define SCENE_ANSWERS_LAST 1U
/* Its first step takes setuid and setgid away, which a failure later does not put back. */
#define SCENE_STRIPS_FIRST 2U

struct scene_operation {
	const char *name;
	int (*run)(struct scene *scene);
	unsigned flags;
};
extern const struct scene_operation scene_operations[];
extern const size_t scene_operations_count;
/* Takes setuid and setgid away, and nothing more. */
extern const struct scene_operation scene_strip;
