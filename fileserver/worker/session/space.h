/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A guest must not fill the host's disk to the last byte, nor take its last inode. Of each file system a reserve is out
 * of its reach: the larger of the configured one and 2 %, but never more than 5 % (a small one stays usable), and 2 %
 * of the inodes. What takes room is claimed first, and the claim settled when it is done.
 *
 * Asking the file system for each write would cost a good part of a small write: 1/64 of what is free is handed out
 * before it is asked again, since one server has 64 sessions at most, and they do not know of each other. What is
 * claimed and not settled counts as taken. Sessions that write at the same moment can pass the reserve by SPACE_STEP
 * each, once, when less than 64 of these are left.
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
	uint64_t reserve; /* bytes; 0: none */
	struct lock lock;
	struct space_disk {
		uint64_t device;
		int64_t checked;             /* ms, CLOCK_MONOTONIC_COARSE; 0: never */
		uint64_t bytes, files;       /* handed out, and not claimed yet */
		uint64_t in_bytes, in_files; /* claimed, and not settled yet */
	} disks[SPACE_DISKS];
};

struct space_claim {
	struct space_disk *disk; /* NULL: nothing is claimed */
	uint64_t bytes, files;
};

void space_init(struct space *space, struct nodes *nodes, uint64_t reserve);
void space_done(struct space *space);

/*
 * Before something is done that takes up to wanted bytes on the file system of node, of which fd is any descriptor: how
 * many of them it may take now, in ret_claim->bytes: at least one, and not all where that would be too much at a time.
 * 0, -ENOSPC, or what asking says. After 0 it is settled with space_settle().
 */
int space_claim(struct space *space, struct node *node, int fd, uint64_t wanted, struct space_claim *ret_claim);
/* The same before a name is made: an inode, and the blocks for the directory, a record or a link's target. */
int space_claim_name(struct space *space, struct node *node, int fd, struct space_claim *ret_claim);
/* Before an attribute of that size is written. */
int space_claim_attribute(struct space *space, struct node *node, int fd, size_t size, struct space_claim *ret_claim);
void space_settle(struct space *space, struct space_claim *claim);

/* Whether there is so much, of which parts are claimed later: 0, -ENOSPC, or what asking says. */
int space_fits(struct space *space, struct node *node, int fd, uint64_t wanted);

/* Takes the reserve out of what is free: what the guest may use. */
void space_hide_reserve(const struct space *space, struct statvfs *st);
