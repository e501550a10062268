/* SPDX-License-Identifier: Apache-2.0 */
/* SYNCFS runs once at a time and not without pause, and everybody who asks gets one that began after he asked. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "fileserver/worker/session/sync.h"
#include "protocol/clock.h"
#include "tests/support/share.h"

enum { LANES = 7, ROUNDS = 3 };

static int set_up(void **state)
{
	*state = share_new(0, 256);
	return *state == NULL ? -1 : 0;
}

static int tear_down(void **state)
{
	share_free(*state);
	return 0;
}

struct asker {
	struct raw raw;
	uint64_t root;
	int result;
	pthread_t thread;
};

static int ask(struct raw *raw, uint64_t root)
{
	struct proto_syncfs_request request = { .node = root };
	struct proto_syncfs_reply reply;

	return raw_syncfs(raw, &request, &reply);
}

static void *ask_again(void *argument)
{
	struct asker *asker = argument;

	for (int i = 0; i < ROUNDS && asker->result == 0; i++)
		asker->result = ask(&asker->raw, asker->root);
	return NULL;
}

static void those_that_wait_share_the_next_one(void **state)
{
	static struct asker askers[LANES];
	struct share *share = *state;

	for (int i = 0; i < LANES; i++) {
		askers[i].root = share->root;
		assert_int_equal(share_add_lane(share, &askers[i].raw), 0);
	}
	for (int i = 0; i < LANES; i++)
		assert_int_equal(pthread_create(&askers[i].thread, NULL, ask_again, &askers[i]), 0);
	for (int i = 0; i < LANES; i++) {
		(void) pthread_join(askers[i].thread, NULL);
		assert_int_equal(askers[i].result, 0);
		raw_done(&askers[i].raw);
	}
	/* One after the other it would be as many as were asked for; each round takes two at most. */
	assert_in_range(share->service->session.sync.begun, ROUNDS, 2 * ROUNDS + 1);
}

static void there_is_a_pause_between_two(void **state)
{
	struct share *share = *state;
	int64_t begin = clock_ms();

	for (int i = 0; i < 4; i++)
		assert_int_equal(ask(&share->raw, share->root), 0);
	assert_true(clock_ms() - begin >= 3 * SYNC_PAUSE_MS - 10);
	assert_int_equal(share->service->session.sync.begun, 4);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(those_that_wait_share_the_next_one, set_up, tear_down),
		cmocka_unit_test_setup_teardown(there_is_a_pause_between_two, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
