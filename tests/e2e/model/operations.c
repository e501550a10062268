/* SPDX-License-Identifier: Apache-2.0 */
/* One operation on one side, and all that can be seen of its result. */
#include "tests/e2e/model/model.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

/* FNV-1a */
uint64_t model_hash(uint64_t hash, const void *bytes, size_t size)
{
	const uint8_t *at = bytes;

	for (size_t i = 0; i < size; i++)
		hash = (hash ^ at[i]) * 0x100000001b3u;
	return hash;
}

static void fill(uint8_t *bytes, size_t size, uint64_t seed)
{
	for (size_t i = 0; i < size; i += 8) {
		uint64_t word = model_next(&seed);

		memcpy(bytes + i, &word, size - i < 8 ? size - i : 8);
	}
}

static int base_of(const struct model_side *side, int base)
{
	return base == MODEL_SLOTS || side->fds[base] < 0 ? side->root : side->fds[base];
}

static void see(struct model_result *result, const void *bytes, ssize_t size)
{
	if (size > 0)
		result->seen = model_hash(result->seen + 1, bytes, (size_t) size);
}

static void see_stat(struct model_result *result, const struct stat *st)
{
	bool directory = S_ISDIR(st->st_mode);

	(void) snprintf(result->text, sizeof(result->text), "mode %o nlink %lu owner %u:%u size %lld rdev %u:%u",
	                st->st_mode, (unsigned long) st->st_nlink, st->st_uid, st->st_gid,
	                directory ? 0 : (long long) st->st_size, major(st->st_rdev), minor(st->st_rdev));
	see(result, result->text, (ssize_t) strlen(result->text));
}

static int open_into(struct model_side *side, int slot, int fd)
{
	if (fd < 0)
		return -1;
	if (side->fds[slot] >= 0)
		(void) close(side->fds[slot]);
	side->fds[slot] = fd;
	return 0;
}

static int by_name(const struct dirent **left, const struct dirent **right)
{
	return strcmp((*left)->d_name, (*right)->d_name);
}

static int list(int base, const char *path, struct model_result *result)
{
	int fd = openat(base, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC), count;
	struct dirent **entries;

	if (fd < 0)
		return -1;
	count = scandirat(fd, ".", &entries, NULL, by_name);
	for (int i = 0; i < count; i++) {
		size_t used = strlen(result->text);

		see(result, entries[i]->d_name, (ssize_t) strlen(entries[i]->d_name));
		see(result, &entries[i]->d_type, 1);
		(void) snprintf(result->text + used, sizeof(result->text) - used, " %s", entries[i]->d_name);
		free(entries[i]);
	}
	if (count >= 0)
		free(entries);
	(void) close(fd);
	return count;
}

static sigjmp_buf bus_error;

static void caught(int number)
{
	siglongjmp(bus_error, number);
}

/* Reads or writes through a shared mapping, never behind the file's end. */
static int map(int fd, const struct model_operation *operation, bool writing, struct model_result *result)
{
	struct stat st;
	volatile size_t length;
	uint8_t *volatile bytes;

	if (fstat(fd, &st) < 0)
		return -1;
	if (!S_ISREG(st.st_mode) || st.st_size == 0)
		return 0;
	length = (size_t) st.st_size;
	bytes = mmap(NULL, length, writing ? PROT_READ | PROT_WRITE : PROT_READ, MAP_SHARED, fd, 0);
	if (bytes == MAP_FAILED)
		return -1;
	(void) signal(SIGBUS, caught);
	if (sigsetjmp(bus_error, 1) != 0) {
		(void) snprintf(result->text, sizeof(result->text), "bus error, size %zu", length);
		(void) munmap(bytes, length);
		errno = EFAULT;
		return -1;
	}
	if (writing) {
		size_t at = (size_t) operation->offset % length;

		fill(bytes + at, operation->length < length - at ? operation->length : length - at, operation->seed);
		/* Both sides hand over to the file before the next operation. */
		if ((operation->flags & 1) != 0)
			(void) msync(bytes, length, MS_SYNC);
	}
	see(result, bytes, (ssize_t) length);
	return munmap(bytes, length);
}

static int64_t on_descriptor(struct model_side *side, const struct model_operation *operation,
                             struct model_result *result)
{
	static const int allocate[] = { 0, 1, 3, 16, 17, 0, 1, 3 };
	int fd = side->fds[operation->slot], other = side->fds[operation->other];
	static uint8_t bytes[MODEL_DATA];
	struct stat st;
	ssize_t n;
	off_t from = operation->offset / 2, to = operation->offset;

	switch (operation->kind) {
	case MODEL_close:
		side->fds[operation->slot] = -1;
		return close(fd);
	case MODEL_read:
	case MODEL_pread:
		n = operation->kind == MODEL_read ? read(fd, bytes, operation->length)
		                                  : pread(fd, bytes, operation->length, operation->offset);
		see(result, bytes, n);
		return n;
	case MODEL_write:
	case MODEL_pwrite:
		fill(bytes, operation->length, operation->seed);
		return operation->kind == MODEL_write ? write(fd, bytes, operation->length)
		                                      : pwrite(fd, bytes, operation->length, operation->offset);
	case MODEL_ftruncate:
		return ftruncate(fd, operation->offset);
	case MODEL_fallocate:
		return fallocate(fd, allocate[operation->flags], operation->offset, (off_t) operation->length);
	case MODEL_lseek:
		/* What a place in a directory is called is each file system's own matter. */
		if (fstat(fd, &st) == 0 && S_ISDIR(st.st_mode))
			return lseek(fd, 0, SEEK_SET);
		return lseek(fd, operation->offset / (1 + operation->flags), operation->flags % 3);
	case MODEL_fstat:
		if (fstat(fd, &st) < 0)
			return -1;
		see_stat(result, &st);
		return 0;
	case MODEL_fchmod:
		return fchmod(fd, operation->mode);
	case MODEL_fsync:
		return operation->flags < 4 ? fsync(fd) : fdatasync(fd);
	case MODEL_copy_range:
		return copy_file_range(fd, &from, other, &to, operation->length, 0);
	case MODEL_map_read:
	case MODEL_map_write:
		return map(fd, operation, operation->kind == MODEL_map_write, result);
	default:
		return -1;
	}
}

static int64_t on_xattr(int base, const struct model_operation *operation, struct model_result *result)
{
	static const char *const names[] = { "user.one", "user.two" };
	const char *name = names[operation->flags & 1];
	uint8_t bytes[400];
	int fd = openat(base, operation->path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	int64_t n;

	if (fd < 0)
		return -1;
	fill(bytes, sizeof(bytes), operation->seed);
	if (operation->kind == MODEL_setxattr) {
		n = operation->flags == 7
		            ? fremovexattr(fd, name)
		            : fsetxattr(fd, name, bytes, operation->length % sizeof(bytes), operation->flags % 3);
	} else if (operation->kind == MODEL_getxattr) {
		n = fgetxattr(fd, name, bytes, operation->flags < 6 ? sizeof(bytes) : 10);
		see(result, bytes, n);
	} else {
		n = flistxattr(fd, (char *) bytes, sizeof(bytes)); /* in any order */
	}
	int error = errno;
	(void) close(fd);
	errno = error;
	return n;
}

static int64_t on_attributes(int base, const struct model_operation *operation, struct model_result *result)
{
	static const uid_t owners[] = { 0, 0, 1000, 65534 };
	struct timespec times[2] = { { .tv_nsec = UTIME_OMIT }, { .tv_sec = operation->offset, .tv_nsec = 123456789 } };
	int follow = (operation->flags & 4) != 0 ? AT_SYMLINK_NOFOLLOW : 0;
	struct stat st;

	switch (operation->kind) {
	case MODEL_stat:
	case MODEL_lstat:
		if (fstatat(base, operation->path, &st, operation->kind == MODEL_lstat ? AT_SYMLINK_NOFOLLOW : 0) < 0)
			return -1;
		see_stat(result, &st);
		return 0;
	case MODEL_chmod:
		return fchmodat(base, operation->path, operation->mode, 0);
	case MODEL_chown:
		return fchownat(base, operation->path, owners[operation->flags & 3], owners[operation->length & 3], 0);
	case MODEL_utimens:
		if (utimensat(base, operation->path, times, follow) < 0)
			return -1;
		if (fstatat(base, operation->path, &st, follow) == 0)
			see(result, &st.st_mtim, sizeof(st.st_mtim)); /* atime changes on the way to a link, too */
		return 0;
	case MODEL_access:
		return faccessat(base, operation->path, operation->flags, 0);
	case MODEL_readlink: {
		ssize_t n = readlinkat(base, operation->path, result->text, sizeof(result->text) - 1);

		see(result, result->text, n);
		return n;
	}
	default:
		return on_xattr(base, operation, result);
	}
}

static int truncate_path(int base, const char *path, off_t size)
{
	char whole[64 + MODEL_PATH];

	(void) snprintf(whole, sizeof(whole), "/proc/self/fd/%d/%s", base, path);
	return truncate(whole, size);
}

static int64_t on_names(struct model_side *side, const struct model_operation *operation, struct model_result *result)
{
	static const char *const targets[] = { "a", "b", "../a", "dd/c", "nowhere", ".", "../b/c", "e e" };
	int base = base_of(side, operation->base), base2 = base_of(side, operation->base2);
	char path[64];

	switch (operation->kind) {
	case MODEL_open:
	case MODEL_tmpfile:
		return open_into(side, operation->slot,
		                 openat(base, operation->path, operation->flags | O_CLOEXEC, operation->mode));
	case MODEL_open_again:
		(void) snprintf(path, sizeof(path), "/proc/self/fd/%d", side->fds[operation->other]);
		return open_into(side, operation->slot,
		                 open(path, (operation->flags & ~(O_CREAT | O_EXCL | O_NOFOLLOW)) | O_CLOEXEC));
	case MODEL_link_open:
		(void) snprintf(path, sizeof(path), "/proc/self/fd/%d", side->fds[operation->slot]);
		return linkat(AT_FDCWD, path, base, operation->path, AT_SYMLINK_FOLLOW);
	case MODEL_truncate:
		return truncate_path(base, operation->path, operation->offset);
	case MODEL_mkdir:
		return mkdirat(base, operation->path, operation->mode);
	case MODEL_rmdir:
		return unlinkat(base, operation->path, AT_REMOVEDIR);
	case MODEL_unlink:
		return unlinkat(base, operation->path, 0);
	case MODEL_rename:
		return renameat2(base, operation->path, base2, operation->path2, (unsigned) operation->flags);
	case MODEL_link:
		return linkat(base, operation->path, base2, operation->path2,
		              operation->flags < 6 ? 0 : AT_SYMLINK_FOLLOW);
	case MODEL_symlink:
		return symlinkat(targets[operation->flags], base, operation->path);
	case MODEL_mknod:
		return mknodat(base, operation->path, operation->mode | (operation->flags < 4 ? S_IFREG : S_IFIFO), 0);
	case MODEL_list:
		return list(base, operation->path, result);
	default:
		return on_attributes(base, operation, result);
	}
}

void model_do(struct model_side *side, const struct model_operation *operation, struct model_result *ret_result)
{
	bool names = false;

	*ret_result = (struct model_result){ .seen = 0xcbf29ce484222325u };
	switch (operation->kind) {
	case MODEL_close:
	case MODEL_read:
	case MODEL_write:
	case MODEL_pread:
	case MODEL_pwrite:
	case MODEL_ftruncate:
	case MODEL_fallocate:
	case MODEL_lseek:
	case MODEL_fstat:
	case MODEL_fchmod:
	case MODEL_fsync:
	case MODEL_copy_range:
	case MODEL_map_read:
	case MODEL_map_write:
		break;
	default:
		names = true;
	}
	errno = 0;
	ret_result->value = names ? on_names(side, operation, ret_result) : on_descriptor(side, operation, ret_result);
	ret_result->error = ret_result->value < 0 ? errno : 0;
}
