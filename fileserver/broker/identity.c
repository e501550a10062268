/* SPDX-License-Identifier: Apache-2.0 */
/* Which directory it is, whatever its path. */
#include "fileserver/broker/identity.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statfs.h>

#include "protocol/cleanup.h"

/* Where a file system has no handles, the other numbers must do. */
static void take_handle(int fd, struct identity *identity)
{
	union {
		struct file_handle handle;
		uint8_t bytes[sizeof(struct file_handle) + IDENTITY_HANDLE_MAX];
	} memory = { .handle.handle_bytes = IDENTITY_HANDLE_MAX };
	int mount;

	if (name_to_handle_at(fd, "", &memory.handle, &mount, AT_EMPTY_PATH) < 0)
		return;
	identity->handle_type = (uint32_t) memory.handle.handle_type;
	identity->handle_size = memory.handle.handle_bytes;
	memcpy(identity->handle, memory.handle.f_handle, memory.handle.handle_bytes);
}

int identity_of(int fd, struct identity *ret_identity)
{
	struct identity identity = { 0 };
	struct statfs filesystem;
	struct statx stx;

	if (statx(fd, "", AT_EMPTY_PATH | AT_NO_AUTOMOUNT, STATX_INO | STATX_BTIME, &stx) < 0 ||
	    fstatfs(fd, &filesystem) < 0)
		return -errno;
	memcpy(&identity.filesystem, &filesystem.f_fsid, sizeof(identity.filesystem));
	if (identity.filesystem == 0)
		identity.filesystem = (uint64_t) stx.stx_dev_major << 32 | stx.stx_dev_minor;
	identity.ino = stx.stx_ino;
	if ((stx.stx_mask & STATX_BTIME) != 0)
		identity.birth = stx.stx_btime.tv_sec * INT64_C(1000000000) + stx.stx_btime.tv_nsec;
	take_handle(fd, &identity);
	*ret_identity = identity;
	return 0;
}

int identity_of_directory(const char *path, struct identity *ret_identity)
{
	_cleanup_close_ int fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);

	return fd < 0 ? -errno : identity_of(fd, ret_identity);
}

bool identity_equal(const struct identity *left, const struct identity *right)
{
	return left->filesystem == right->filesystem && left->ino == right->ino && left->birth == right->birth &&
	       left->handle_type == right->handle_type && left->handle_size == right->handle_size &&
	       memcmp(left->handle, right->handle, left->handle_size) == 0;
}
