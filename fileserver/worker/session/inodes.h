/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The inode numbers that the guest sees. It has one device, the share, and on the host there may be several beneath it.
 * Numbers of the share's own disk are the host's. Those of a disk that is mounted in it get the disk into bits 26 to 30
 * and bit 31, as long as they are small: a program with 32-bit numbers gets EOVERFLOW for larger ones. What does not
 * fit is a hash of 64 bits.
 */
#pragma once

#include <stdatomic.h>
#include <stdint.h>
#include <sys/stat.h>

struct nodes;

enum { INODES_DISKS = 31 };

/* Which disk has which number, for a session. */
struct inodes {
	_Atomic uint64_t disks[INODES_DISKS]; /* device; 0: none yet */
};

uint64_t inodes_number(struct inodes *inodes, const struct nodes *nodes, const struct statx *stx);
