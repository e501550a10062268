/* SPDX-License-Identifier: Apache-2.0 */
/* A share in a temporary directory, served by a session in this process over socket pairs. */
#pragma once

#include "fileserver/worker/lanes.h"
#include "tests/support/raw.h"

/* Limit of the sessions that are made from now on. */
extern uint32_t share_nodes_max;
/* Their PROTO_FEATURE_*. */
extern uint64_t share_features;

struct share {
	char directory[64]; /* the host's side */
	int host;           /* descriptor of it */
	struct service *service;
	struct proto_counters counters;
	struct raw event, raw; /* event lane; one data lane */
	uint64_t root;
};

/*
 * For tests of lift.h as a user who is not root: what root keeps while he is somebody else, an ordinary user has in a
 * namespace, as a worker has. It stays. 0 or a negative errno.
 */
int share_enter_namespace(void);

/* For root no mode bit is in the way: sets the effective user to 65534 when it is root, and enters that namespace.
 * share_tear_down_unprivileged() is a cmocka teardown that frees *state and undoes the user. 0 or negative. */
int share_become_unprivileged(void);
int share_tear_down_unprivileged(void **state);

/* flags: PROTO_HELLO_*; descriptors: the budget. NULL when it cannot be made. */
struct share *share_new(uint32_t flags, uint32_t descriptors);
/* Ends the session and removes the directory. */
void share_free(struct share *share);

/* A new data lane. */
int share_add_lane(struct share *share, struct raw *ret_raw);

/* Shorthands: 0 or the server's errno. */
int share_lookup(struct share *share, uint64_t parent, const char *name, struct proto_entry *ret_entry);
int share_open(struct share *share, uint64_t node, uint32_t flags, uint64_t *ret_handle);
int share_create(struct share *share, uint64_t parent, const char *name, uint32_t flags, uint32_t mode,
                 struct proto_create_reply *ret_reply);
ssize_t share_read(struct share *share, uint64_t handle, uint64_t offset, void *bytes, uint32_t size);
ssize_t share_write(struct share *share, uint64_t handle, uint64_t offset, const void *bytes, uint32_t size,
                    uint32_t flags);
void share_forget(struct share *share, uint64_t node, uint64_t count);
/* A file on the host. */
void share_host_write(struct share *share, const char *name, const char *content);
