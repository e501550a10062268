/* SPDX-License-Identifier: Apache-2.0 */
/* Peers that ask too often or misbehave are refused, and nobody else is. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "fileserver/broker/peers.h"

static struct peers peers;

static int set_up(void **state)
{
	memset(&peers, 0, sizeof(peers));
	return 0;
}

/* How many of so many requests at one moment pass. */
static unsigned passed(uint64_t key, const char *path, unsigned requests, uint64_t now)
{
	unsigned count = 0;

	for (unsigned i = 0; i < requests; i++)
		count += peers_ask(&peers, key, path, now) == NULL;
	return count;
}

static void a_loop_over_one_path_leaves_the_other_paths_free(void **state)
{
	assert_int_equal(passed(1, "/a", 1000, 1000), PEERS_PATH_BURST);
	assert_int_equal(passed(1, "/b", 10, 1000), 10);
	assert_int_equal(passed(1, "/a", 1000, 2000), PEERS_PATH_RATE);
}

static void a_peer_that_asks_for_everything_leaves_the_other_peers_free(void **state)
{
	unsigned count = 0;

	for (unsigned i = 0; i < 2000; i++) {
		char path[32];

		(void) snprintf(path, sizeof(path), "/%u", i);
		count += peers_ask(&peers, 1, path, 1000) == NULL;
	}
	assert_int_equal(count, PEERS_BURST);
	assert_int_equal(passed(2, "/a", 10, 1000), 10);
	assert_null(peers_ask(&peers, 1, "/x", 1100));
}

static void misbehaviour_counts_against_who_did_it(void **state)
{
	for (unsigned i = 0; i < PEERS_FAULTS_MAX; i++) {
		assert_null(peers_ask(&peers, 1, "/a", 1000 + i));
		peers_fault(&peers, 1, 1000 + i);
	}
	assert_non_null(strstr(peers_ask(&peers, 1, "/a", 2000), "broke the protocol"));
	assert_null(peers_ask(&peers, 2, "/a", 2000));
	assert_null(peers_ask(&peers, 1, "/a", 1000 + PEERS_FAULTS_MAX + PEERS_FAULTS_MS));
}

static void faults_far_apart_count_for_nothing(void **state)
{
	for (uint64_t i = 0; i < 20; i++)
		peers_fault(&peers, 1, 1000 + i * PEERS_FAULTS_MS);
	assert_null(peers_ask(&peers, 1, "/a", 1000 + 19 * PEERS_FAULTS_MS));
}

static void many_peers_push_the_oldest_out(void **state)
{
	for (uint64_t i = 0; i < 10 * PEERS_MAX; i++) {
		assert_null(peers_ask(&peers, i + 1, "/a", 1000 + i));
		peers_fault(&peers, i + 1, 1000 + i);
	}
}

static void a_peer_has_a_key(void **state)
{
	int fds[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	assert_int_not_equal(peers_key(fds[0], false), 0);
	assert_true(peers_key(fds[0], false) == peers_key(fds[1], false));
	assert_true(peers_key(fds[0], false) != peers_key(fds[0], true));
	assert_int_not_equal(peers_key(-1, false), 0);
	close(fds[0]);
	close(fds[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(a_loop_over_one_path_leaves_the_other_paths_free, set_up),
		cmocka_unit_test_setup(a_peer_that_asks_for_everything_leaves_the_other_peers_free, set_up),
		cmocka_unit_test_setup(misbehaviour_counts_against_who_did_it, set_up),
		cmocka_unit_test_setup(faults_far_apart_count_for_nothing, set_up),
		cmocka_unit_test_setup(many_peers_push_the_oldest_out, set_up),
		cmocka_unit_test_setup(a_peer_has_a_key, set_up),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
