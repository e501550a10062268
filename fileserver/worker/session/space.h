/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The reserve: a guest must not fill the host's disk to the last byte, nor take its last inode. On each file system it
 * cannot use the larger of the configured reserve and 2 %, but at most 5 % (so that a small one stays usable), and 2 %
 * of the inodes. What takes room is claimed before, and the claim is settled after.
 *
 * Asking the file system before each write would cost a good part of a small write. So 1/64 of the free room is handed
 * out before it is asked again: one server has at most 64 sessions, and they do not know of each other. Room that is
 * claimed and not settled counts as taken. When less than 64 SPACE_STEPs are left, sessions that write at the same
 * moment can each exceed the reserve by one SPACE_STEP, once.
 */
#pragma once

#include <stdint.h>
#include <sys/statvfs.h>

#include "protocol/lock.h"

struct node;
struct nodes;

enum { SPACE_DISKS = 8, SPACE_STEP = 1024 * 1024 };

struct space {
	struct nodes *nodes;
	uint64_t reserve; /* in bytes; 0: none */
	struct lock lock;
	struct space_disk {
		uint64_t device;
		int64_t checked;             /* when it was asked: ms, CLOCK_MONOTONIC_COARSE; 0: never */
		uint64_t bytes, files;       /* handed out and not claimed yet */
		uint64_t in_bytes, in_files; /* claimed and not settled yet */
	} disks[SPACE_DISKS];
};

struct space_claim {
	struct space_disk *disk; /* NULL: nothing is claimed */
	uint64_t bytes, files;
};

void space_init(struct space *space, struct nodes *nodes, uint64_t reserve);
void space_done(struct space *space);

/*
 * Claims room before up to wanted bytes are taken on node's file system. fd: any descriptor of node. ret_claim->bytes
 * says how many may be taken now: at least 1, perhaps fewer than wanted. Returns 0, -ENOSPC, or an error of
 * fstatvfs(3). After 0 the caller must call space_settle().
 */
int space_claim(struct space *space, struct node *node, int fd, uint64_t wanted, struct space_claim *ret_claim);
/* The same before a name is made: one inode, and blocks for the directory, a record or a link's target. */
int space_claim_name(struct space *space, struct node *node, int fd, struct space_claim *ret_claim);
/* The same before an extended attribute of size bytes is written. */
int space_claim_attribute(struct space *space, struct node *node, int fd, size_t size, struct space_claim *ret_claim);
void space_settle(struct space *space, struct space_claim *claim);

/*
 * Whether there is room for wanted bytes, which are claimed part by part later. Returns 0, -ENOSPC, or an error of
 * fstatvfs(3).
 */
int space_fits(struct space *space, struct node *node, int fd, uint64_t wanted);

/* Subtracts the reserve from the free room in st: what the guest may use is left. */
void space_hide_reserve(const struct space *space, struct statvfs *st);
