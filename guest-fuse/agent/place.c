/* SPDX-License-Identifier: Apache-2.0 */
/* One share's place in the guest's file system. */
#include "guest-fuse/agent/place.h"

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
static char *path_of(const struct place *place, const char *directory, const char *address)
{
	uint64_t key = XXH3_64bits(address, strlen(address) + 1);
	char *text;

	key = XXH3_64bits_withSeed(place->path, strlen(place->path) + 1, key);
	key = XXH3_64bits_withSeed(place->options, strlen(place->options) + 1, key);
	return asprintf(&text, "%s/%s/%016llx", place->config->run_directory, directory, (unsigned long long) key) < 0
	               ? NULL
	               : text;
}

static char *join(const char *left, const char *between, const char *right)
{
	char *text;

	return asprintf(&text, "%s%s%s", left, between, right) < 0 ? NULL : text;
}

int place_set(struct place *place, const struct guest_config *config, const char *address, const char *root,
              const struct share_list_entry *share)
{
	struct place fresh = { .config = config, .fd = -EBADF };

	fresh.path = strdup(share->path);
	fresh.options = options_of(config, share->flags);
	fresh.mount = join(root, "", strcmp(share->path, "/") == 0 ? "" : share->path);
	fresh.source = join(address, ":", share->path);
	if (fresh.path != NULL && fresh.options != NULL) {
		fresh.apart = path_of(&fresh, "apart", address);
		fresh.alive = path_of(&fresh, "alive", address);
	}
	if (fresh.mount == NULL || fresh.source == NULL || fresh.apart == NULL || fresh.alive == NULL) {
		place_done(&fresh);
		return -ENOMEM;
	}
	fresh.made = place->made;
	place->made = (struct made){ 0 };
	place_done(place);
	*place = fresh;
	return 0;
}

static int fail(struct place *place, int error, const char *what, const char *path)
{
	(void) snprintf(place->error, sizeof(place->error), "%s %s: %s", what, path, strerror(-error));
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
static bool is_ours(const struct place *place, const char *path)
{
	char there[PATH_MAX * 2];

	return mounted_there(path, there) && strcmp(place->source, there) == 0;
}

static void unmount_ours(const struct place *place, const char *path)
{
	for (unsigned i = 0; i < UNMOUNT_TRIES && is_ours(place, path); i++)
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

static const char *where(const struct place *place)
{
	return place->is_apart ? place->apart : place->mount;
}

bool place_is_alive(int fd)
{
	char byte;

	return read(fd, &byte, 1) < 0 && errno == EAGAIN;
}

static int open_alive(struct place *place)
{
	if (mkfifo(place->alive, 0600) < 0 && errno != EEXIST)
		return fail(place, -errno, "cannot make", place->alive);
	place->fd = open(place->alive, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	return place->fd < 0 ? fail(place, -errno, "cannot open", place->alive) : 0;
}

/*
 * Finds out where to mount, and makes the directory. In another share's mount a link of the host would lead to a
 * directory of the guest, which is not to be hidden.
 */
static int prepare(struct place *place)
{
	_cleanup_close_ int directory = -EBADF;
	int r;

	place->is_apart = false;
	if (place->covered) {
		directory = open_plain(place->mount, O_PATH | O_DIRECTORY);
		place->is_apart = directory == -ELOOP;
		if (!place->is_apart)
			return directory < 0 ? fail(place, directory, "cannot open", place->mount) : 0;
	}
	r = made_directories(&place->made, where(place), &directory);
	return r < 0 ? fail(place, r, "cannot make the directory", where(place)) : 0;
}

static int mount_share(struct place *place)
{
	_cleanup_free_ char *options = NULL;
	_cleanup_close_ int mount = -EBADF;
	int r;

	if (asprintf(&options, "alive=%s,nofollow%s%s", place->alive, place->options[0] != '\0' ? "," : "",
	             place->options) < 0)
		return -ENOMEM;
	r = prepare(place);
	if (r == 0)
		r = mount_program_run(place->source, where(place), options, place->error, sizeof(place->error));
	if (r < 0)
		return r;
	mount = open_plain(where(place), O_PATH | O_DIRECTORY);
	r = mount < 0 ? mount : set_propagation(mount);
	return r < 0 ? fail(place, r, "cannot set the propagation of", where(place)) : 0;
}

/*
 * The guest has nothing at the share's own path: nothing at all, or an empty directory that is no mountpoint. What it
 * has stays as it is, and the runtime takes the mount beneath the root.
 */
static bool is_free(struct place *place, int directory)
{
	char source[PATH_MAX * 2];
	struct stat st;

	return fstat(directory, &st) == 0 && !mounted_there(place->path, source) && made_is_empty(directory);
}

/* Where the mount is a second time, by descriptors: nothing that is swapped in meanwhile leads it elsewhere. */
static int bind_at(const struct place *place, int directory)
{
	_cleanup_close_ int source = open_plain(where(place), O_PATH | O_DIRECTORY), tree = -EBADF;
	int r;

	if (source < 0)
		return source;
	tree = open_tree(source, "", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH);
	r = tree < 0 ? -errno : set_propagation(tree);
	if (r == 0 && move_mount(tree, "", directory, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH) < 0)
		r = -errno;
	return r;
}

static void mount_identical(struct place *place)
{
	_cleanup_close_ int directory = -EBADF;
	size_t made = place->made.count;

	/* One that a guestd before this one made. */
	unmount_ours(place, place->path);
	/* In another share's mount it hides nothing of the guest. */
	if (!place->config->identical_paths ||
	    (!place->identical_covered && !identical_is_allowed(place->config, place->path)))
		return;
	if (place->identical_covered)
		directory = open_plain(place->path, O_PATH | O_DIRECTORY);
	else if (made_directories(&place->made, place->path, &directory) == 0 && !is_free(place, directory))
		directory = close_fd(directory);
	place->identical = directory >= 0 && bind_at(place, directory) == 0;
	if (!place->identical)
		made_remove(&place->made, made);
}

int place_make(struct place *place)
{
	size_t made = place->made.count;
	int r;

	place->fd = -EBADF;
	r = open_alive(place);
	if (r < 0)
		return r;
	/* One that an earlier guestd made, with the same options, and that lives. */
	place->is_apart = !is_ours(place, place->mount) && is_ours(place, place->apart);
	place->adopted = place_is_alive(place->fd) && is_ours(place, where(place));
	if (place->adopted) {
		place->identical = is_ours(place, place->path);
		return 0;
	}
	unmount_ours(place, place->mount);
	unmount_ours(place, place->apart);
	r = mount_share(place);
	if (r == 0) {
		mount_identical(place);
	} else {
		place->fd = close_fd(place->fd);
		made_remove(&place->made, made);
	}
	return r;
}

void place_undo(struct place *place)
{
	unmount_ours(place, place->path);
	unmount_ours(place, place->mount);
	unmount_ours(place, place->apart);
	place->fd = close_fd(place->fd);
	(void) unlink(place->alive);
	made_remove(&place->made, 0);
	place->identical = false;
}

void place_done(struct place *place)
{
	place->fd = close_fd(place->fd);
	made_done(&place->made);
	free(place->path);
	free(place->options);
	free(place->mount);
	free(place->apart);
	free(place->source);
	free(place->alive);
}
