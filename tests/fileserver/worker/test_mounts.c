/* SPDX-License-Identifier: Apache-2.0 */
/* Which mounts of the machine concern a share: those in it, however it is called. In a mount namespace of its own. */
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/mount.h>
#include <unistd.h>

#include <cmocka.h>

#include "fileserver/worker/leases/mounts.h"
#include "tests/support/scratch.h"

enum { SOON_MS = 5000 };

/* -1 where mounting takes rights that nobody has here. */
static int separate = -1;

static int set_up_all(void **state)
{
	if (unshare(CLONE_NEWNS) == 0 && mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0)
		separate = 0;
	return 0;
}

/* The directory of this name is the share. */
static struct mounts *watch(const char *path, int *ret_root)
{
	struct mounts *mounts;

	if (separate < 0)
		skip();
	*ret_root = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	assert_true(*ret_root >= 0);
	assert_int_equal(mounts_new(*ret_root, &mounts), 0);
	/* What was there before is no news. */
	assert_false(mounts_changed(mounts));
	return mounts;
}

static void done(struct mounts *mounts, int root)
{
	mounts_free(mounts);
	(void) close(root);
}

static void mount_at(const char *path)
{
	assert_int_equal(mount("tmpfs", path, "tmpfs", 0, "size=64k"), 0);
}

static void unmount_at(const char *path)
{
	assert_int_equal(umount2(path, 0), 0);
}

/* The kernel tells of every change of the table of mounts. */
static void assert_told(struct mounts *mounts, bool concerns)
{
	struct pollfd table = { .fd = mounts_fd(mounts), .events = POLLPRI };

	assert_int_equal(poll(&table, 1, SOON_MS), 1);
	assert_true(mounts_changed(mounts) == concerns);
	assert_false(mounts_changed(mounts));
}

static void told_of(const char *share, const char *below)
{
	char inner[SCRATCH_PATH];
	struct mounts *mounts;
	int root;

	(void) scratch_directory(share);
	(void) snprintf(inner, sizeof(inner), "%s", scratch_directory(below));
	mounts = watch(scratch_path(share), &root);
	mount_at(inner);
	assert_told(mounts, true);
	/* One over the other is another one again. */
	mount_at(inner);
	assert_told(mounts, true);
	unmount_at(inner);
	assert_told(mounts, true);
	unmount_at(inner);
	assert_told(mounts, true);
	done(mounts, root);
}

static void mounts_in_a_share_are_told(void **state)
{
	told_of("share", "share/below");
}

static void so_are_those_in_a_share_whose_name_the_table_escapes(void **state)
{
	told_of("a share\twith\\all\nof it", "a share\twith\\all\nof it/below");
}

static void a_mount_over_the_share_is_told(void **state)
{
	struct mounts *mounts;
	int root;

	mounts = watch(scratch_directory("share"), &root);
	mount_at(scratch_path("share"));
	assert_told(mounts, true);
	unmount_at(scratch_path("share"));
	assert_told(mounts, true);
	done(mounts, root);
}

static void mounts_elsewhere_are_not(void **state)
{
	struct mounts *mounts;
	int root;

	(void) scratch_directory("share");
	(void) scratch_directory("share-not");
	(void) scratch_directory("shar");
	mounts = watch(scratch_path("share"), &root);
	mount_at(scratch_path("share-not"));
	assert_told(mounts, false);
	mount_at(scratch_path("shar"));
	assert_told(mounts, false);
	unmount_at(scratch_path("share-not"));
	assert_told(mounts, false);
	unmount_at(scratch_path("shar"));
	assert_told(mounts, false);
	done(mounts, root);
}

static void in_the_whole_file_system_everything_is(void **state)
{
	struct mounts *mounts;
	int root;

	(void) scratch_directory("anywhere");
	mounts = watch("/", &root);
	mount_at(scratch_path("anywhere"));
	assert_told(mounts, true);
	unmount_at(scratch_path("anywhere"));
	assert_told(mounts, true);
	done(mounts, root);
}

static void a_share_that_moves_takes_its_mounts_along(void **state)
{
	struct mounts *mounts;
	int root;

	(void) scratch_directory("share");
	(void) scratch_directory("share/below");
	mounts = watch(scratch_path("share"), &root);
	assert_int_equal(rename(scratch_path("share"), scratch_path("moved")), 0);
	mount_at(scratch_path("moved/below"));
	assert_told(mounts, true);
	unmount_at(scratch_path("moved/below"));
	assert_told(mounts, true);
	done(mounts, root);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(mounts_in_a_share_are_told, scratch_set_up, scratch_tear_down),
		cmocka_unit_test_setup_teardown(so_are_those_in_a_share_whose_name_the_table_escapes, scratch_set_up,
		                                scratch_tear_down),
		cmocka_unit_test_setup_teardown(a_mount_over_the_share_is_told, scratch_set_up, scratch_tear_down),
		cmocka_unit_test_setup_teardown(mounts_elsewhere_are_not, scratch_set_up, scratch_tear_down),
		cmocka_unit_test_setup_teardown(in_the_whole_file_system_everything_is, scratch_set_up,
		                                scratch_tear_down),
		cmocka_unit_test_setup_teardown(a_share_that_moves_takes_its_mounts_along, scratch_set_up,
		                                scratch_tear_down),
	};

	return cmocka_run_group_tests(tests, set_up_all, NULL);
}
