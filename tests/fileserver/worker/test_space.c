/* SPDX-License-Identifier: Apache-2.0 */
/* The reserve of the host's disk: what is claimed before, what is refused, and when the file system is asked. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "fileserver/worker/session/space.h"
#include "protocol/clock.h"
#include "tests/fileserver/worker/inside.h"

enum { UNASKED = -1 }; /* a descriptor that is none: asking the file system fails */

static struct space space;
static struct pinned root;

static int set_up(void **state)
{
	if (inside_set_up(state) < 0)
		return -1;
	inside_take(*state, ((struct share *) *state)->root, &root);
	space_init(&space, inside_session(*state)->nodes, 1);
	return 0;
}

static int tear_down(void **state)
{
	for (unsigned i = 0; i < SPACE_DISKS; i++)
		assert_true(space.disks[i].in_bytes == 0 && space.disks[i].in_files == 0);
	space_done(&space);
	inside_put(*state, &root);
	return inside_tear_down(state);
}

static struct space_disk *disk(void)
{
	return &space.disks[nodes_device(root.node) % SPACE_DISKS];
}

static struct statvfs figures(uint64_t reserve, uint64_t bavail)
{
	struct space with = { .reserve = reserve };
	struct statvfs st = { .f_frsize = 4096,
		              .f_blocks = 1000000,
		              .f_bfree = 900000,
		              .f_bavail = bavail,
		              .f_files = 10000,
		              .f_ffree = 9000,
		              .f_favail = 5000 };

	space_hide_reserve(&with, &st);
	return st;
}

static void the_reserve_is_what_was_configured_but_2_to_5_percent(void **state)
{
	assert_int_equal(figures(0, 800000).f_bavail, 800000);
	assert_int_equal(figures(0, 800000).f_ffree, 9000);
	assert_int_equal(figures(1, 800000).f_bavail, 800000 - 20000);
	assert_int_equal(figures(UINT64_C(30000) * 4096, 800000).f_bavail, 800000 - 30000);
	assert_int_equal(figures(UINT64_MAX, 800000).f_bavail, 800000 - 50000);
	assert_int_equal(figures(1, 19999).f_bavail, 0);
	/* of the inodes 2 %, of those that others than root may take */
	assert_int_equal(figures(1, 800000).f_ffree, 5000 - 200);
	assert_int_equal(figures(1, 800000).f_favail, 5000 - 200);
	/* what the file system has is told as it is */
	assert_int_equal(figures(1, 800000).f_blocks, 1000000);
	assert_int_equal(figures(1, 800000).f_bfree, 900000);
}

static void without_a_reserve_nothing_is_asked(void **state)
{
	struct space_claim claim;

	space.reserve = 0;
	assert_int_equal(space_claim(&space, root.node, UNASKED, UINT64_MAX, &claim), 0);
	assert_null(claim.disk);
	assert_true(claim.bytes == UINT64_MAX);
	assert_int_equal(space_claim_name(&space, root.node, UNASKED, &claim), 0);
	assert_int_equal(space_claim_attribute(&space, root.node, UNASKED, 100, &claim), 0);
	assert_int_equal(space_fits(&space, root.node, UNASKED, UINT64_MAX), 0);
	space_settle(&space, &claim);
	space.reserve = 1;
	assert_int_equal(space_claim(&space, root.node, UNASKED, 0, &claim), 0);
	assert_null(claim.disk);
	assert_int_equal(space_claim(&space, root.node, UNASKED, 1, &claim), -EBADF);
	assert_int_equal(space_fits(&space, root.node, UNASKED, 1), -EBADF);
}

static void what_is_claimed_is_taken_until_it_is_settled(void **state)
{
	struct share *share = *state;
	struct space_claim claim, name;

	assert_int_equal(space_claim(&space, root.node, share->host, 4096, &claim), 0);
	assert_ptr_equal(claim.disk, disk());
	assert_int_equal(claim.bytes, 4096);
	assert_int_equal(disk()->in_bytes, 4096);
	assert_int_equal(space_claim_name(&space, root.node, share->host, &name), 0);
	assert_true(disk()->in_bytes > 4096);
	assert_int_equal(disk()->in_files, 1);
	space_settle(&space, &claim);
	space_settle(&space, &claim); /* once is enough */
	assert_null(claim.disk);
	assert_int_equal(disk()->in_files, 1);
	assert_int_equal(disk()->in_bytes, name.bytes);
	space_settle(&space, &name);
	assert_int_equal(disk()->in_bytes, 0);
}

/* Asking for each write would cost a good part of a small one. */
static void the_file_system_is_asked_once_in_a_while(void **state)
{
	struct share *share = *state;
	struct space_claim claim;
	uint64_t handed;

	assert_int_equal(space_claim(&space, root.node, share->host, 4096, &claim), 0);
	space_settle(&space, &claim);
	handed = disk()->bytes;
	if (handed < 4096)
		skip(); /* hardly anything is free on this machine */
	disk()->checked = clock_coarse_ms();
	assert_int_equal(space_claim(&space, root.node, UNASKED, 4096, &claim), 0);
	assert_int_equal(disk()->bytes, handed - 4096);
	space_settle(&space, &claim);
	assert_int_equal(disk()->bytes, handed - 4096);
	/* more than was handed out, another file system in the same place, and some time later */
	assert_int_equal(space_claim(&space, root.node, UNASKED, disk()->bytes + 1, &claim), -EBADF);
	disk()->checked = clock_coarse_ms();
	disk()->device++;
	assert_int_equal(space_claim(&space, root.node, UNASKED, 4096, &claim), -EBADF);
	disk()->device--;
	disk()->checked = clock_coarse_ms() - 1000;
	assert_int_equal(space_claim(&space, root.node, UNASKED, 4096, &claim), -EBADF);
}

static void as_much_is_given_as_many_sessions_may_take_at_the_same_moment(void **state)
{
	struct share *share = *state;
	struct space_claim claim;
	struct statvfs st;

	assert_int_equal(fstatvfs(share->host, &st), 0);
	assert_int_equal(space_claim(&space, root.node, share->host, UINT64_C(1) << 60, &claim), 0);
	assert_true(claim.bytes > 0);
	assert_true(claim.bytes <= SPACE_STEP || claim.bytes <= st.f_bavail * st.f_frsize / 64 + SPACE_STEP);
	assert_int_equal(disk()->in_bytes, claim.bytes);
	space_settle(&space, &claim);
}

static void what_others_have_claimed_is_not_there(void **state)
{
	struct share *share = *state;
	struct space_claim claim;

	disk()->in_bytes = INT64_MAX;
	assert_int_equal(space_claim(&space, root.node, share->host, 1, &claim), -ENOSPC);
	assert_null(claim.disk);
	assert_int_equal(space_fits(&space, root.node, share->host, 1), -ENOSPC);
	disk()->in_bytes = 0;
	disk()->in_files = UINT32_MAX;
	assert_int_equal(space_claim_name(&space, root.node, share->host, &claim), -ENOSPC);
	disk()->in_files = 0;
	assert_int_equal(space_claim_name(&space, root.node, share->host, &claim), 0);
	space_settle(&space, &claim);
	assert_int_equal(space_fits(&space, root.node, share->host, 1), 0);
	assert_int_equal(space_fits(&space, root.node, share->host, INT64_MAX), -ENOSPC);
}

/* The root of a tmpfs of 256 blocks and 100 inodes that is mounted nowhere, or negative: only root may. */
static int small_disk(void)
{
	int context = fsopen("tmpfs", FSOPEN_CLOEXEC), fd;

	if (context < 0 || fsconfig(context, FSCONFIG_SET_STRING, "size", "1m", 0) < 0 ||
	    fsconfig(context, FSCONFIG_SET_STRING, "nr_inodes", "100", 0) < 0 ||
	    fsconfig(context, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
		fd = -1;
	else
		fd = fsmount(context, FSMOUNT_CLOEXEC, 0);
	if (context >= 0)
		close(context);
	return fd;
}

/* Of 256 blocks 5 are the reserve, so that this leaves so many to the guest. */
static void leave(int fd, unsigned blocks)
{
	int file = openat(fd, "filler", O_RDWR | O_CREAT | O_CLOEXEC, 0600);

	assert_true(file >= 0);
	assert_int_equal(ftruncate(file, 0), 0);
	assert_int_equal(posix_fallocate(file, 0, (off_t) (256 - 5 - blocks) * 4096), 0);
	close(file);
	disk()->checked = 0;
}

static void the_last_blocks_are_out_of_reach(void **state)
{
	struct space_claim claim;
	int fd = small_disk();

	if (fd < 0)
		skip();
	leave(fd, 0);
	assert_int_equal(space_claim(&space, root.node, fd, 1, &claim), -ENOSPC);
	leave(fd, 2);
	/* a write takes what there is; a name and an attribute need theirs in whole */
	assert_int_equal(space_claim(&space, root.node, fd, 65536, &claim), 0);
	assert_int_equal(claim.bytes, 8192);
	space_settle(&space, &claim);
	assert_int_equal(space_claim_name(&space, root.node, fd, &claim), -ENOSPC);
	assert_int_equal(space_claim_attribute(&space, root.node, fd, 4096, &claim), 0);
	space_settle(&space, &claim);
	assert_int_equal(space_claim_attribute(&space, root.node, fd, 4097, &claim), -ENOSPC);
	assert_int_equal(space_fits(&space, root.node, fd, 8192), 0);
	assert_int_equal(space_fits(&space, root.node, fd, 8193), -ENOSPC);
	leave(fd, 4);
	assert_int_equal(space_claim_name(&space, root.node, fd, &claim), 0);
	space_settle(&space, &claim);
	close(fd);
}

static void the_last_inodes_are_out_of_reach(void **state)
{
	struct space_claim claim;
	int fd = small_disk();
	struct statvfs st;
	char name[16];

	if (fd < 0)
		skip();
	assert_int_equal(fstatvfs(fd, &st), 0);
	/* two are the reserve */
	for (unsigned i = 2; i < st.f_ffree; i++) {
		snprintf(name, sizeof(name), "f%u", i);
		assert_int_equal(mknodat(fd, name, S_IFREG | 0600, 0), 0);
	}
	assert_int_equal(space_claim_name(&space, root.node, fd, &claim), -ENOSPC);
	assert_int_equal(space_claim(&space, root.node, fd, 1, &claim), 0);
	space_settle(&space, &claim);
	assert_int_equal(unlinkat(fd, "f2", 0), 0);
	disk()->checked = 0;
	assert_int_equal(space_claim_name(&space, root.node, fd, &claim), 0);
	space_settle(&space, &claim);
	close(fd);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(the_reserve_is_what_was_configured_but_2_to_5_percent),
		TEST(without_a_reserve_nothing_is_asked),
		TEST(what_is_claimed_is_taken_until_it_is_settled),
		TEST(the_file_system_is_asked_once_in_a_while),
		TEST(as_much_is_given_as_many_sessions_may_take_at_the_same_moment),
		TEST(what_others_have_claimed_is_not_there),
		TEST(the_last_blocks_are_out_of_reach),
		TEST(the_last_inodes_are_out_of_reach),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
