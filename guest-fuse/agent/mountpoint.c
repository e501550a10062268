/* SPDX-License-Identifier: Apache-2.0 */
/* One share's mountpoint in the guest's file system. */
#include "guest-fuse/agent/mountpoint.h"

#include <errno.h>
#include <fcntl.h>
#include <mntent.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <xxhash.h>

#include "guest-fuse/agent/identical.h"
#include "guest-fuse/agent/mount-program.h"
#include "guest-fuse/open.h"
#include "protocol/cleanup.h"

enum { UNMOUNT_TRIES = 16 };

#define TYPE "fuse.bindshare"

/* What bindshare-mount is told besides the address. */
static char *options_of(const struct guest_config *config, uint32_t flags)
{
	char *text;

	if (asprintf(&text, "%s%s%s%s%s%s%s%s", config->token_file != NULL ? "token-file=" : "",
	             config->token_file != NULL ? config->token_file : "",
	             (flags & PROTO_SHARE_READ_ONLY) != 0 ? ",ro" : "",
	             (flags & PROTO_SHARE_OWNER_HOST) != 0 ? ",owner=host" : "",
	             (flags & PROTO_SHARE_PERMISSIONS_HOST) != 0 ? ",permissions=host" : "",
	             (flags & PROTO_SHARE_CACHE_NONE) != 0 ? ",cache=none" : "",
	             config->mount_options[0] != '\0' ? "," : "", config->mount_options) < 0)
		return NULL;
	return text;
}

/* A path of its own for each way in which a directory may be mounted: one with other options is never adopted. */
static char *path_of(const struct mountpoint *mountpoint, const char *directory, const char *address)
{
	uint64_t key = XXH3_64bits(address, strlen(address) + 1);
	char *text;

	key = XXH3_64bits_withSeed(mountpoint->path, strlen(mountpoint->path) + 1, key);
	key = XXH3_64bits_withSeed(mountpoint->options, strlen(mountpoint->options) + 1, key);
	return asprintf(&text, "%s/%s/%016llx", mountpoint->config->run_directory, directory,
	                (unsigned long long) key) < 0
	               ? NULL
	               : text;
}

static char *join(const char *left, const char *between, const char *right)
{
	char *text;

	return asprintf(&text, "%s%s%s", left, between, right) < 0 ? NULL : text;
}

int mountpoint_set(struct mountpoint *mountpoint, const struct guest_config *config, const char *address,
                   const char *root, const struct share_list_entry *share)
{
	struct mountpoint fresh = { .config = config, .fd = -EBADF };

	fresh.path = strdup(share->path);
	fresh.options = options_of(config, share->flags);
	fresh.mount = join(root, "", strcmp(share->path, "/") == 0 ? "" : share->path);
	fresh.source = join(address, ":", share->path);
	if (fresh.path != NULL && fresh.options != NULL) {
		fresh.apart = path_of(&fresh, "apart", address);
		fresh.alive = path_of(&fresh, "alive", address);
	}
	if (fresh.mount == NULL || fresh.source == NULL || fresh.apart == NULL || fresh.alive == NULL) {
		mountpoint_done(&fresh);
		return -ENOMEM;
	}
	fresh.made = mountpoint->made;
	mountpoint->made = (struct made){ 0 };
	mountpoint_done(mountpoint);
	*mountpoint = fresh;
	return 0;
}

static int fail(struct mountpoint *mountpoint, int error, const char *what, const char *path)
{
	(void) snprintf(mountpoint->error, sizeof(mountpoint->error), "%s %s: %s", what, path, strerror(-error));
	return error;
}

/* The mount on top at a path: its source if it is one of bindshare-mount, else "". False: there is none. */
static bool mounted_there(const char *path, char source[PATH_MAX * 2])
{
	FILE *mounts = setmntent("/proc/self/mounts", "re");
	char strings[16384];
	struct mntent entry;
	bool found = false;

	if (mounts == NULL)
		return false;
	while (getmntent_r(mounts, &entry, strings, sizeof(strings)) != NULL) {
		if (strcmp(entry.mnt_dir, path) != 0)
			continue;
		found = true;
		(void) snprintf(source, PATH_MAX * 2, "%s", strcmp(entry.mnt_type, TYPE) == 0 ? entry.mnt_fsname : "");
	}
	(void) endmntent(mounts);
	return found;
}

/* The mount on top at a path is of this share. */
static bool is_ours(const struct mountpoint *mountpoint, const char *path)
{
	char there[PATH_MAX * 2];

	return mounted_there(path, there) && strcmp(mountpoint->source, there) == 0;
}

static void unmount_ours(const struct mountpoint *mountpoint, const char *path)
{
	for (unsigned i = 0; i < UNMOUNT_TRIES && is_ours(mountpoint, path); i++)
		if (umount2(path, UMOUNT_NOFOLLOW) < 0 && umount2(path, MNT_DETACH | UMOUNT_NOFOLLOW) < 0)
			return;
}

/* So that a mount on it reaches containers that ask for propagation, and no other mount of this share. */
static int set_propagation(int mount)
{
	struct mount_attr alone = { .propagation = MS_PRIVATE }, shared = { .propagation = MS_SHARED };

	if (mount_setattr(mount, "", AT_EMPTY_PATH, &alone, sizeof(alone)) < 0 ||
	    mount_setattr(mount, "", AT_EMPTY_PATH, &shared, sizeof(shared)) < 0)
		return -errno;
	return 0;
}

static const char *where(const struct mountpoint *mountpoint)
{
	return mountpoint->is_apart ? mountpoint->apart : mountpoint->mount;
}

bool mountpoint_is_alive(int fd)
{
	char byte;

	return read(fd, &byte, 1) < 0 && errno == EAGAIN;
}

static int open_alive(struct mountpoint *mountpoint)
{
	if (mkfifo(mountpoint->alive, 0600) < 0 && errno != EEXIST)
		return fail(mountpoint, -errno, "cannot make", mountpoint->alive);
	mountpoint->fd = open(mountpoint->alive, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	return mountpoint->fd < 0 ? fail(mountpoint, -errno, "cannot open", mountpoint->alive) : 0;
}

/*
 * Finds out where to mount, and makes the directory. In another share's mount a link of the host would lead to a
 * directory of the guest, which is not to be hidden.
 */
static int prepare(struct mountpoint *mountpoint)
{
	_cleanup_close_ int directory = -EBADF;
	int r;

	mountpoint->is_apart = false;
	if (mountpoint->covered) {
		directory = open_plain(mountpoint->mount, O_PATH | O_DIRECTORY);
		mountpoint->is_apart = directory == -ELOOP;
		if (!mountpoint->is_apart)
			return directory < 0 ? fail(mountpoint, directory, "cannot open", mountpoint->mount) : 0;
	}
	r = made_directories(&mountpoint->made, where(mountpoint), &directory);
	return r < 0 ? fail(mountpoint, r, "cannot make the directory", where(mountpoint)) : 0;
}

static int mount_share(struct mountpoint *mountpoint)
{
	_cleanup_free_ char *options = NULL;
	_cleanup_close_ int mount = -EBADF;
	int r;

	if (asprintf(&options, "alive=%s,nofollow%s%s", mountpoint->alive, mountpoint->options[0] != '\0' ? "," : "",
	             mountpoint->options) < 0)
		return -ENOMEM;
	r = prepare(mountpoint);
	if (r == 0)
		r = mount_program_run(mountpoint->source, where(mountpoint), options, mountpoint->error,
		                      sizeof(mountpoint->error));
	if (r < 0)
		return r;
	mount = open_plain(where(mountpoint), O_PATH | O_DIRECTORY);
	r = mount < 0 ? mount : set_propagation(mount);
	return r < 0 ? fail(mountpoint, r, "cannot set the propagation of", where(mountpoint)) : 0;
}

/*
 * The guest has nothing at the share's own path: nothing at all, or an empty directory that is no mountpoint. What it
 * has stays as it is, and the runtime takes the mount beneath the root.
 */
static bool is_free(struct mountpoint *mountpoint, int directory)
{
	char source[PATH_MAX * 2];
	struct stat st;

	return fstat(directory, &st) == 0 && !mounted_there(mountpoint->path, source) && made_is_empty(directory);
}

/* Where the mount is a second time, by descriptors: nothing that is swapped in meanwhile leads it elsewhere. */
static int bind_at(const struct mountpoint *mountpoint, int directory)
{
	_cleanup_close_ int source = open_plain(where(mountpoint), O_PATH | O_DIRECTORY), tree = -EBADF;
	int r;

	if (source < 0)
		return source;
	tree = open_tree(source, "", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH);
	r = tree < 0 ? -errno : set_propagation(tree);
	if (r == 0 && move_mount(tree, "", directory, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH) < 0)
		r = -errno;
	return r;
}

static void mount_identical(struct mountpoint *mountpoint)
{
	_cleanup_close_ int directory = -EBADF;
	size_t made = mountpoint->made.count;

	/* One that a guestd before this one made. */
	unmount_ours(mountpoint, mountpoint->path);
	/* In another share's mount it hides nothing of the guest. */
	if (!mountpoint->config->identical_paths ||
	    (!mountpoint->identical_covered && !identical_is_allowed(mountpoint->config, mountpoint->path)))
		return;
	if (mountpoint->identical_covered)
		directory = open_plain(mountpoint->path, O_PATH | O_DIRECTORY);
	else if (made_directories(&mountpoint->made, mountpoint->path, &directory) == 0 &&
	         !is_free(mountpoint, directory))
		directory = close_fd(directory);
	mountpoint->identical = directory >= 0 && bind_at(mountpoint, directory) == 0;
	if (!mountpoint->identical)
		made_remove(&mountpoint->made, made);
}

int mountpoint_make(struct mountpoint *mountpoint)
{
	size_t made = mountpoint->made.count;
	int r;

	mountpoint->fd = -EBADF;
	r = open_alive(mountpoint);
	if (r < 0)
		return r;
	/* One that an earlier guestd made, with the same options, and that lives. */
	mountpoint->is_apart = !is_ours(mountpoint, mountpoint->mount) && is_ours(mountpoint, mountpoint->apart);
	mountpoint->adopted = mountpoint_is_alive(mountpoint->fd) && is_ours(mountpoint, where(mountpoint));
	if (mountpoint->adopted) {
		mountpoint->identical = is_ours(mountpoint, mountpoint->path);
		return 0;
	}
	unmount_ours(mountpoint, mountpoint->mount);
	unmount_ours(mountpoint, mountpoint->apart);
	r = mount_share(mountpoint);
	if (r == 0) {
		mount_identical(mountpoint);
	} else {
		mountpoint->fd = close_fd(mountpoint->fd);
		made_remove(&mountpoint->made, made);
	}
	return r;
}

void mountpoint_undo(struct mountpoint *mountpoint)
{
	unmount_ours(mountpoint, mountpoint->path);
	unmount_ours(mountpoint, mountpoint->mount);
	unmount_ours(mountpoint, mountpoint->apart);
	mountpoint->fd = close_fd(mountpoint->fd);
	(void) unlink(mountpoint->alive);
	made_remove(&mountpoint->made, 0);
	mountpoint->identical = false;
}

void mountpoint_done(struct mountpoint *mountpoint)
{
	mountpoint->fd = close_fd(mountpoint->fd);
	made_done(&mountpoint->made);
	free(mountpoint->path);
	free(mountpoint->options);
	free(mountpoint->mount);
	free(mountpoint->apart);
	free(mountpoint->source);
	free(mountpoint->alive);
}
