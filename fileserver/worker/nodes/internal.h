/* SPDX-License-Identifier: Apache-2.0 */
/* The table as the files of this folder know it. */
#pragma once

#include <xxhash.h>

/* Keyed with a random seed, so that a guest that chooses inode numbers cannot flood one bucket. */
extern uint64_t nodes_hash_seed;
#define HASH_FUNCTION(key, length, result)                                                                             \
	((result) = (unsigned) XXH3_64bits_withSeed((key), (length), nodes_hash_seed))
#define HASH_NONFATAL_OOM 0
#include <uthash.h>

#include "fileserver/worker/nodes/identity.h"
#include "fileserver/worker/nodes/nodes.h"
#include "fileserver/worker/nodes/slots.h"
#include "protocol/lock.h"

enum { ORPHANS_WAIT_MS = 100, CLOSING_MAX = 64, FORGET_AT_ONCE = 256 };

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
	uint32_t pins;              /* operations that use the node */
	uint32_t children;          /* places in this directory */
	uint32_t fd_users;          /* operations that use fd */
	uint32_t used;              /* nodes->round when somebody used fd last */
	int fd;                     /* O_PATH, or -EBADF */
	mode_t type;                /* S_IFMT bits */
	struct ownership *view;     /* as it appeared when its ctime was view_*; NULL: the default */
	int64_t view_seconds;
	uint32_t view_nanoseconds;
	bool view_kept;  /* the three above are set */
	bool view_bare;  /* as in struct ownership, with or without a view */
	bool was_opened; /* the guest may have its content: its descriptor leaves last */
	bool orphan;     /* the guest took its name away, so that nothing but the descriptor leads to it: leaves last */
	bool listed;     /* fd is in a list */
};

/* Newest first; only nodes whose fd nobody uses right now are in it. */
struct descriptor_list {
	struct node *newest, *oldest;
};

struct nodes {
	struct lock lock; /* guards everything here but what a handle's own lock does */
	struct node *by_identity, *root;
	struct slots slots;   /* of nodes */
	struct slots handles; /* of open ones */
	uint32_t count, nodes_max;
	uint32_t more_places; /* beyond the first of each node; they count against the limit */
	struct node *hand;    /* where forgetting goes on: the node after it in the table's order; NULL: the first */
	uint32_t orphans;     /* nodes that are marked so */
	uint32_t descriptors, descriptors_max; /* of nodes and handles, without the root's */
	uint32_t open_handles;
	_Atomic int64_t
	        stale_at; /* ms, CLOCK_MONOTONIC_COARSE: when a name last led to something else; INT64_MIN: never */
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

/* nodes.c. The second may be asked at any time: what a node is does not change. */
void nodes_release(struct nodes *nodes, struct node *node) LOCK_HELD(nodes->lock);
bool nodes_same(struct nodes *nodes, const struct node *node, const struct statx *stx);
