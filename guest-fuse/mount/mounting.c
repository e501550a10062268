/* SPDX-License-Identifier: Apache-2.0 */
/* The mount in the kernel: making it, putting it in place, tuning it. */
#include "guest-fuse/mount/mounting.h"

#include <errno.h>
#include <fcntl.h>
#include <mntent.h>
#include <stdarg.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "guest-fuse/open.h"
#include "protocol/cleanup.h"
#include "protocol/faults.h"

enum { READ_AHEAD_KB = 1024 };

#define FILE_SYSTEM "fuse"
#define SUBTYPE     "bindshare"

/* What the kernel says about the last failure, if it says something ("e fuse: ..."). */
static int fail(int context, int error_number, char *error, size_t error_size, const char *what)
{
	char words[256];
	ssize_t n = context < 0 ? -1 : read(context, words, sizeof(words) - 1);

	words[n < 0 ? 0 : n] = '\0';
	words[strcspn(words, "\n")] = '\0';
	(void) snprintf(error, error_size, "%s: %s%s%s", what, strerror(-error_number), n > 0 ? ": " : "", words);
	return error_number;
}

static int set_string(int context, const char *key, const char *value)
{
	return FAULT(MOUNT_OPTION, fsconfig(context, FSCONFIG_SET_STRING, key, value, 0)) < 0 ? -errno : 0;
}

static int set_flag(int context, const char *key)
{
	return FAULT(MOUNT_OPTION, fsconfig(context, FSCONFIG_SET_FLAG, key, NULL, 0)) < 0 ? -errno : 0;
}

static int set_options(int context, const struct mount_options *options, bool read_only, int device)
{
	char number[16];
	int r;

	(void) snprintf(number, sizeof(number), "%d", device);
	r = set_string(context, "source", options->fsname != NULL ? options->fsname : options->source);
	if (r == 0)
		r = set_string(context, "subtype", SUBTYPE);
	if (r == 0)
		r = set_string(context, "fd", number);
	if (r == 0)
		r = set_string(context, "rootmode", "40000");
	if (r == 0)
		r = set_string(context, "user_id", "0");
	if (r == 0)
		r = set_string(context, "group_id", "0");
	if (r == 0)
		r = set_flag(context, "allow_other");
	if (r == 0 && !options->permissions_host)
		r = set_flag(context, "default_permissions");
	if (r == 0 && read_only)
		r = set_flag(context, "ro");
	if (r == 0 && options->sync)
		r = set_flag(context, "sync");
	if (r == 0 && options->dirsync)
		r = set_flag(context, "dirsync");
	return r;
}

int mounting_make(const struct mount_options *options, bool read_only, int *ret_device, int *ret_mount, char *error,
                  size_t error_size)
{
	_cleanup_close_ int device = FAULT(MOUNT_DEVICE, open("/dev/fuse", O_RDWR | O_CLOEXEC));
	_cleanup_close_ int context = -EBADF, mount = -EBADF;
	int r;

	if (device < 0)
		return fail(-1, -errno, error, error_size,
		            "/dev/fuse cannot be opened: load the kernel's module fuse (modprobe fuse)");
	context = FAULT(MOUNT_CONTEXT, fsopen(FILE_SYSTEM, FSOPEN_CLOEXEC));
	if (context < 0)
		return fail(-1, -errno, error, error_size, "fsopen");
	r = set_options(context, options, read_only, device);
	if (r < 0)
		return fail(context, r, error, error_size, "setting the mount's options");
	if (FAULT(MOUNT_OPTION, fsconfig(context, FSCONFIG_CMD_CREATE, NULL, NULL, 0)) < 0)
		return fail(context, -errno, error, error_size, "making the file system");
	mount = FAULT(MOUNT_MAKE, fsmount(context, FSMOUNT_CLOEXEC,
	                                  (unsigned) options->attributes | (read_only ? MOUNT_ATTR_RDONLY : 0U)));
	if (mount < 0)
		return fail(context, -errno, error, error_size, "making the mount");
	*ret_device = TAKE_FD(device);
	*ret_mount = TAKE_FD(mount);
	return 0;
}

int mounting_place(int mount, const char *mountpoint)
{
	/* The path is from realpath(): a symbolic link on it was put there since, and must not lead the mount
	 * elsewhere. */
	_cleanup_close_ int directory = open_plain(mountpoint, O_PATH | O_DIRECTORY);

	if (directory < 0)
		return directory;
	return FAULT(MOUNT_PLACE,
	             move_mount(mount, "", directory, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH)) < 0
	               ? -errno
	               : 0;
}

int mounting_device_number(int mount, unsigned *ret_major, unsigned *ret_minor)
{
	struct statx stx;

	if (FAULT(MOUNT_IDENTIFY, statx(mount, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, 0, &stx)) < 0)
		return -errno;
	*ret_major = stx.stx_dev_major;
	*ret_minor = stx.stx_dev_minor;
	return 0;
}

int mounting_tune(unsigned major, unsigned minor)
{
	_cleanup_close_ int fd = -EBADF;
	char path[64], value[16];
	int length;

	(void) snprintf(path, sizeof(path), "/sys/class/bdi/%u:%u/read_ahead_kb", major, minor);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	length = snprintf(value, sizeof(value), "%d", READ_AHEAD_KB);
	return write(fd, value, (size_t) length) < 0 ? -errno : 0;
}

bool mounting_is_ours(const char *mountpoint)
{
	FILE *mounts = setmntent("/proc/self/mounts", "re");
	char strings[16384];
	struct mntent entry;
	bool ours = false;

	if (mounts == NULL)
		return false;
	/* The last one that names the path is on top. */
	while (getmntent_r(mounts, &entry, strings, sizeof(strings)) != NULL)
		if (strcmp(entry.mnt_dir, mountpoint) == 0)
			ours = strcmp(entry.mnt_type, FILE_SYSTEM "." SUBTYPE) == 0;
	(void) endmntent(mounts);
	return ours;
}
