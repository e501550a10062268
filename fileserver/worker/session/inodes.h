/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The inode numbers that the guest sees. The guest sees one device, the share; on the host several may be mounted
 * beneath it. Objects on the share's own device keep the host's numbers. Numbers of another device, if below 2^26, get
 * bit 31 and the device in bits 26 to 30: they stay below 2^32, since 32-bit programs get EOVERFLOW for larger ones.
 * Any other number is replaced by a 64-bit hash.
 */
#pragma once

#include <stdatomic.h>
#include <stdint.h>
#include <sys/stat.h>

struct nodes;

enum { INODES_DISKS = 31 };

/* The devices of a session and their numbers. */
struct inodes {
	_Atomic uint64_t disks[INODES_DISKS]; /* device number; 0: free */
};

uint64_t inodes_number(struct inodes *inodes, const struct nodes *nodes, const struct statx *stx);
