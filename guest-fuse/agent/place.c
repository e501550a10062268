/* SPDX-License-Identifier: Apache-2.0 */
/* One share's place in the guest's file system. */
#include "guest-fuse/agent/place.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <mntent.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <xxhash.h>

#include "guest-fuse/agent/identical.h"
#include "guest-fuse/open.h"
#include "protocol/cleanup.h"
#include "protocol/clock.h"
#include "protocol/paths.h"

enum { MOUNT_MS = 60000, UNMOUNT_TRIES = 16 };

#define TYPE "fuse.bindshare"

extern char **environ;

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
              const struct link_share *share)
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
	place->made = (struct place_made){ 0 };
	place_done(place);
	*place = fresh;
	return 0;
}

static int fail(struct place *place, int error, const char *what, const char *path)
{
	(void) snprintf(place->error, sizeof(place->error), "%s %s: %s", what, path, strerror(-error));
	return error;
}

static int remember(struct place_made *made, const char *path)
{
	if (made->count >= PLACE_MADE_MAX)
		return -ENAMETOOLONG;
	made->paths[made->count] = strdup(path);
	return made->paths[made->count++] == NULL ? -ENOMEM : 0;
}

/* Removes the directories that were made since there were count of them, as far as they are empty and the guest's. */
static void remove_made(struct place_made *made, size_t count)
{
	while (made->count > count) {
		char *path = made->paths[--made->count], *name = strrchr(path, '/');
		_cleanup_close_ int parent = -EBADF;

		*name = '\0';
		parent = open_plain(name == path ? "/" : path, O_PATH | O_DIRECTORY);
		if (parent >= 0 && !open_is_shared(parent))
			(void) unlinkat(parent, name + 1, AT_REMOVEDIR);
		free(path);
	}
}

/*
 * Goes down a normal path, makes the directories that are not there, and says which. A symbolic link on the way is the
 * guest's own: -ELOOP. 0 or a negative errno; *ret_fd is the last directory.
 */
static int make_directories(struct place *place, const char *path, int *ret_fd)
{
	_cleanup_close_ int fd = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	char done[PATH_MAX] = "/";

	for (const char *name = path + 1; fd >= 0 && *name != '\0';) {
		size_t length = strcspn(name, "/");
		int next, r = paths_append(done, name, length);
		const char *last = strrchr(done, '/') + 1;

		if (r == 0 && !open_is_shared(fd)) {
			if (mkdirat(fd, last, 0755) == 0)
				r = remember(&place->made, done);
			else if (errno != EEXIST)
				r = -errno;
		}
		if (r < 0)
			return r;
		next = openat(fd, last, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (next < 0)
			return errno == ENOTDIR ? -ELOOP : -errno;
		close_fd(fd);
		fd = next;
		name += length;
		name += strspn(name, "/");
	}
	if (fd < 0)
		return -errno;
	*ret_fd = TAKE_FD(fd);
	return 0;
}

static bool is_empty(int directory)
{
	int fd = openat(directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *entries = fd < 0 ? NULL : fdopendir(fd);
	const struct dirent *entry;
	bool empty = entries != NULL;

	while (empty && (entry = readdir(entries)) != NULL)
		empty = strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0;
	if (entries != NULL)
		(void) closedir(entries);
	else
		close_fd(fd);
	return empty;
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

/* Without the program, its number and the level before it. */
static const char *text_of(const char *line, size_t length)
{
	static const char program[] = "bindshare-mount";
	const char *text = line;

	if (strncmp(line, program, sizeof(program) - 1) != 0)
		return line;
	for (unsigned i = 0; i < (line[sizeof(program) - 1] == '[' ? 2 : 1); i++) {
		const char *end = memmem(text, length - (size_t) (text - line), ": ", 2);

		if (end == NULL)
			return line;
		text = end + 2;
	}
	return text;
}

/* bindshare-mount's last words, in one line. */
static void take_words(struct place *place, const char *words)
{
	size_t have = 0;

	for (const char *line = words; *line != '\0';) {
		size_t length = strcspn(line, "\n");
		const char *text = text_of(line, length);

		length -= (size_t) (text - line);
		line = text;
		/* It becomes a part of a sentence. */
		if (have + length + 3 < sizeof(place->error))
			have += (size_t) snprintf(place->error + have, sizeof(place->error) - have, "%s%.*s",
			                          have > 0 ? "; " : "",
			                          (int) length - (length > 0 && line[length - 1] == '.' ? 1 : 0), line);
		line += length;
		line += strspn(line, "\n");
	}
}

/* Reads until the other end is closed, or the time is over. */
static void read_words(int fd, char *words, size_t size, int64_t until)
{
	size_t have = 0;

	for (;;) {
		struct pollfd poller = { .fd = fd, .events = POLLIN };
		int64_t left = until - clock_ms();
		char over[512];
		ssize_t n;

		if (left <= 0 || poll(&poller, 1, (int) left) <= 0)
			break;
		n = have + 1 < size ? read(fd, words + have, size - have - 1) : read(fd, over, sizeof(over));
		if (n <= 0)
			break;
		if (have + 1 < size)
			have += (size_t) n;
	}
	words[have] = '\0';
}

/* The program beside this one, or the one in PATH. */
static void find_program(char path[PATH_MAX])
{
	ssize_t n = readlink("/proc/self/exe", path, PATH_MAX - 1);
	char *slash;

	path[n < 0 ? 0 : n] = '\0';
	slash = strrchr(path, '/');
	if (slash != NULL && (size_t) (slash - path) + sizeof("/bindshare-mount") < PATH_MAX) {
		strcpy(slash, "/bindshare-mount");
		if (access(path, X_OK) == 0)
			return;
	}
	strcpy(path, "bindshare-mount");
}

/* Starts it in a session of its own, with a pipe for its words. 0 or a negative errno. */
static int spawn(char *const argv[], int words, pid_t *ret_pid)
{
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attributes;
	int r;

	posix_spawn_file_actions_init(&actions);
	posix_spawnattr_init(&attributes);
	(void) posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
	(void) posix_spawn_file_actions_adddup2(&actions, words, STDOUT_FILENO);
	(void) posix_spawn_file_actions_adddup2(&actions, words, STDERR_FILENO);
	(void) posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSID);
	r = posix_spawnp(ret_pid, argv[0], &actions, &attributes, argv, environ);
	posix_spawn_file_actions_destroy(&actions);
	posix_spawnattr_destroy(&attributes);
	return -r;
}

/* Runs a command, which returns when the mount serves. 0 and its status and words, or a negative errno. */
static int run_command(char *const argv[], int *ret_status, char *words, size_t size)
{
	int64_t until = clock_ms() + MOUNT_MS;
	int pipes[2], r;
	pid_t pid;

	*ret_status = -1;
	words[0] = '\0';
	if (pipe2(pipes, O_CLOEXEC) < 0)
		return -errno;
	r = spawn(argv, pipes[1], &pid);
	close_fd(pipes[1]);
	if (r == 0) {
		read_words(pipes[0], words, size, until);
		while (waitpid(pid, ret_status, WNOHANG) == 0 && clock_ms() < until)
			(void) poll(NULL, 0, 5);
		if (*ret_status == -1) {
			(void) kill(pid, SIGKILL);
			(void) waitpid(pid, ret_status, 0);
		}
	}
	close_fd(pipes[0]);
	return r;
}

/*
 * As a service of systemd: what goes on when guestd ends is to be in a unit of its own, or systemd takes it for what a
 * service left that did not end cleanly. Engines end before it when the guest does.
 */
static const char *const scope[] = {
	"systemd-run",   "--quiet",         "--collect",
	"--scope",       "--property",      "Before=docker.service containerd.service podman.service",
	"--description", "bindshare share", "--"
};

static bool is_service(void)
{
	return getenv("INVOCATION_ID") != NULL && access("/run/systemd/system", F_OK) == 0;
}

/* Runs bindshare-mount. 0 or a negative errno. */
static int run_mount(struct place *place, char *options)
{
	char program[PATH_MAX], words[1024];
	char *argv[ARRAY_SIZE(scope) + 6] = { NULL }, **own = argv + ARRAY_SIZE(scope);
	int status, r;

	find_program(program);
	for (size_t i = 0; i < ARRAY_SIZE(scope); i++)
		argv[i] = (char *) scope[i];
	own[0] = program;
	own[1] = place->source;
	own[2] = (char *) where(place);
	own[3] = (char *) "-o";
	own[4] = options;
	r = run_command(is_service() ? argv : own, &status, words, sizeof(words));
	/* Nothing of it was run then. */
	if (is_service() && (r < 0 || strncmp(words, "Failed to ", 10) == 0))
		r = run_command(own, &status, words, sizeof(words));
	if (r < 0)
		return fail(place, r, "cannot start", program);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return 0;
	take_words(place, words);
	if (place->error[0] == '\0')
		(void) snprintf(place->error, sizeof(place->error), "bindshare-mount ended with status %d", status);
	return -EIO;
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
	r = make_directories(place, where(place), &directory);
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
		r = run_mount(place, options);
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

	return fstat(directory, &st) == 0 && !mounted_there(place->path, source) && is_empty(directory);
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
	else if (make_directories(place, place->path, &directory) == 0 && !is_free(place, directory))
		directory = close_fd(directory);
	place->identical = directory >= 0 && bind_at(place, directory) == 0;
	if (!place->identical)
		remove_made(&place->made, made);
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
		remove_made(&place->made, made);
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
	remove_made(&place->made, 0);
	place->identical = false;
}

void place_done(struct place *place)
{
	place->fd = close_fd(place->fd);
	while (place->made.count > 0)
		free(place->made.paths[--place->made.count]);
	free(place->path);
	free(place->options);
	free(place->mount);
	free(place->apart);
	free(place->source);
	free(place->alive);
}
