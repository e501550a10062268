/* SPDX-License-Identifier: Apache-2.0 */
/* What nodes.c, places.c, descriptors.c and identity.c share; nobody else includes it. */
#pragma once

#include <xxhash.h>

/* Keyed with a random seed, so that a guest that chooses inode numbers cannot flood one bucket. */
extern uint64_t nodes_hash_seed;
#define HASH_FUNCTION(key, length, result)                                                                             \
	((result) = (unsigned) XXH3_64bits_withSeed((key), (length), nodes_hash_seed))
#define HASH_NONFATAL_OOM 0
#include <uthash.h>

#include "fileserver/worker/identity.h"
#include "fileserver/worker/nodes-ids.h"

enum { ORPHANS_WAIT_MS = 100, SLOT_NONE = UINT32_MAX, CLOSING_MAX = 64, FORGET_AT_ONCE = 256 };

struct node_key {
	uint64_t device, ino;
	int64_t birth_seconds;
	uint32_t birth_nanoseconds;
	uint32_t subvolume; /* file systems whose snapshots share device and inode numbers */
};

/* Where the guest knows an object to be: a name in a directory. */
struct place {
	struct place *next; /* the one that was told before */
	struct node *parent;
	int64_t told; /* ms, CLOCK_MONOTONIC_COARSE: when the guest was told of it last */
	char name[];
};

struct node {
	struct node_key key;
	UT_hash_handle hh;
	uint64_t id;
	uint64_t lookups;           /* references that the guest holds */
	struct place *place;        /* the one that was told last; a directory has no other */
	struct handle *handles;     /* open ones */
	struct node *newer, *older; /* the list of descriptors that may be closed, while fd is in one */
	uint32_t slot;
	uint32_t pins;          /* operations that use the node */
	uint32_t children;      /* places in this directory */
	uint32_t fd_users;      /* operations that use fd */
	uint32_t used;          /* nodes->round when somebody used fd last */
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
	uint32_t more_places; /* beyond the first of each node; they count against the limit */
	struct node *hand;    /* where forgetting goes on: the node after it in the table's order; NULL: the first */
	uint32_t orphans;     /* nodes that are marked so */
	uint32_t descriptors, descriptors_max; /* of nodes and handles, without the root's */
	uint32_t open_handles;
	_Atomic int64_t stale_at; /* ms, CLOCK_MONOTONIC_COARSE: when a name last led to something else */
	/* In the order in which they leave: directories and files never opened; opened files; nodes without a name. */
	struct descriptor_list lists[3];
	struct proto_counters *counters;
	nodes_pin *pin;
	void *pin_context;
	int timer;      /* timerfd: nodes_tick() is due */
	bool ticking;   /* it is set */
	uint32_t round; /* of nodes_tick() */
	/* Descriptors to close once the lock is not held any more: that may wait for the host's file system. */
	int closing[CLOSING_MAX];
	unsigned closing_count;
	struct devices devices; /* has a lock of its own */
};

/* The table's lock. Unlocking closes what was given up meanwhile. */
void nodes_lock(struct nodes *nodes);
void nodes_unlock(struct nodes *nodes);
/* With the lock held: closed when it is let go. */
void nodes_close_later(struct nodes *nodes, int fd);

/* nodes.c; with the lock held */
void nodes_release(struct nodes *nodes, struct node *node);
bool nodes_same(struct nodes *nodes, const struct node *node, const struct statx *stx);

/* places.c; with the lock held */
int places_note(struct nodes *nodes, struct node *node, struct node *parent, const char *name); /* 0 or -ENOMEM */
void places_drop(struct nodes *nodes, struct node *node, const struct node *parent, const char *name);
void places_drop_all(struct nodes *nodes, struct node *node);
static inline struct node *places_parent(const struct node *node)
{
	return node->place == NULL ? NULL : node->place->parent;
}

/* identity.c */
void identity_key(struct devices *devices, const struct statx *stx, struct node_key *ret_key);

/* descriptors.c; with the lock held */
void descriptors_drop(struct nodes *nodes, struct node *node);           /* closes a node's descriptor */
void descriptors_give(struct nodes *nodes, struct node *node, int fd);   /* takes fd; closes it when there is one */
void descriptors_orphan(struct nodes *nodes, struct node *node, int fd); /* takes fd, which may be -EBADF */
void descriptors_named(struct nodes *nodes, struct node *node);          /* the node has a name (again) */
void descriptors_free_handles(struct nodes *nodes);
/* descriptors.c; a name has just led to something else: nodes_names_move() */
void descriptors_name_moved(struct nodes *nodes);
