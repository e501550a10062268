/* SPDX-License-Identifier: Apache-2.0 */
/* bindshare-guestd --unmount: the run directory. */
#include "guest-fuse/agent/clear.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <mntent.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "guest-fuse/binds/clones.h"
#include "guest-fuse/open.h"
#include "protocol/cleanup.h"
#include "protocol/log.h"
#include "protocol/paths.h"

enum { LEAVE_MS = 1000 };

/* The mount beneath directory that was made last. 1 and where; 0: there is none; or a negative errno. */
static int last_mount(const char *directory, char where[PATH_MAX])
{
	FILE *mounts = setmntent("/proc/self/mounts", "re");
	char strings[16384];
	struct mntent entry;
	int found = 0;

	if (mounts == NULL)
		return -errno;
	while (getmntent_r(mounts, &entry, strings, sizeof(strings)) != NULL) {
		if (!paths_is_beneath(entry.mnt_dir, directory) || strcmp(entry.mnt_dir, directory) == 0)
			continue;
		found = 1;
		(void) snprintf(where, PATH_MAX, "%s", entry.mnt_dir);
	}
	(void) endmntent(mounts);
	return found;
}

/* A directory of guestd's own, in which nobody else mounts anything. */
static int unmount_beneath(const char *directory)
{
	char where[PATH_MAX];
	int r;

	while ((r = last_mount(directory, where)) > 0)
		if (umount2(where, MNT_DETACH | UMOUNT_NOFOLLOW) < 0)
			return -errno;
	return r;
}

/* Somebody listens at a socket in directory. */
static bool is_served(const char *directory, const char *name)
{
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct sockaddr_un address = { .sun_family = AF_UNIX };

	if (snprintf(address.sun_path, sizeof(address.sun_path), "%s/%s", directory, name) >=
	    (int) sizeof(address.sun_path))
		return true;
	return connect(fd, (struct sockaddr *) &address, sizeof(address)) == 0 ||
	       (errno != ECONNREFUSED && errno != ENOENT);
}

/* A client's secret (file-bind.h), beside its socket. */
static bool is_left_secret(const char *directory, const char *name)
{
	size_t length = strlen(name), end = strlen(".secret");
	char beside[NAME_MAX + 8];

	if (length <= end || strcmp(name + length - end, ".secret") != 0)
		return false;
	(void) snprintf(beside, sizeof(beside), "%.*s.sock", (int) (length - end), name);
	return !is_served(directory, beside);
}

static void remove_entry(int fd, const char *directory, const char *name)
{
	struct stat st;

	if (fstatat(fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return;
	if (S_ISFIFO(st.st_mode) || (S_ISSOCK(st.st_mode) && !is_served(directory, name)) ||
	    (S_ISREG(st.st_mode) && is_left_secret(directory, name)))
		(void) unlinkat(fd, name, 0);
	else if (S_ISDIR(st.st_mode))
		(void) unlinkat(fd, name, AT_REMOVEDIR);
}

/* FIFOs, sockets at which nobody listens, directories that are empty; then the directory. True: it is gone. */
static bool remove_entries(const char *directory)
{
	int fd = open(directory, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	DIR *entries = fd < 0 || open_is_shared(fd) ? NULL : fdopendir(fd);
	const struct dirent *entry;

	if (entries == NULL) {
		bool is_gone = fd < 0 && errno == ENOENT;

		close_fd(fd);
		return is_gone;
	}
	while ((entry = readdir(entries)) != NULL)
		if (entry->d_name[0] != '.')
			remove_entry(fd, directory, entry->d_name);
	(void) closedir(entries);
	return rmdir(directory) == 0;
}

int clear_run_directory(const struct guest_config *config)
{
	/* mounts: of bindshare-mount, a socket and a secret for each. */
	static const char *const directories[] = { "apart", "alive", "mounts" }, *const files[] = { "state.json",
		                                                                                    "guestd.sock" };
	char run[PATH_MAX], path[PATH_MAX + 16], where[PATH_MAX];
	int r;

	/* As the kernel tells where things are mounted: without links. */
	if (realpath(config->run_directory, run) == NULL)
		return 0;
	(void) clones_end(config);
	for (size_t i = 0; i < ARRAY_SIZE(directories); i++) {
		(void) snprintf(path, sizeof(path), "%s/%s", run, directories[i]);
		if (unmount_beneath(path) < 0)
			continue;
		/* A client whose mount has gone takes its leave, and its socket with it. */
		for (unsigned waited = 0; !remove_entries(path) && waited < LEAVE_MS; waited += 50)
			(void) poll(NULL, 0, 50);
	}
	r = last_mount(run, where);
	if (r < 0)
		log_error("/proc/self/mounts cannot be read (%s): %s stays as it is", strerror(-r), run);
	if (r > 0)
		log_error("%s is still mounted, so %s stays: unmount it, then try again", where, run);
	if (r != 0)
		return -EBUSY;
	for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
		(void) snprintf(path, sizeof(path), "%s/%s", run, files[i]);
		(void) unlink(path);
	}
	if (rmdir(run) < 0)
		log_warning("%s stays (%s): a container uses a share still, or something else is in it", run,
		            strerror(errno));
	return 0;
}
