/* SPDX-License-Identifier: Apache-2.0 */
/* The identity of an object. */
#include "fileserver/worker/nodes/identity.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/vfs.h>

#include "fileserver/common/resolve.h"
#include "fileserver/worker/nodes/nodes.h"
#include "protocol/cleanup.h"

/* Magic numbers that linux/magic.h of Linux 6.1 lacks: from statfs(2) and the file systems' own sources. */
#define BCACHEFS_MAGIC 0xca451a4eU
#define XFS_MAGIC      0x58465342U
#define ZFS_MAGIC      0x2fc12fc1U

/* A field of struct statx since Linux 6.10 that the C library's struct may lack (include/uapi/linux/stat.h). */
#define SUBVOLUME_MASK NODES_STATX_SUBVOLUME
enum { SUBVOLUME_OFFSET = 160 };
_Static_assert(sizeof(struct statx) == 256, "the kernel's structure");

void devices_init(struct devices *devices)
{
	lock_init(&devices->lock);
	atomic_store(&devices->count, 0);
}

void devices_done(struct devices *devices)
{
	lock_done(&devices->lock);
}

uint64_t devices_number(const struct statx *stx)
{
	return ((uint64_t) stx->stx_dev_major << 32) | stx->stx_dev_minor;
}

static const struct device *find(const struct devices *devices, uint64_t number)
{
	uint32_t count = atomic_load_explicit(&devices->count, memory_order_acquire);

	for (uint32_t i = 0; i < count; i++)
		if (devices->devices[i].number == number)
			return &devices->devices[i];
	return NULL;
}

/* Local file systems write the time of birth once. Not FAT: it gives a file another inode number after eviction. */
static bool birth_stays(int fd)
{
	static const uint32_t kinds[] = { EXT4_SUPER_MAGIC, XFS_MAGIC,      BTRFS_SUPER_MAGIC, F2FS_SUPER_MAGIC,
		                          TMPFS_MAGIC,      BCACHEFS_MAGIC, ZFS_MAGIC };
	struct statfs st;

	if (fstatfs(fd, &st) < 0)
		return false;
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
		if ((uint32_t) st.f_type == kinds[i])
			return true;
	return false;
}

void devices_meet(struct devices *devices, const struct statx *stx, int fd, const char *name)
{
	uint64_t number = devices_number(stx);
	_cleanup_close_ int pinned = -EBADF;
	struct device device = { .number = number };
	struct statx found;
	uint32_t count;

	if (find(devices, number) != NULL)
		return;
	if (name != NULL) {
		pinned = resolve_pin(fd, name);
		fd = pinned;
	}
	/* When the host has put another object there meanwhile, the next caller learns about the file system. */
	if (fd < 0 || statx(fd, "", AT_EMPTY_PATH | AT_NO_AUTOMOUNT, STATX_TYPE, &found) < 0 ||
	    devices_number(&found) != number)
		return;
	device.birth_stays = birth_stays(fd);
	lock_take(&devices->lock);
	count = atomic_load(&devices->count);
	if (find(devices, number) == NULL && count < DEVICES_MAX) {
		devices->devices[count] = device;
		atomic_store_explicit(&devices->count, count + 1, memory_order_release);
	}
	lock_give(&devices->lock);
}

void identity_key(struct devices *devices, const struct statx *stx, struct node_key *ret_key)
{
	const struct device *device = find(devices, devices_number(stx));
	uint64_t subvolume = 0;

	memset(ret_key, 0, sizeof(*ret_key));
	ret_key->ino = stx->stx_ino;
	ret_key->device = devices_number(stx);
	if (device != NULL && device->birth_stays && (stx->stx_mask & STATX_BTIME) != 0) {
		ret_key->birth_seconds = stx->stx_btime.tv_sec;
		ret_key->birth_nanoseconds = stx->stx_btime.tv_nsec;
	}
	if ((stx->stx_mask & SUBVOLUME_MASK) != 0)
		memcpy(&subvolume, (const char *) stx + SUBVOLUME_OFFSET, sizeof(subvolume));
	ret_key->subvolume = (uint32_t) subvolume;
}
