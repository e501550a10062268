/* SPDX-License-Identifier: Apache-2.0 */
/* What the server says of an object, checked and in the kernel's form. */
#include "guest-fuse/mount/known/attributes.h"

#include <errno.h>

int attributes_check(const struct proto_attr *attr)
{
	if ((attr->mode & ~(uint32_t) (S_IFMT | 07777)) != 0)
		return -EIO;
	switch (attr->mode & S_IFMT) {
	case S_IFREG:
	case S_IFDIR:
	case S_IFLNK:
	case S_IFIFO:
	case S_IFSOCK:
	case S_IFBLK:
	case S_IFCHR:
		return 0;
	default:
		return -EIO;
	}
}

static struct timespec timespec_of(const struct proto_time *time)
{
	return (struct timespec){ .tv_sec = time->seconds, .tv_nsec = time->nanoseconds };
}

void attributes_to_stat(const struct proto_attr *attr, uint32_t block_size, struct stat *ret_stat)
{
	*ret_stat = (struct stat){
		.st_ino = attr->ino,
		.st_mode = attr->mode,
		.st_nlink = attr->nlink,
		.st_uid = attr->uid,
		.st_gid = attr->gid,
		.st_rdev = attr->rdev,
		.st_size = (off_t) attr->size,
		.st_blksize = block_size,
		.st_blocks = (blkcnt_t) attr->blocks,
		.st_atim = timespec_of(&attr->atime),
		.st_mtim = timespec_of(&attr->mtime),
		.st_ctim = timespec_of(&attr->ctime),
	};
}
