/* SPDX-License-Identifier: Apache-2.0 */
/* What containers are handed of shares. */
#include "guest-fuse/binds/clones.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>

#include "guest-fuse/file-bind.h"
#include "guest-fuse/open.h"
#include "protocol/cleanup.h"
#include "protocol/document.h"
#include "protocol/words.h"

enum { CONTAINERS_NAME_MAX = 255 };

#define RECORD "record.json"

bool clones_id_is_valid(const char *id)
{
	return id != NULL && id[0] != '\0' && strlen(id) <= CONTAINERS_NAME_MAX && strchr(id, '/') == NULL &&
	       strcmp(id, ".") != 0 && strcmp(id, "..") != 0;
}

static int place_of(const struct guest_config *config, const char *id, char path[4096])
{
	return snprintf(path, 4096, "%s/binds%s%s", config->run_directory, id[0] != '\0' ? "/" : "", id) >= 4096
	               ? -ENAMETOOLONG
	               : 0;
}

/* The directory of all containers: a mount of its own, in which nothing that is mounted reaches others. */
static int prepare(const struct guest_config *config)
{
	char path[4096];
	_cleanup_close_ int fd = -EBADF;
	struct statx stx;

	if (place_of(config, "", path) < 0)
		return -ENAMETOOLONG;
	if ((mkdir(config->run_directory, 0755) < 0 && errno != EEXIST) || (mkdir(path, 0700) < 0 && errno != EEXIST))
		return -errno;
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	/* One at a time: the second finds what the first did. The lock is on the directory beneath the mount. */
	if (fd < 0 || flock(fd, LOCK_EX) < 0 || statx(AT_FDCWD, path, 0, STATX_TYPE, &stx) < 0)
		return -errno;
	if ((stx.stx_attributes & STATX_ATTR_MOUNT_ROOT) != 0)
		return 0;
	return mount(path, path, NULL, MS_BIND, NULL) < 0 || mount(NULL, path, NULL, MS_PRIVATE, NULL) < 0 ? -errno : 0;
}

/* One that clones_add() or clones_begin() has made; a directory is removed only when it is empty. */
static void remove_entry(int fd, const char *directory, const char *name)
{
	char path[4096 + NAME_MAX + 2];

	if (strncmp(name, RECORD, strlen(RECORD)) != 0 && name[strspn(name, "0123456789")] != '\0')
		return;
	(void) snprintf(path, sizeof(path), "%s/%s", directory, name);
	while (umount2(path, MNT_DETACH | UMOUNT_NOFOLLOW) == 0)
		;
	if (unlinkat(fd, name, 0) < 0)
		(void) unlinkat(fd, name, AT_REMOVEDIR);
}

/* The bundle that the record names. False: there is no record. */
static bool read_bundle(const char *directory, char bundle[4096])
{
	char path[4096 + sizeof(RECORD)], error[256];
	_cleanup_json_ json_t *record = NULL;
	const char *text;

	(void) snprintf(path, sizeof(path), "%s/" RECORD, directory);
	if (document_read("record", path, &record, error, sizeof(error)) < 0)
		return false;
	text = json_string_value(json_object_get(record, "bundle"));
	return text != NULL && snprintf(bundle, 4096, "%s", text) < 4096;
}

static void restore(const char *directory)
{
	char bundle[4096], from[4096 + sizeof(CLONES_ORIGINAL) + 1], to[4096 + sizeof("/config.json")];

	if (!read_bundle(directory, bundle))
		return;
	(void) snprintf(from, sizeof(from), "%s/" CLONES_ORIGINAL, bundle);
	(void) snprintf(to, sizeof(to), "%s/config.json", bundle);
	(void) rename(from, to);
}

static void undo(const char *directory)
{
	int fd = open(directory, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	DIR *entries = fd < 0 || open_is_shared(fd) ? NULL : fdopendir(fd);
	const struct dirent *entry;

	if (entries == NULL) {
		close_fd(fd);
		return;
	}
	restore(directory);
	while ((entry = readdir(entries)) != NULL)
		if (entry->d_name[0] != '.')
			remove_entry(fd, directory, entry->d_name);
	(void) closedir(entries);
	(void) rmdir(directory);
}

void clones_undo(const struct guest_config *config, const char *id)
{
	char path[4096];

	if (clones_id_is_valid(id) && place_of(config, id, path) == 0)
		undo(path);
}

/* The container's bundle is there. */
static bool has_bundle(const char *directory)
{
	char bundle[4096];

	/* Without a record it was killed before the first clone. */
	return read_bundle(directory, bundle) && access(bundle, F_OK) == 0;
}

/* all_of_them: those whose bundle is there, too. */
static unsigned undo_all(const struct guest_config *config, bool all_of_them)
{
	const struct dirent *entry;
	unsigned count = 0;
	char all[4096], path[4096];
	DIR *entries;

	if (place_of(config, "", all) < 0 || (entries = opendir(all)) == NULL)
		return 0;
	while ((entry = readdir(entries)) != NULL) {
		if (!clones_id_is_valid(entry->d_name) || place_of(config, entry->d_name, path) < 0 ||
		    (!all_of_them && has_bundle(path)))
			continue;
		undo(path);
		count++;
	}
	(void) closedir(entries);
	return count;
}

unsigned clones_sweep(const struct guest_config *config)
{
	return undo_all(config, false);
}

int clones_end(const struct guest_config *config)
{
	char path[4096];

	if (place_of(config, "", path) < 0)
		return -ENAMETOOLONG;
	(void) undo_all(config, true);
	while (umount2(path, MNT_DETACH | UMOUNT_NOFOLLOW) == 0)
		;
	return rmdir(path) < 0 && errno != ENOENT ? -errno : 0;
}

int clones_begin(const struct guest_config *config, const char *id, const char *bundle, struct clones *ret_clones,
                 char *error, size_t error_size)
{
	struct clones clones = { .config = config, .user_namespace = -EBADF };
	_cleanup_json_ json_t *record = NULL;
	char whole[4096], path[4096 + sizeof(RECORD)];
	int r = prepare(config);

	if (r == 0)
		r = place_of(config, id, clones.directory);
	if (r == 0)
		undo(clones.directory);
	if (r == 0 && mkdir(clones.directory, 0700) < 0)
		r = -errno;
	if (r == 0 && realpath(bundle, whole) == NULL)
		r = -errno;
	if (r < 0)
		return words_refuse(r, error, error_size, "cannot make a place for the container in %s/binds: %s",
		                    config->run_directory, strerror(-r));
	record = json_pack("{s:s}", "bundle", whole);
	(void) snprintf(path, sizeof(path), "%s/" RECORD, clones.directory);
	r = document_write("record", path, record, error, error_size);
	if (r == 0)
		*ret_clones = clones;
	return r;
}

size_t clones_map_lines(unsigned id, char *text, size_t size)
{
	int length;

	if (id == 0)
		length = snprintf(text, size, "0 0 %u\n", UINT32_MAX);
	else if (id == 1)
		length = snprintf(text, size, "0 1 1\n1 0 1\n2 2 %u\n", UINT32_MAX - 2);
	else if (id >= UINT32_MAX - 1)
		length = snprintf(text, size, "0 %u 1\n1 1 %u\n%u 0 1\n", id, id - 1, id);
	else
		length = snprintf(text, size, "0 %u 1\n1 1 %u\n%u 0 1\n%u %u %u\n", id, id - 1, id, id + 1, id + 1,
		                  UINT32_MAX - id - 1);
	return (size_t) length;
}

static int write_map(pid_t pid, const char *name, unsigned id)
{
	char path[64], text[256];
	size_t length = clones_map_lines(id, text, sizeof(text));
	_cleanup_close_ int fd = -EBADF;

	(void) snprintf(path, sizeof(path), "/proc/%d/%s", (int) pid, name);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	return fd < 0 || write(fd, text, length) != (ssize_t) length ? -errno : 0;
}

/* A process that only waits in a user namespace of its own. */
static pid_t start_holder(void)
{
	int pipes[2];
	char byte;
	pid_t pid;

	if (pipe2(pipes, O_CLOEXEC) < 0)
		return -errno;
	pid = fork();
	if (pid == 0) {
		if (unshare(CLONE_NEWUSER) == 0)
			(void) !write(pipes[1], "", 1);
		close(pipes[1]);
		(void) pause();
		_exit(0);
	}
	close(pipes[1]);
	if (pid > 0 && read(pipes[0], &byte, 1) != 1) {
		(void) kill(pid, SIGKILL);
		(void) waitpid(pid, NULL, 0);
		pid = -1;
		errno = EPERM;
	}
	close(pipes[0]);
	return pid < 0 ? -errno : pid;
}

int clones_map(struct clones *clones, uid_t uid, gid_t gid)
{
	char path[64];
	pid_t pid = start_holder();
	int r = pid < 0 ? pid : write_map(pid, "uid_map", uid);

	if (r == 0)
		r = write_map(pid, "gid_map", gid);
	if (r == 0) {
		(void) snprintf(path, sizeof(path), "/proc/%d/ns/user", (int) pid);
		clones->user_namespace = open(path, O_RDONLY | O_CLOEXEC);
		if (clones->user_namespace < 0)
			r = -errno;
	}
	if (pid > 0) {
		(void) kill(pid, SIGKILL);
		(void) waitpid(pid, NULL, 0);
	}
	return r;
}

static int open_source(const struct clones_source *source)
{
	_cleanup_close_ int mount = open_plain(source->mount, O_PATH | O_DIRECTORY);

	return mount < 0 ? mount : open_beneath(mount, source->rest, RESOLVE_NO_SYMLINKS);
}

/* The secret of the mount that a file is on. */
static bool read_secret(int file, struct file_bind_argument *ret_argument)
{
	char path[FILE_BIND_PATH_SIZE];
	_cleanup_close_ int fd = -EBADF;
	struct stat st;

	if (fstat(file, &st) < 0)
		return false;
	file_bind_secret_path(major(st.st_dev), minor(st.st_dev), path);
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	return fd >= 0 && read(fd, ret_argument->secret, FILE_BIND_SECRET_SIZE) == FILE_BIND_SECRET_SIZE;
}

/* So that what an editor saves by renaming is seen (file-bind.h). A file that cannot be read is bound as it is. */
static void bind_by_name(int source)
{
	struct file_bind_argument argument;
	char path[64];
	_cleanup_close_ int fd = -EBADF;
	struct stat st;

	(void) snprintf(path, sizeof(path), "/proc/self/fd/%d", source);
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	/* Then the kernel asks for the attributes by which it permits. */
	if (fd >= 0 && read_secret(fd, &argument) && ioctl(fd, BINDSHARE_IOC_FILE_BIND, &argument) == 0)
		(void) fstat(fd, &st);
}

/* The kernel maps the ids of mounts that allow it, from 6.12 on. False: not this one. */
static bool map_ids(const struct clones *clones, int tree, bool recursive)
{
	struct mount_attr attr = { .attr_set = MOUNT_ATTR_IDMAP, .userns_fd = (uint64_t) clones->user_namespace };

	if (recursive && mount_setattr(tree, "", AT_EMPTY_PATH | AT_RECURSIVE, &attr, sizeof(attr)) == 0)
		return true;
	/* One of the mounts in it may not allow it. */
	return mount_setattr(tree, "", AT_EMPTY_PATH, &attr, sizeof(attr)) == 0;
}

static int make_target(const struct clones *clones, bool file, char path[4096])
{
	int fd;

	if (snprintf(path, 4096, "%s/%u", clones->directory, clones->count) >= 4096)
		return -ENAMETOOLONG;
	if (!file)
		return mkdir(path, 0700) < 0 ? -errno : 0;
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	close_fd(fd);
	return fd < 0 ? -errno : 0;
}

int clones_add(struct clones *clones, const struct clones_source *source, char path[4096], char *error,
               size_t error_size)
{
	_cleanup_close_ int fd = open_source(source), tree = -EBADF;
	bool mapped = true;
	struct stat st;
	int r = fd < 0 ? fd : 0;

	if (r == 0 && (fstat(fd, &st) < 0 || S_ISDIR(st.st_mode) == source->file))
		r = -ESTALE; /* another thing lies there by now */
	if (r == 0) {
		if (source->file)
			bind_by_name(fd);
		tree = open_tree(fd, "",
		                 OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH |
		                         (source->recursive ? AT_RECURSIVE : 0U));
		r = tree < 0 ? -errno : 0;
	}
	if (r == 0 && clones->user_namespace >= 0)
		mapped = source->idmap && map_ids(clones, tree, source->recursive);
	if (r == 0)
		r = make_target(clones, source->file, path);
	if (r == 0 && move_mount(tree, "", AT_FDCWD, path, MOVE_MOUNT_F_EMPTY_PATH) < 0)
		r = -errno;
	clones->count++;
	if (r < 0)
		return words_refuse(r, error, error_size, "%s%s%s cannot be bound: %s", source->mount,
		                    source->rest[0] != '\0' ? "/" : "", source->rest, strerror(-r));
	return mapped ? 0 : 1;
}

void clones_done(struct clones *clones)
{
	clones->user_namespace = close_fd(clones->user_namespace);
}
