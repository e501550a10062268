/* SPDX-License-Identifier: Apache-2.0 */
/* What the server is steered by. */
#include "fileserver/broker/steering.h"

#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "fileserver/common/protect-list.h"
#include "protocol/cleanup.h"

enum { LINKS_MAX = 40, ABOVE_MAX = 256 };

/* Not in every linux/magic.h; statfs(2) has them. */
enum { MAGIC_NTFS = 0x5346544e, MAGIC_NTFS3 = 0x7366746e, MAGIC_HFS = 0x4244, MAGIC_HFS_PLUS = 0x482b };

/* The list while it grows. */
struct list {
	struct protect_entry *entries;
	size_t count, size;
	int error;
};

static void list_add(struct list *list, const struct statx *stx, enum protect_kind kind, uint32_t flags,
                     const char *name, const struct statx *child, size_t subject)
{
	struct protect_entry entry = {
		.device = PROTECT_DEVICE(stx->stx_dev_major, stx->stx_dev_minor),
		.ino = stx->stx_ino,
		.kind = kind,
		.flags = flags,
		.subject = (uint32_t) subject,
		.child_device = child == NULL ? 0 : PROTECT_DEVICE(child->stx_dev_major, child->stx_dev_minor),
		.child_ino = child == NULL ? 0 : child->stx_ino,
		.birth_seconds = (stx->stx_mask & STATX_BTIME) != 0 ? stx->stx_btime.tv_sec : 0,
		.birth_nanoseconds = (stx->stx_mask & STATX_BTIME) != 0 ? stx->stx_btime.tv_nsec : 0,
	};

	if (child != NULL && (child->stx_mask & STATX_BTIME) != 0) {
		entry.child_birth_seconds = child->stx_btime.tv_sec;
		entry.child_birth_nanoseconds = child->stx_btime.tv_nsec;
	}
	if (strlen(name) >= sizeof(entry.name))
		return; /* no file system has such a name, so that nothing can be made at it */
	strcpy(entry.name, name);
	for (size_t i = 0; i < list->count; i++) {
		const struct protect_entry *there = &list->entries[i];

		if (there->device == entry.device && there->ino == entry.ino && there->kind == entry.kind &&
		    there->flags == entry.flags && there->subject == entry.subject &&
		    strcmp(there->name, entry.name) == 0)
			return;
	}
	if (list->count == list->size) {
		struct protect_entry *entries = NULL;
		size_t size = list->size == 0 ? 256 : 2 * list->size;

		if (size <= PROTECT_ENTRIES_MAX)
			entries = reallocarray(list->entries, size, sizeof(*entries));
		if (entries == NULL) {
			list->error = -ENOMEM;
			return;
		}
		list->entries = entries;
		list->size = size;
	}
	list->entries[list->count++] = entry;
}

/* True: the name, which is there, is found in the other case, too; or it has none. */
static bool is_found_in_other_case(int directory, const char *name)
{
	char other[PATH_MAX];
	struct stat st, found;
	bool letters = false;
	size_t i;

	for (i = 0; name[i] != '\0' && i + 1 < sizeof(other); i++) {
		bool letter = (name[i] >= 'a' && name[i] <= 'z') || (name[i] >= 'A' && name[i] <= 'Z');

		other[i] = (char) (letter ? name[i] ^ 0x20 : name[i]);
		letters = letters || letter;
	}
	other[i] = '\0';
	if (!letters || fstatat(directory, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return true;
	return fstatat(directory, other, &found, AT_SYMLINK_NOFOLLOW) == 0 && found.st_ino == st.st_ino &&
	       found.st_dev == st.st_dev;
}

/* True: the directory may take several spellings for this name, or it cannot be told. */
static bool is_folded(int directory, const char *name, bool there)
{
	/* These may do so, by their kind and by how they are mounted. */
	static const uint32_t types[] = { MSDOS_SUPER_MAGIC, EXFAT_SUPER_MAGIC, MAGIC_NTFS,      MAGIC_NTFS3,
		                          MAGIC_HFS,         MAGIC_HFS_PLUS,    SMB_SUPER_MAGIC, CIFS_SUPER_MAGIC,
		                          SMB2_SUPER_MAGIC,  V9FS_MAGIC,        FUSE_SUPER_MAGIC };
	_cleanup_close_ int fd = openat(directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct statfs st;
	int flags = 0;

	if (fstatfs(directory, &st) < 0)
		return true;
	for (size_t i = 0; i < ARRAY_SIZE(types); i++)
		if ((uint32_t) st.f_type == types[i])
			return !there || is_found_in_other_case(directory, name);
	return fd < 0 || (ioctl(fd, FS_IOC_GETFLAGS, &flags) == 0 && (flags & FS_CASEFOLD_FL) != 0);
}

static int stat_of(int fd, struct statx *ret_stx)
{
	return statx(fd, "", AT_EMPTY_PATH | AT_NO_AUTOMOUNT, STATX_BASIC_STATS | STATX_BTIME, ret_stx) < 0 ? -errno
	                                                                                                    : 0;
}

/* A walk down one subject's path. */
struct walk {
	struct list *list;
	const struct steering_subject *subject;
	size_t number;
	int at; /* the directory, O_PATH */
	char rest[2 * PATH_MAX];
	unsigned links;
};

/* The end of the way is there. */
static void take_object(struct walk *walk, const struct statx *directory, const struct statx *object)
{
	unsigned flags = walk->subject->flags;

	if (S_ISDIR(object->stx_mode))
		list_add(walk->list, object, PROTECT_WAY, 0, "", NULL, walk->number);
	else
		list_add(walk->list, object, PROTECT_OBJECT, (flags & STEERING_SECRET) != 0 ? PROTECT_SECRET : 0, "",
		         NULL, walk->number);
	if ((flags & STEERING_TREE) != 0 && S_ISDIR(object->stx_mode))
		list_add(walk->list, object, PROTECT_TREE, 0, "", NULL, walk->number);
	if ((flags & STEERING_SEAL) != 0)
		list_add(walk->list, S_ISDIR(object->stx_mode) ? object : directory, PROTECT_SEALED, 0, "", NULL,
		         walk->number);
}

/* Puts a link's target before the rest of the way. False: the way ends here. */
static bool enter_link(struct walk *walk, int link)
{
	char target[PATH_MAX], joined[sizeof(walk->rest)];
	ssize_t length = readlinkat(link, "", target, sizeof(target) - 1);

	if (length <= 0 || ++walk->links > LINKS_MAX)
		return false;
	target[length] = '\0';
	if (snprintf(joined, sizeof(joined), "%s/%s", target, walk->rest) >= (int) sizeof(joined))
		return false;
	strcpy(walk->rest, joined);
	if (target[0] == '/') {
		close_fd(walk->at);
		walk->at = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	}
	return walk->at >= 0;
}

/* Takes the next component off the rest. False: there is none. */
static bool next_component(struct walk *walk, char name[PATH_MAX])
{
	size_t skip = strspn(walk->rest, "/"), length = strcspn(walk->rest + skip, "/");

	if (length == 0 || length >= PATH_MAX)
		return false;
	memcpy(name, walk->rest + skip, length);
	name[length] = '\0';
	memmove(walk->rest, walk->rest + skip + length, strlen(walk->rest + skip + length) + 1);
	return true;
}

/* One component. False: the way ends here. */
static bool step(struct walk *walk, const char *name)
{
	bool secret = (walk->subject->flags & STEERING_SECRET) != 0, last = walk->rest[strspn(walk->rest, "/")] == '\0';
	_cleanup_close_ int next = openat(walk->at, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	struct statx directory, stx;

	bool there = next >= 0 && stat_of(next, &stx) == 0;

	if (stat_of(walk->at, &directory) < 0)
		return false;
	if (strcmp(name, ".") != 0 && strcmp(name, "..") != 0) {
		list_add(walk->list, &directory, PROTECT_WAY, 0, "", NULL, walk->number);
		list_add(walk->list, &directory, PROTECT_NAME,
		         (is_folded(walk->at, name, there) ? (uint32_t) PROTECT_FOLDED : 0U) |
		                 (secret && last ? (uint32_t) PROTECT_SECRET : 0U),
		         name, there ? &stx : NULL, walk->number);
	}
	/* Its directory is sealed also while it is not there: it may be on its way to its name. */
	if (last && (walk->subject->flags & STEERING_SEAL) != 0)
		list_add(walk->list, &directory, PROTECT_SEALED, 0, "", NULL, walk->number);
	if (!there)
		return false;
	if (S_ISLNK(stx.stx_mode))
		return enter_link(walk, next);
	if (last)
		take_object(walk, &directory, &stx);
	if (!S_ISDIR(stx.stx_mode))
		return false;
	close_fd(walk->at);
	walk->at = TAKE_FD(next);
	return true;
}

static void walk_to(struct list *list, const struct steering_subject *subject, size_t number)
{
	struct walk walk = { .list = list, .subject = subject, .number = number };
	char name[PATH_MAX];

	walk.at = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	(void) snprintf(walk.rest, sizeof(walk.rest), "%s", subject->path);
	while (walk.at >= 0 && next_component(&walk, name) && step(&walk, name))
		;
	if (walk.at < 0)
		list->error = -EMFILE;
	close_fd(walk.at);
}

static int by_ino(const void *left, const void *right)
{
	const struct protect_entry *one = left, *other = right;

	if (one->ino != other->ino)
		return one->ino < other->ino ? -1 : 1;
	return memcmp(one, other, sizeof(*one));
}

/* A memfd that cannot be changed any more. */
static int publish(const struct list *list)
{
	_cleanup_close_ int fd = memfd_create("bindshare-protect", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	size_t size = list->count * sizeof(*list->entries);

	if (fd < 0 || (size > 0 && write(fd, list->entries, size) != (ssize_t) size) ||
	    fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL) < 0)
		return -EBADF;
	return TAKE_FD(fd);
}

bool steering_look(struct steering *steering)
{
	struct list list = { 0 };

	for (size_t i = 0; i < steering->count; i++)
		walk_to(&list, &steering->subjects[i], i);
	if (list.count > 0)
		qsort(list.entries, list.count, sizeof(*list.entries), by_ino);
	/* Half a list is none: the one before holds. */
	if (list.error != 0 ||
	    (steering->fd >= 0 && list.count == steering->entry_count &&
	     (list.count == 0 || memcmp(list.entries, steering->entries, list.count * sizeof(*list.entries)) == 0))) {
		free(list.entries);
		return false;
	}
	close_fd(steering->fd);
	steering->fd = publish(&list);
	free(steering->entries);
	steering->entries = list.entries;
	steering->entry_count = list.count;
	return true;
}

int steering_add(struct steering *steering, const char *what, const char *path, unsigned flags)
{
	struct steering_subject *subject = &steering->subjects[steering->count];

	if (path == NULL || path[0] != '/')
		return 0;
	for (size_t i = 0; i < steering->count; i++)
		if (strcmp(steering->subjects[i].path, path) == 0) {
			steering->subjects[i].flags |= flags;
			return 0;
		}
	if (steering->count == STEERING_SUBJECTS_MAX)
		return -ENOMEM;
	*subject = (struct steering_subject){ .what = what, .path = strdup(path), .flags = flags };
	if (subject->path == NULL)
		return -ENOMEM;
	steering->count++;
	return 0;
}

/* A library that the user may not change is nothing that a guest could. */
static int add_library(struct dl_phdr_info *info, size_t size, void *context)
{
	char directory[PATH_MAX];
	const char *slash = strrchr(info->dlpi_name, '/');

	if (slash == NULL || slash == info->dlpi_name || info->dlpi_name[0] != '/' ||
	    snprintf(directory, sizeof(directory), "%.*s", (int) (slash - info->dlpi_name), info->dlpi_name) >=
	            (int) sizeof(directory))
		return 0;
	if (access(info->dlpi_name, W_OK) < 0 && access(directory, W_OK) < 0)
		return 0;
	return steering_add(context, "program's library", info->dlpi_name, STEERING_SEAL);
}

/* $variable/rest, or $HOME/otherwise/rest. */
static int add_of_user(struct steering *steering, const char *variable, const char *otherwise, const char *rest)
{
	const char *base = getenv(variable), *home = getenv("HOME");
	char path[PATH_MAX];
	int length;

	if (base != NULL && base[0] == '/')
		length = snprintf(path, sizeof(path), "%s/%s", base, rest);
	else if (otherwise != NULL && home != NULL)
		length = snprintf(path, sizeof(path), "%s/%s/%s", home, otherwise, rest);
	else
		return 0;
	return length >= (int) sizeof(path)
	               ? -ENAMETOOLONG
	               : steering_add(steering, "service manager's configuration", path, STEERING_TREE);
}

int steering_add_own(struct steering *steering)
{
	char program[PATH_MAX];
	ssize_t length = readlink("/proc/self/exe", program, sizeof(program) - 1);
	int r = length < 0 ? -errno : 0;

	if (r == 0) {
		program[length] = '\0';
		r = steering_add(steering, "program", program, STEERING_SEAL);
	}
	if (r == 0)
		r = dl_iterate_phdr(add_library, steering);
	if (r == 0)
		r = add_of_user(steering, "XDG_CONFIG_HOME", ".config", "systemd");
	if (r == 0)
		r = add_of_user(steering, "XDG_CONFIG_HOME", ".config", "environment.d");
	if (r == 0)
		r = add_of_user(steering, "XDG_DATA_HOME", ".local/share", "systemd");
	if (r == 0)
		r = add_of_user(steering, "XDG_RUNTIME_DIR", NULL, "systemd");
	return r;
}

const struct steering_subject *steering_beneath(const struct steering *steering, const char *directory,
                                                const struct steering_subject *from)
{
	size_t next = from == NULL ? 0 : (size_t) (from - steering->subjects) + 1, found = steering->count;
	struct statx stx;

	if (statx(AT_FDCWD, directory, AT_NO_AUTOMOUNT, STATX_BASIC_STATS, &stx) < 0)
		return NULL;
	for (size_t i = 0; i < steering->entry_count; i++) {
		const struct protect_entry *entry = &steering->entries[i];

		if (entry->ino == stx.stx_ino && entry->kind == PROTECT_NAME && entry->subject >= next &&
		    entry->subject < found && entry->device == PROTECT_DEVICE(stx.stx_dev_major, stx.stx_dev_minor))
			found = entry->subject;
	}
	return found < steering->count ? &steering->subjects[found] : NULL;
}

static bool is_tree(const struct steering *steering, const struct statx *stx)
{
	for (size_t i = 0; i < steering->entry_count; i++)
		if (steering->entries[i].kind == PROTECT_TREE && steering->entries[i].ino == stx->stx_ino &&
		    steering->entries[i].device == PROTECT_DEVICE(stx->stx_dev_major, stx->stx_dev_minor))
			return true;
	return false;
}

bool steering_holds(const struct steering *steering, int directory)
{
	_cleanup_close_ int at = openat(directory, ".", O_PATH | O_DIRECTORY | O_CLOEXEC);
	struct statx stx, above;

	if (at < 0 || stat_of(at, &stx) < 0)
		return true;
	for (unsigned i = 0; i < ABOVE_MAX; i++) {
		int up;

		if (is_tree(steering, &stx))
			return true;
		up = openat(at, "..", O_PATH | O_DIRECTORY | O_CLOEXEC);
		close_fd(at);
		at = up;
		if (at < 0 || stat_of(at, &above) < 0)
			return true;
		if (above.stx_ino == stx.stx_ino && above.stx_dev_major == stx.stx_dev_major &&
		    above.stx_dev_minor == stx.stx_dev_minor)
			return false;
		stx = above;
	}
	return true;
}

void steering_done(struct steering *steering)
{
	for (size_t i = 0; i < steering->count; i++)
		free(steering->subjects[i].path);
	free(steering->entries);
	close_fd(steering->fd);
	*steering = (struct steering){ .fd = -EBADF };
}
