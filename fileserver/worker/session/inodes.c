/* SPDX-License-Identifier: Apache-2.0 */
/* The inode numbers that the guest sees. */
#include "fileserver/worker/session/inodes.h"

#include <xxhash.h>

#include "fileserver/worker/nodes/nodes.h"

enum { NUMBER_BITS = 26 };

#define SMALL (UINT64_C(1) << 31)

/*
 * The number of a device, from 1; 0 when there are too many. If no other device is in the way it is the same one in the
 * next session.
 */
static unsigned disk_number(struct inodes *inodes, uint64_t device)
{
	unsigned first = (unsigned) (XXH3_64bits(&device, sizeof(device)) % INODES_DISKS);

	for (unsigned i = 0; i < INODES_DISKS; i++) {
		unsigned number = (first + i) % INODES_DISKS;
		uint64_t there = 0;

		if (atomic_compare_exchange_strong(&inodes->disks[number], &there, device) || there == device)
			return number + 1;
	}
	return 0;
}

uint64_t inodes_number(struct inodes *inodes, const struct nodes *nodes, const struct statx *stx)
{
	uint64_t parts[2] = { ((uint64_t) stx->stx_dev_major << 32) | stx->stx_dev_minor, stx->stx_ino };

	if (nodes_on_root_device(nodes, stx)) {
		/* All but the range that objects on other devices get. */
		if (stx->stx_ino < SMALL || stx->stx_ino >= 2 * SMALL)
			return stx->stx_ino;
	} else if (stx->stx_ino >> NUMBER_BITS == 0) {
		unsigned disk = disk_number(inodes, parts[0]);

		if (disk != 0)
			return SMALL | (uint64_t) disk << NUMBER_BITS | stx->stx_ino;
	}
	return XXH3_64bits(parts, sizeof(parts)) | (UINT64_C(1) << 63);
}
