/* SPDX-License-Identifier: Apache-2.0 */
/* The table of nodes: private to this folder. */
#pragma once

#include <xxhash.h>

/* A random seed, so that a guest that chooses inode numbers cannot fill one bucket. */
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

/* A place: a name in a directory under which the guest was told of a node. */
struct place {
	struct place *next; /* the one that the guest was told of before this one */
	struct node *parent;
	int64_t told; /* when the guest was last told of it: ms, CLOCK_MONOTONIC_COARSE */
	char name[];
};

struct node {
	struct node_key key;
	UT_hash_handle hh;
	uint64_t id;
	uint64_t lookups;           /* references that the guest holds */
	struct place *place;        /* the one that the guest was told of last; a directory has only this one */
	struct handle *handles;     /* open handles of it */
	struct node *newer, *older; /* neighbours in the list of descriptors that may be closed */
	uint32_t pins;              /* how many operations use the node */
	uint32_t children;          /* places in this directory */
	uint32_t fd_users;          /* how many operations use fd */
	uint32_t used;              /* nodes->round when fd was last used */
	int fd;                     /* O_PATH, or -EBADF */
	mode_t type;                /* S_IFMT bits */
	struct ownership *view;     /* the view at the ctime view_seconds, view_nanoseconds; NULL: the default view */
	int64_t view_seconds;
	uint32_t view_nanoseconds;
	bool view_kept;  /* the three members above are valid */
	bool view_bare;  /* as in struct ownership, also when view is NULL */
	bool was_opened; /* the guest may hold its contents in its page cache: its descriptor leaves late */
	bool orphan;     /* the guest removed its name, so only the descriptor leads to it: leaves last */
	bool listed;     /* fd is in a list */
	/* Changes of it are seen by a watch of its own (leases/); asked: since leases were last looked through. */
	_Atomic bool watched, asked;
	uint8_t others;         /* enum nodes_others */
	uint32_t writes;        /* descriptors of this session that are open for writing; see nodes_write_begin() */
	_Atomic uint32_t stamp; /* stamps_keep(); 0: none */
	_Atomic uint32_t left;  /* stamps_leave(); 0: none */
};

/* Newest first; only nodes whose fd nobody uses are in it. */
struct descriptor_list {
	struct node *newest, *oldest;
};

struct nodes {
	struct lock lock; /* guards everything here except what a handle's own lock guards */
	struct node *by_identity, *root;
	struct slots slots;   /* of nodes */
	struct slots handles; /* of handles */
	uint32_t count, nodes_max;
	uint32_t more_places; /* places beyond the first one of each node; they count against nodes_max */
	struct node *hand;    /* the node after which forgetting continues, in the table's order; NULL: at the first */
	uint32_t orphans;     /* how many nodes are orphans */
	uint32_t descriptors, descriptors_max; /* of nodes and handles, the root's not counted */
	uint32_t open_handles;
	uint32_t kept_handles; /* of these, how many nodes_keeps() was called for since kept_round began */
	uint32_t kept_round;   /* begins when the guest is told to give back what it keeps */
	/* When a name last led to another object: ms, CLOCK_MONOTONIC_COARSE; INT64_MIN: never. */
	_Atomic int64_t stale_at;
	/* In the order in which descriptors leave: directories and files never opened; opened files; orphans. */
	struct descriptor_list lists[3];
	struct proto_counters *counters;
	nodes_pin *pin;
	nodes_freed *freed;
	void *freed_context;
	void *pin_context;
	int timer;      /* timerfd, readable when nodes_tick() is due */
	bool ticking;   /* the timer is set */
	uint32_t round; /* how many times nodes_tick() has run */
	/* Descriptors to close after the lock is released: closing may block in the host's file system. */
	int closing[CLOSING_MAX];
	unsigned closing_count;
	struct devices devices; /* has its own lock */
};
