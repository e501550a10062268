/* SPDX-License-Identifier: Apache-2.0 */
/* Whether names are found under no other spelling than their own. */
#include "fileserver/worker/host/spelling.h"

#include <errno.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/vfs.h>

#include "protocol/cleanup.h"
#include "protocol/faults.h"

/* Magic numbers (statfs(2)) of file systems on which a flag of the directory says so, and nothing else does. */
static bool says_flag(int directory)
{
	static const uint32_t known[] = { EXT4_SUPER_MAGIC, BTRFS_SUPER_MAGIC, F2FS_SUPER_MAGIC, TMPFS_MAGIC,
		                          0xca451a4e /* bcachefs */ };
	struct statfs st;

	if (fstatfs(directory, &st) < 0)
		return false;
	for (size_t i = 0; i < ARRAY_SIZE(known); i++)
		if ((uint32_t) st.f_type == known[i])
			return true;
	return false;
}

/* XFS_IOC_FSGEOMETRY_V1 of xfs_fs.h, of which no header is installed with the kernel's. */
struct xfs_geometry {
	uint32_t sizes[8];
	uint64_t blocks[4];
	uint8_t uuid[16];
	uint32_t units[2];
	int32_t version;
	uint32_t flags;
	uint32_t sector_sizes[3];
};

enum { XFS_MAGIC = 0x58465342, XFS_OTHER_CASE = 1 << 12 /* XFS_FSOP_GEOM_FLAGS_DIRV2CI, "mkfs.xfs -n version=ci" */ };

static bool is_exact_xfs(int directory)
{
	struct xfs_geometry geometry = { .flags = 0 };

	return ioctl(directory, _IOR('X', 100, struct xfs_geometry), &geometry) == 0 &&
	       (geometry.flags & XFS_OTHER_CASE) == 0;
}

bool spelling_is_exact(int directory)
{
	struct statfs st;
	unsigned flags = 0;

	if (!says_flag(directory))
		return fstatfs(directory, &st) == 0 && (uint32_t) st.f_type == XFS_MAGIC && is_exact_xfs(directory);
	/* Without such flags there is no other spelling either (tmpfs before Linux 6.6). */
	if (FAULT(WORKER_SPELLING, ioctl(directory, FS_IOC_GETFLAGS, &flags)) < 0)
		return errno == ENOTTY || errno == EOPNOTSUPP;
	return (flags & FS_CASEFOLD_FL) == 0;
}
