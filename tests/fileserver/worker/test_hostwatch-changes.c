/* SPDX-License-Identifier: Apache-2.0 */
/* Every kind of change in a watched directory is told with its bits and names, by fanotify and by inotify. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cmocka.h>

#include "protocol/cleanup.h"
#include "tests/fileserver/worker/watching.h"
#include "tests/support/scratch.h"

enum { FIRST = 1, SECOND = 2, SUB = 3, SIZE = 8192 };
enum {
	NAME = HOSTWATCH_NAME,
	ATTRIBUTES = HOSTWATCH_ATTRIBUTES,
	CONTENTS = HOSTWATCH_CONTENTS,
	GONE = HOSTWATCH_GONE,
	DIRECTORY = 1 << 16,    /* of a directory */
	INOTIFY_ONLY = 1 << 17, /* what one of them does not tell is said in hostwatch.h */
};

static enum hostwatch_kind fanotify = HOSTWATCH_FANOTIFY, inotify = HOSTWATCH_INOTIFY;
static struct watching watching;

/* Each works in a directory with: first/file, first/other, first/sub/, first/empty/, second/, outside/file. */
static int written(const char *path, int flags)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC | flags, 0644);
	bool done = fd >= 0 && write(fd, "text", 4) == 4;

	return fd >= 0 && close(fd) == 0 && done ? 0 : -1;
}

static int write_file(void)
{
	return written("first/file", O_APPEND);
}

static int truncate_on_open(void)
{
	return written("first/file", O_TRUNC);
}

static int truncate_file(void)
{
	return truncate("first/file", 3);
}

static int allocate(int mode)
{
	int fd = open("first/file", O_WRONLY | O_CLOEXEC), r = fallocate(fd, mode, 0, 4096);

	(void) close(fd);
	return r;
}

static int reserve(void)
{
	return allocate(0);
}

static int punch_hole(void)
{
	return allocate(FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE);
}

static int copy_range(void)
{
	int from = open("outside/file", O_RDONLY | O_CLOEXEC), to = open("first/file", O_WRONLY | O_CLOEXEC);
	ssize_t n = copy_file_range(from, NULL, to, NULL, 4, 0);

	(void) close(from);
	(void) close(to);
	return n == 4 ? 0 : -1;
}

static int store_in_mapping(void)
{
	int fd = open("first/file", O_RDWR | O_CLOEXEC);
	char *at = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	(void) close(fd);
	if (at == MAP_FAILED)
		return -1;
	at[0] = '!';
	return munmap(at, SIZE);
}

static int set_mode(void)
{
	return chmod("first/file", 0600);
}

static int set_times(void)
{
	return utimensat(AT_FDCWD, "first/file", (struct timespec[2]){ { 1, 1 }, { 2, 2 } }, 0);
}

static int set_xattr(void)
{
	return setxattr("first/file", "user.test", "value", 5, 0);
}

static int read_file(void)
{
	char text[4];
	int fd = open("first/file", O_RDONLY | O_CLOEXEC);
	ssize_t n = read(fd, text, sizeof(text));

	(void) close(fd);
	return n == 4 ? 0 : -1;
}

static int make_file(void)
{
	return written("first/new", O_CREAT | O_EXCL);
}

static int make_directory(void)
{
	return mkdir("first/new", 0755);
}

static int make_symlink(void)
{
	return symlink("file", "first/new");
}

static int make_fifo(void)
{
	return mkfifo("first/new", 0644);
}

static int make_link(void)
{
	return link("first/file", "first/new");
}

static int make_link_elsewhere(void)
{
	return link("first/file", "outside/new");
}

static int remove_file(void)
{
	return unlink("first/file");
}

static int remove_directory(void)
{
	return rmdir("first/empty");
}

static int move_in(void)
{
	return rename("outside/file", "first/new");
}

static int move_out(void)
{
	return rename("first/file", "outside/new");
}

static int move_within(void)
{
	return rename("first/file", "first/new");
}

static int move_over(void)
{
	return rename("first/file", "first/other");
}

static int move_between(void)
{
	return rename("first/empty", "second/empty");
}

static int exchange(void)
{
	return renameat2(AT_FDCWD, "first/file", AT_FDCWD, "second/file", RENAME_EXCHANGE);
}

static int set_mode_of_directory(void)
{
	return chmod("first", 0711);
}

static int set_mode_of_unwatched_directory(void)
{
	return chmod("first/empty", 0711);
}

static int set_mode_of_watched_subdirectory(void)
{
	return chmod("first/sub", 0711);
}

static int make_in_subdirectory(void)
{
	return mkdir("first/sub/new", 0711);
}

static int move_watched_directory(void)
{
	return rename("first/sub", "second/sub");
}

static int write_after_a_move(void)
{
	return rename("first/sub", "outside/sub") < 0 ? -1 : written("outside/sub/new", O_CREAT);
}

static int remove_watched_directory(void)
{
	return rmdir("first/sub");
}

static int move_over_watched_directory(void)
{
	return rename("first/empty", "first/sub");
}

struct change {
	const char *title;
	int (*act)(void);
	struct {
		uint64_t watch;
		unsigned what;
		const char *name;
	} expected[4];
};

static const struct change changes[] = {
	{ "write", write_file, { { FIRST, CONTENTS, "file" } } },
	{ "O_TRUNC", truncate_on_open, { { FIRST, CONTENTS, "file" } } },
	{ "truncate", truncate_file, { { FIRST, CONTENTS, "file" } } },
	{ "fallocate", reserve, { { FIRST, CONTENTS, "file" } } },
	{ "punch hole", punch_hole, { { FIRST, CONTENTS, "file" } } },
	{ "copy_file_range", copy_range, { { FIRST, CONTENTS, "file" } } },
	{ "mapping", store_in_mapping, { { FIRST, CONTENTS, "file" } } },
	{ "chmod", set_mode, { { FIRST, ATTRIBUTES, "file" } } },
	{ "utimens", set_times, { { FIRST, ATTRIBUTES, "file" } } },
	{ "setxattr", set_xattr, { { FIRST, ATTRIBUTES, "file" } } },
	{ "read", read_file, { { 0 } } },
	{ "create", make_file, { { FIRST, NAME | CONTENTS, "new" } } },
	{ "mkdir", make_directory, { { FIRST, NAME | DIRECTORY, "new" } } },
	{ "symlink", make_symlink, { { FIRST, NAME, "new" } } },
	{ "mkfifo", make_fifo, { { FIRST, NAME, "new" } } },
	{ "link", make_link, { { FIRST, NAME, "new" } } },
	{ "link elsewhere", make_link_elsewhere, { { 0 } } },
	{ "unlink", remove_file, { { FIRST, NAME, "file" } } },
	{ "rmdir", remove_directory, { { FIRST, NAME | DIRECTORY, "empty" } } },
	{ "rename in", move_in, { { FIRST, NAME, "new" } } },
	{ "rename out", move_out, { { FIRST, NAME, "file" } } },
	{ "rename within", move_within, { { FIRST, NAME, "file" }, { FIRST, NAME, "new" } } },
	{ "rename over", move_over, { { FIRST, NAME, "file" }, { FIRST, NAME, "other" } } },
	{ "rename between",
	  move_between,
	  { { FIRST, NAME | DIRECTORY, "empty" }, { SECOND, NAME | DIRECTORY, "empty" } } },
	{ "exchange", exchange, { { FIRST, NAME, "file" }, { SECOND, NAME, "file" } } },
	{ "chmod of it", set_mode_of_directory, { { FIRST, ATTRIBUTES | DIRECTORY, "" } } },
	{ "chmod of an unwatched subdirectory",
	  set_mode_of_unwatched_directory,
	  { { FIRST, ATTRIBUTES | DIRECTORY | INOTIFY_ONLY, "empty" } } },
	{ "chmod of a watched subdirectory",
	  set_mode_of_watched_subdirectory,
	  { { SUB, ATTRIBUTES | DIRECTORY, "" }, { FIRST, ATTRIBUTES | DIRECTORY | INOTIFY_ONLY, "sub" } } },
	{ "in a subdirectory", make_in_subdirectory, { { SUB, NAME | DIRECTORY, "new" } } },
	{ "rename of a watched directory",
	  move_watched_directory,
	  { { FIRST, NAME | DIRECTORY, "sub" }, { SECOND, NAME | DIRECTORY, "sub" }, { SUB, NAME | DIRECTORY, "" } } },
	{ "a moved directory keeps its watch",
	  write_after_a_move,
	  { { FIRST, NAME | DIRECTORY, "sub" }, { SUB, NAME | DIRECTORY, "" }, { SUB, NAME | CONTENTS, "new" } } },
	{ "rmdir of a watched directory",
	  remove_watched_directory,
	  { { FIRST, NAME | DIRECTORY, "sub" }, { SUB, GONE | DIRECTORY, "" } } },
	{ "rename over a watched directory",
	  move_over_watched_directory,
	  { { FIRST, NAME | DIRECTORY, "empty" },
	    { FIRST, NAME | DIRECTORY, "sub" },
	    /* Its st_nlink. */
	    { SUB, ATTRIBUTES | GONE | DIRECTORY, "" } } },
};

/* Makes what the changes work in, in a new directory, and goes there. */
static int make_scene(void)
{
	static const char *const directories[] = { "first", "first/sub", "first/empty", "second", "outside" };
	static const char *const files[] = { "first/file", "first/other", "second/file", "outside/file" };
	char name[] = "scene-XXXXXX";

	if (mkdtemp(name) == NULL || chdir(name) < 0)
		return -errno;
	for (size_t i = 0; i < ARRAY_SIZE(directories); i++)
		if (mkdir(directories[i], 0755) < 0)
			return -errno;
	for (size_t i = 0; i < ARRAY_SIZE(files); i++)
		if (written(files[i], O_CREAT | O_EXCL) < 0 || truncate(files[i], SIZE) < 0)
			return -errno;
	return 0;
}

static int act_there(const void *argument)
{
	const struct change *change = argument;

	return change->act() == 0 ? 0 : 1;
}

static int complain(const struct change *change, const char *about, const char *name)
{
	print_error("%s: %s \"%s\"\n", change->title, about, name);
	for (unsigned i = 0; i < watching.count; i++)
		print_error("    watch %u: %#x, own %#x of \"%s\"\n", (unsigned) watching.seen[i].watch,
		            watching.seen[i].what, watching.seen[i].own, watching.seen[i].name);
	return 1;
}

/* How many events are not as expected, each said. */
static int compare(const struct change *change, bool elsewhere)
{
	unsigned expected = 0;
	int wrong = 0;

	for (size_t i = 0; i < ARRAY_SIZE(change->expected) && change->expected[i].name != NULL; i++) {
		unsigned what = change->expected[i].what, own;
		const char *name = change->expected[i].name;
		const struct seen *seen = watching_seen(&watching, change->expected[i].watch, name);

		if ((what & INOTIFY_ONLY) != 0 && watching.kind == HOSTWATCH_FANOTIFY)
			continue;
		expected++;
		own = elsewhere || watching.kind == HOSTWATCH_INOTIFY ? 0 : what & (NAME | ATTRIBUTES | CONTENTS);
		if (seen == NULL)
			wrong += complain(change, "nothing about", name);
		else if (seen->what != (what & ~(DIRECTORY | INOTIFY_ONLY)) ||
		         seen->directory != ((what & DIRECTORY) != 0))
			wrong += complain(change, "other bits of", name);
		else if ((seen->own & ~(unsigned) GONE) != own)
			wrong += complain(change, "taken for another's or one's own", name);
	}
	if (watching.count != expected || watching.overflows != 0)
		wrong += complain(change, "something more", "");
	return wrong;
}

/* As the worker adds it: the directory is not kept open. */
static int run_change(const struct change *change, bool elsewhere)
{
	int wrong = 1;

	if (make_scene() == 0 && watching_add(&watching, "first", FIRST) == 0 &&
	    watching_add(&watching, "second", SECOND) == 0 && watching_add(&watching, "first/sub", SUB) == 0 &&
	    (elsewhere ? watching_elsewhere(act_there, change) : act_there(change)) == 0 &&
	    watching_read(&watching) >= 0)
		wrong = compare(change, elsewhere);
	else
		print_error("%s: %s\n", change->title, strerror(errno));
	/* What inotify tells of the removal. */
	if (hostwatch_flush(watching.hostwatch) < 0 || watching_read(&watching) < 0 || chdir("..") < 0)
		wrong++;
	return wrong;
}

struct run {
	enum hostwatch_kind kind;
	bool elsewhere;
};

static int run_all(const void *argument)
{
	const struct run *run = argument;
	int wrong = 0;

	if (watching_begin(&watching, run->kind) < 0)
		return 1;
	for (size_t i = 0; i < ARRAY_SIZE(changes); i++)
		wrong += run_change(&changes[i], run->elsewhere);
	watching_end(&watching);
	return wrong;
}

static void every_change_is_told_with_its_bits_and_names(void **state)
{
	const enum hostwatch_kind *kind = *state;

	assert_int_equal(run_all(&(struct run){ *kind, true }), 0);
}

static void every_change_of_ones_own_is_told_and_known_as_such(void **state)
{
	const enum hostwatch_kind *kind = *state;

	assert_int_equal(run_all(&(struct run){ *kind, false }), 0);
}

static void an_ordinary_user_is_told_the_same(void **state)
{
	const enum hostwatch_kind *kind = *state;

	assert_int_equal(watching_unprivileged(false, run_all, &(struct run){ *kind, true }), 0);
	assert_int_equal(watching_unprivileged(false, run_all, &(struct run){ *kind, false }), 0);
}

static void so_is_the_worker_in_its_user_namespace(void **state)
{
	const enum hostwatch_kind *kind = *state;
	int r = watching_unprivileged(true, run_all, &(struct run){ *kind, true });

	if (r == WATCHING_NO_NAMESPACE)
		skip();
	assert_int_equal(r, 0);
	assert_int_equal(watching_unprivileged(true, run_all, &(struct run){ *kind, false }), 0);
}

/* In a directory that the user 65534 can work in. */
static int set_up(void **state)
{
	const char *path = scratch_make();

	return chdir(path) == 0 && (geteuid() != 0 || chown(path, 65534, 65534) == 0) ? 0 : -1;
}

static int tear_down(void **state)
{
	scratch_remove();
	return chdir("/");
}

#define TEST_OF(test, kind)                                                                                            \
	{                                                                                                              \
#test "_by_" #kind, test, set_up, tear_down, &(kind)                                                   \
	}
#define TEST(test) TEST_OF(test, fanotify), TEST_OF(test, inotify)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(every_change_is_told_with_its_bits_and_names),
		TEST(every_change_of_ones_own_is_told_and_known_as_such),
		TEST(an_ordinary_user_is_told_the_same),
		TEST(so_is_the_worker_in_its_user_namespace),
	};

	return cmocka_run_group_tests_name("hostwatch-changes", tests, NULL, NULL);
}
