/* SPDX-License-Identifier: Apache-2.0 */
/* What nodes.c and descriptors.c share; nobody else includes it. */
#pragma once

#include <xxhash.h>

/* Keyed with a random seed, so that a guest that chooses inode numbers cannot flood one bucket. */
extern uint64_t nodes_hash_seed;
#define HASH_FUNCTION(key, length, result)                                                                             \
	((result) = (unsigned) XXH3_64bits_withSeed((key), (length), nodes_hash_seed))
#define HASH_NONFATAL_OOM 0
#include <uthash.h>

#include "fileserver/worker/nodes.h"

enum { ORPHANS_WAIT_MS = 100, SLOT_NONE = UINT32_MAX };

struct node_key {
	uint64_t device, ino;
	int64_t birth_seconds;
	uint32_t birth_nanoseconds, padding;
};

struct node {
	struct node_key key;
	UT_hash_handle hh;
	uint64_t id;
	uint64_t lookups; /* references that the guest holds */
	struct node *parent;
	char *name;
	struct handle *handles;     /* open ones */
	struct node *newer, *older; /* the list of descriptors that may be closed, while fd is in one */
	uint32_t slot;
	uint32_t pins;          /* operations that use the node */
	uint32_t children;      /* nodes whose parent this is */
	uint32_t fd_users;      /* operations that use fd */
	int fd;                 /* O_PATH, or -EBADF */
	mode_t type;            /* S_IFMT bits */
	struct ownership *view; /* as it appeared when its ctime was view_*; NULL: the default */
	int64_t view_seconds;
	uint32_t view_nanoseconds;
	bool view_kept;  /* the three above are set */
	bool view_bare;  /* as in struct ownership, with or without a view */
	bool was_opened; /* the guest may have its content: its descriptor leaves last */
	bool orphan;     /* the guest took its name away, so that nothing but the descriptor leads to it: leaves last */
	bool listed;     /* fd is in a list */
};

struct node_slot {
	struct node *node;
	uint32_t generation, next_free;
};

struct handle_slot {
	struct handle *handle;
	uint32_t generation, next_free;
};

/* Newest first; only nodes whose fd nobody uses right now are in it. */
struct descriptor_list {
	struct node *newest, *oldest;
};

struct nodes {
	pthread_mutex_t lock; /* guards everything here but what a handle's own lock does */
	struct node *by_identity, *root;
	struct node_slot *slots;
	uint32_t slots_size, slots_used, free_slot;
	struct handle_slot *handles;
	uint32_t handles_size, handles_used, free_handle;
	uint32_t count, nodes_max;
	uint32_t orphans;                      /* nodes that are marked so */
	uint32_t descriptors, descriptors_max; /* of nodes and handles, without the root's */
	uint32_t open_handles;
	_Atomic int64_t stale_at; /* ms, CLOCK_MONOTONIC_COARSE: when a name last led to something else */
	/* In the order in which they leave: directories and files never opened; opened files; nodes without a name. */
	struct descriptor_list lists[3];
	struct proto_counters *counters;
	nodes_pin *pin;
	void *pin_context;
};

/* nodes.c; with the lock held */
void nodes_release(struct nodes *nodes, struct node *node);
void nodes_renamed(struct nodes *nodes, struct node *node, const char *name); /* within its directory */
bool nodes_same(const struct node *node, const struct statx *stx);

/* descriptors.c; with the lock held */
void descriptors_drop(struct nodes *nodes, struct node *node);           /* closes a node's descriptor */
void descriptors_give(struct nodes *nodes, struct node *node, int fd);   /* takes fd; closes it when there is one */
void descriptors_orphan(struct nodes *nodes, struct node *node, int fd); /* takes fd, which may be -EBADF */
void descriptors_named(struct nodes *nodes, struct node *node);          /* the node has a name (again) */
void descriptors_free_handles(struct nodes *nodes);
