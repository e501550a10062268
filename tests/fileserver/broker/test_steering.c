/* SPDX-License-Identifier: Apache-2.0 */
/* The list of what the server is steered by: each step of the way to it, be it there or not, and what changes it. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "fileserver/broker/steering.h"
#include "fileserver/common/protect-list.h"
#include "tests/support/scratch.h"

static struct steering steering;

static int set_up(void **state)
{
	steering = (struct steering){ .fd = -EBADF };
	(void) scratch_make();
	(void) scratch_directory("top");
	(void) scratch_directory("top/in");
	(void) scratch_directory("other");
	return 0;
}

static int tear_down(void **state)
{
	steering_done(&steering);
	scratch_remove();
	return 0;
}

static void steer(const char *name, unsigned flags)
{
	assert_int_equal(steering_add(&steering, "settings file", scratch_path(name), flags), 0);
	(void) steering_look(&steering);
	assert_true(steering.fd >= 0);
}

/* The entry of that kind about what is at a path; name: for PROTECT_NAME, else "". NULL: there is none. */
static const struct protect_entry *entry_of(const char *path, enum protect_kind kind, const char *name)
{
	struct stat st;

	assert_int_equal(lstat(scratch_path(path), &st), 0);
	for (size_t i = 0; i < steering.entry_count; i++)
		if (steering.entries[i].ino == st.st_ino && steering.entries[i].kind == kind &&
		    strcmp(steering.entries[i].name, name) == 0)
			return &steering.entries[i];
	return NULL;
}

static uint64_t number_of(const char *path)
{
	struct stat st;

	assert_int_equal(lstat(scratch_path(path), &st), 0);
	return st.st_ino;
}

static void each_step_of_the_way_and_the_file_are_on_the_list(void **state)
{
	scratch_file("top/in/settings", "{}", 0600);
	steer("top/in/settings", 0);
	assert_non_null(entry_of("", PROTECT_WAY, ""));
	assert_non_null(entry_of("top", PROTECT_WAY, ""));
	assert_non_null(entry_of("top/in", PROTECT_WAY, ""));
	assert_non_null(entry_of("top/in/settings", PROTECT_OBJECT, ""));
	assert_non_null(entry_of("", PROTECT_NAME, "top"));
	assert_non_null(entry_of("top", PROTECT_NAME, "in"));
	assert_int_equal(entry_of("top", PROTECT_NAME, "in")->child_ino, number_of("top/in"));
	assert_int_equal(entry_of("top/in", PROTECT_NAME, "settings")->child_ino, number_of("top/in/settings"));
	/* What lies beside it is not. */
	assert_null(entry_of("other", PROTECT_WAY, ""));
	assert_null(entry_of("top/in", PROTECT_SEALED, ""));
}

static void what_is_not_there_yet_is_protected_by_its_name(void **state)
{
	steer("top/in/later/settings", 0);
	assert_non_null(entry_of("top/in", PROTECT_NAME, "later"));
	assert_int_equal(entry_of("top/in", PROTECT_NAME, "later")->child_ino, 0);
	assert_false(steering_look(&steering));
	scratch_directory("top/in/later");
	assert_true(steering_look(&steering));
	assert_int_equal(entry_of("top/in", PROTECT_NAME, "later")->child_ino, number_of("top/in/later"));
	assert_int_equal(entry_of("top/in/later", PROTECT_NAME, "settings")->child_ino, 0);
	scratch_file("top/in/later/settings", "{}", 0600);
	assert_true(steering_look(&steering));
	assert_non_null(entry_of("top/in/later/settings", PROTECT_OBJECT, ""));
	assert_false(steering_look(&steering));
}

static void a_file_that_is_replaced_changes_the_list(void **state)
{
	uint64_t old, new;

	scratch_file("top/settings", "{}", 0600);
	steer("top/settings", 0);
	old = number_of("top/settings");
	scratch_file("top/new", "{}", 0600);
	new = number_of("top/new");
	assert_int_equal(rename(scratch_path("top/new"), scratch_path("top/settings")), 0);
	assert_true(steering_look(&steering));
	assert_int_not_equal(old, new);
	assert_int_equal(entry_of("top", PROTECT_NAME, "settings")->child_ino, new);
	assert_non_null(entry_of("top/settings", PROTECT_OBJECT, ""));
	for (size_t i = 0; i < steering.entry_count; i++)
		assert_int_not_equal(steering.entries[i].ino, old);
}

static void a_link_on_the_way_is_a_step_and_so_is_what_it_leads_to(void **state)
{
	scratch_file("top/in/settings", "{}", 0600);
	assert_int_equal(symlink("top/in", scratch_path("relative")), 0);
	assert_int_equal(symlink(scratch_path("relative/settings"), scratch_path("other/link")), 0);
	steer("other/link", 0);
	assert_non_null(entry_of("other", PROTECT_NAME, "link"));
	assert_non_null(entry_of("", PROTECT_NAME, "relative"));
	assert_non_null(entry_of("", PROTECT_NAME, "top"));
	assert_non_null(entry_of("top", PROTECT_NAME, "in"));
	assert_non_null(entry_of("top/in", PROTECT_NAME, "settings"));
	assert_non_null(entry_of("top/in/settings", PROTECT_OBJECT, ""));
}

static void links_in_a_circle_and_files_on_the_way_end_it(void **state)
{
	assert_int_equal(symlink("two", scratch_path("one")), 0);
	assert_int_equal(symlink("one", scratch_path("two")), 0);
	scratch_file("top/file", "", 0600);
	steer("one", 0);
	assert_non_null(entry_of("", PROTECT_NAME, "one"));
	assert_non_null(entry_of("", PROTECT_NAME, "two"));
	steer("top/file/settings", 0);
	assert_non_null(entry_of("top", PROTECT_NAME, "file"));
	assert_null(entry_of("top/file", PROTECT_NAME, "settings"));
}

static void a_sealed_directory_is_that_of_the_file_or_the_directory_itself(void **state)
{
	scratch_directory("log");
	/* Also before the file is there: an editor's new version of it may be on its way. */
	steer("top/in/settings", STEERING_SEAL);
	assert_non_null(entry_of("top/in", PROTECT_SEALED, ""));
	assert_null(entry_of("top", PROTECT_SEALED, ""));
	steer("log", STEERING_SEAL);
	assert_non_null(entry_of("log", PROTECT_SEALED, ""));
	scratch_file("top/in/settings", "{}", 0600);
	assert_true(steering_look(&steering));
	assert_non_null(entry_of("top/in", PROTECT_SEALED, ""));
}

static void what_is_secret_is_so_at_its_own_name_alone(void **state)
{
	scratch_file("top/in/token", "00", 0600);
	steer("top/in/token", STEERING_SECRET);
	assert_int_equal(entry_of("top/in", PROTECT_NAME, "token")->flags & PROTECT_SECRET, PROTECT_SECRET);
	assert_int_equal(entry_of("top/in/token", PROTECT_OBJECT, "")->flags & PROTECT_SECRET, PROTECT_SECRET);
	assert_int_equal(entry_of("top", PROTECT_NAME, "in")->flags & PROTECT_SECRET, 0);
	steer("top/settings", 0);
	assert_int_equal(entry_of("top", PROTECT_NAME, "settings")->flags & PROTECT_SECRET, 0);
}

static bool holds(const char *name)
{
	int fd = open(scratch_path(name), O_PATH | O_DIRECTORY | O_CLOEXEC);
	bool result = steering_holds(&steering, fd);

	assert_true(fd >= 0);
	close(fd);
	return result;
}

static void a_tree_holds_what_lies_beneath_it(void **state)
{
	scratch_directory("top/in/deep");
	steer("top/in", STEERING_TREE);
	assert_non_null(entry_of("top/in", PROTECT_TREE, ""));
	assert_true(holds("top/in"));
	assert_true(holds("top/in/deep"));
	assert_false(holds("top"));
	assert_false(holds("other"));
	/* What cannot be looked at counts as held. */
	assert_true(steering_holds(&steering, -1));
}

static void subjects_beneath_a_directory_are_told_one_after_the_other(void **state)
{
	const struct steering_subject *subject;

	steer("top/in/settings", 0);
	steer("other/log", 0);
	steer("top/token", 0);
	subject = steering_beneath(&steering, scratch_path("top"), NULL);
	assert_non_null(subject);
	assert_string_equal(subject->path, scratch_path("top/in/settings"));
	subject = steering_beneath(&steering, scratch_path("top"), subject);
	assert_non_null(subject);
	assert_string_equal(subject->path, scratch_path("top/token"));
	assert_null(steering_beneath(&steering, scratch_path("top"), subject));
	assert_null(steering_beneath(&steering, scratch_path("none"), NULL));
	scratch_directory("top/beside");
	assert_null(steering_beneath(&steering, scratch_path("top/beside"), NULL));
	/* A directory that is a subject itself is not beneath itself. */
	steer("top/beside", STEERING_TREE);
	assert_null(steering_beneath(&steering, scratch_path("top/beside"), NULL));
}

static void a_path_counts_once_and_only_when_it_is_absolute(void **state)
{
	assert_int_equal(steering_add(&steering, "settings file", "relative", 0), 0);
	assert_int_equal(steering_add(&steering, "settings file", NULL, 0), 0);
	assert_int_equal(steering.count, 0);
	assert_int_equal(steering_add(&steering, "settings file", scratch_path("top"), STEERING_TREE), 0);
	assert_int_equal(steering_add(&steering, "log", scratch_path("top"), STEERING_SECRET), 0);
	assert_int_equal(steering.count, 1);
	assert_int_equal(steering.subjects[0].flags, STEERING_TREE | STEERING_SECRET);
	assert_string_equal(steering.subjects[0].what, "settings file");
}

static void more_subjects_than_there_is_room_for_are_refused(void **state)
{
	char name[16];

	for (unsigned i = 0; i < STEERING_SUBJECTS_MAX; i++) {
		snprintf(name, sizeof(name), "s%u", i);
		assert_int_equal(steering_add(&steering, "settings file", scratch_path(name), 0), 0);
	}
	assert_int_equal(steering_add(&steering, "settings file", scratch_path("more"), 0), -ENOMEM);
	assert_int_equal(steering_add(&steering, "settings file", scratch_path("s1"), 0), 0);
}

static void workers_get_a_list_that_nobody_can_change(void **state)
{
	struct protect_entry first;
	struct stat st;

	/* The deeper directory is the older one: its number may be the smaller. */
	scratch_directory("late");
	assert_int_equal(rename(scratch_path("top"), scratch_path("late/top")), 0);
	steer("late/top/settings", 0);
	assert_int_equal(fstat(steering.fd, &st), 0);
	assert_int_equal(st.st_size, steering.entry_count * sizeof(struct protect_entry));
	assert_int_equal(pread(steering.fd, &first, sizeof(first), 0), sizeof(first));
	assert_memory_equal(&first, &steering.entries[0], sizeof(first));
	assert_int_equal(pwrite(steering.fd, "x", 1, 0), -1);
	assert_int_equal(ftruncate(steering.fd, 0), -1);
	for (size_t i = 1; i < steering.entry_count; i++)
		assert_true(steering.entries[i - 1].ino <= steering.entries[i].ino);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(each_step_of_the_way_and_the_file_are_on_the_list),
		TEST(what_is_not_there_yet_is_protected_by_its_name),
		TEST(a_file_that_is_replaced_changes_the_list),
		TEST(a_link_on_the_way_is_a_step_and_so_is_what_it_leads_to),
		TEST(links_in_a_circle_and_files_on_the_way_end_it),
		TEST(a_sealed_directory_is_that_of_the_file_or_the_directory_itself),
		TEST(what_is_secret_is_so_at_its_own_name_alone),
		TEST(a_tree_holds_what_lies_beneath_it),
		TEST(subjects_beneath_a_directory_are_told_one_after_the_other),
		TEST(a_path_counts_once_and_only_when_it_is_absolute),
		TEST(more_subjects_than_there_is_room_for_are_refused),
		TEST(workers_get_a_list_that_nobody_can_change),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
