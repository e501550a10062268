/* SPDX-License-Identifier: Apache-2.0 */
/* The inode numbers that the guest sees: the host's, as far as two disks cannot give the same one. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "fileserver/worker/session/inodes.h"
#include "tests/fileserver/worker/inside.h"

#define SMALL  (UINT64_C(1) << 31)
#define HASHED (UINT64_C(1) << 63)

enum { THREADS = 4, ASKED = 7 };

static struct inodes inodes;

static int set_up(void **state)
{
	memset(&inodes, 0, sizeof(inodes));
	return inside_set_up(state);
}

/* What is on the share's own disk. */
static uint64_t own(struct share *share, uint64_t ino)
{
	struct statx stx;

	assert_int_equal(statx(share->host, "", AT_EMPTY_PATH, STATX_BASIC_STATS, &stx), 0);
	stx.stx_ino = ino;
	return inodes_number(&inodes, inside_session(share)->nodes, &stx);
}

/* What is on another disk that is mounted in it. */
static uint64_t other(struct share *share, uint32_t device, uint64_t ino)
{
	struct statx stx = { .stx_ino = ino, .stx_dev_major = 4000, .stx_dev_minor = device };

	return inodes_number(&inodes, inside_session(share)->nodes, &stx);
}

static void the_shares_own_disk_has_the_hosts_numbers(void **state)
{
	assert_true(own(*state, 1) == 1);
	assert_true(own(*state, SMALL - 1) == SMALL - 1);
	assert_true(own(*state, 2 * SMALL) == 2 * SMALL);
	assert_true(own(*state, UINT64_C(1) << 40) == UINT64_C(1) << 40);
}

static void the_numbers_that_other_disks_have_are_not_its_own(void **state)
{
	uint64_t low = own(*state, SMALL), high = own(*state, 2 * SMALL - 1);

	assert_true((low & HASHED) != 0 && (high & HASHED) != 0);
	assert_true(low != high);
	assert_true(own(*state, SMALL) == low);
}

static void small_numbers_of_other_disks_fit_into_32_bits_and_differ(void **state)
{
	uint64_t first = other(*state, 1, 2), second = other(*state, 2, 2);

	assert_true(first >= SMALL && first < 2 * SMALL);
	assert_true(second >= SMALL && second < 2 * SMALL);
	assert_true(first != second);
	/* each number of one disk has the same disk in it */
	assert_true(other(*state, 1, 3) == first + 1);
	assert_true(other(*state, 1, 2) == first);
	assert_true((first & ((1 << 26) - 1)) == 2);
	assert_true(other(*state, 1, (1 << 26) - 1) < 2 * SMALL);
	assert_true((other(*state, 1, 1 << 26) & HASHED) != 0);
	assert_true(other(*state, 1, 1 << 26) != other(*state, 2, 1 << 26));
}

static void with_more_disks_than_fit_the_others_are_hashed(void **state)
{
	uint64_t seen[INODES_DISKS];

	for (uint32_t i = 0; i < INODES_DISKS; i++) {
		seen[i] = other(*state, i, 5);
		assert_true(seen[i] >= SMALL && seen[i] < 2 * SMALL);
		for (uint32_t j = 0; j < i; j++)
			assert_true(seen[i] != seen[j]);
	}
	assert_true((other(*state, INODES_DISKS, 5) & HASHED) != 0);
	for (uint32_t i = 0; i < INODES_DISKS; i++)
		assert_true(other(*state, i, 5) == seen[i]);
}

struct asker {
	struct share *share;
	pthread_t thread;
	uint32_t first;
	uint64_t seen[ASKED];
};

static void *ask(void *argument)
{
	struct asker *asker = argument;

	for (uint32_t i = 0; i < ASKED; i++) {
		uint32_t device = (asker->first + i) % ASKED;

		asker->seen[device] = other(asker->share, device, 5);
	}
	return NULL;
}

static void all_lanes_see_the_same_number(void **state)
{
	struct asker askers[THREADS];

	for (uint32_t i = 0; i < THREADS; i++) {
		askers[i] = (struct asker){ .share = *state, .first = i };
		assert_int_equal(pthread_create(&askers[i].thread, NULL, ask, &askers[i]), 0);
	}
	for (uint32_t i = 0; i < THREADS; i++)
		assert_int_equal(pthread_join(askers[i].thread, NULL), 0);
	for (uint32_t i = 1; i < THREADS; i++)
		assert_memory_equal(askers[i].seen, askers[0].seen, sizeof(askers[0].seen));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, inside_tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(the_shares_own_disk_has_the_hosts_numbers),
		TEST(the_numbers_that_other_disks_have_are_not_its_own),
		TEST(small_numbers_of_other_disks_fit_into_32_bits_and_differ),
		TEST(with_more_disks_than_fit_the_others_are_hashed),
		TEST(all_lanes_see_the_same_number),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
