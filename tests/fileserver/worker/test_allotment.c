/* SPDX-License-Identifier: Apache-2.0 */
/* A mount's part of the budget: it counts at once, and more is asked for in time but not all the time. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#include <cmocka.h>

#include "fileserver/worker/session/allotment.h"
#include "protocol/clock.h"
#include "tests/support/share.h"

enum { PART = 100, ENOUGH = 87, SHORT = 88, FILES = 40, FEW = 8 };

static int wishes;

static void wish(void)
{
	wishes++;
}

/* A session of which only the figures are looked at. */
static int set_up(void **state)
{
	static struct session session;
	static struct proto_counters counters;

	atomic_store(&counters.nodes, 0);
	atomic_store(&counters.descriptors, 0);
	session.counters = &counters;
	session.wants = wish;
	atomic_store(&session.nodes_limit, PART);
	atomic_store(&session.descriptors_limit, PART);
	atomic_store(&session.wanted_at, 0);
	wishes = 0;
	*state = &session;
	return 0;
}

static void more_is_asked_for_when_less_than_an_eighth_of_the_nodes_is_left(void **state)
{
	struct session *session = *state;

	atomic_store(&session->counters->nodes, ENOUGH);
	allotment_look(session);
	assert_int_equal(wishes, 0);
	atomic_store(&session->counters->nodes, SHORT);
	allotment_look(session);
	assert_int_equal(wishes, 1);
}

static void the_same_holds_for_descriptors(void **state)
{
	struct session *session = *state;

	atomic_store(&session->counters->descriptors, ENOUGH);
	allotment_look(session);
	assert_int_equal(wishes, 0);
	atomic_store(&session->counters->descriptors, SHORT);
	allotment_look(session);
	assert_int_equal(wishes, 1);
	/* As soon as the part is larger it is enough. */
	atomic_store(&session->descriptors_limit, 2 * PART);
	atomic_store(&session->wanted_at, 0);
	allotment_look(session);
	assert_int_equal(wishes, 1);
}

static void it_is_asked_for_once_in_a_while(void **state)
{
	struct session *session = *state;

	atomic_store(&session->counters->nodes, PART);
	/* In the future: the while has not passed, however slow the machine is. */
	atomic_store(&session->wanted_at, clock_ms() + 60000);
	allotment_look(session);
	assert_int_equal(wishes, 0);
	atomic_store(&session->wanted_at, clock_ms() - 1000);
	allotment_look(session);
	assert_int_equal(wishes, 1);
	assert_true(clock_ms() - atomic_load(&session->wanted_at) < 60000);
}

static void where_nobody_gives_more_nothing_is_asked_for(void **state)
{
	struct session *session = *state;

	session->wants = NULL;
	atomic_store(&session->counters->nodes, PART);
	allotment_look(session);
	assert_int_equal(wishes, 0);
}

static int set_up_share(void **state)
{
	*state = share_new(0, 1000);
	return *state == NULL ? -1 : 0;
}

static int tear_down_share(void **state)
{
	share_free(*state);
	return 0;
}

/* How many nodes the session knows after it was asked for every file. */
static uint64_t look_up_all(struct share *share)
{
	struct proto_entry entry;
	char name[16];

	for (int i = 0; i < FILES; i++) {
		snprintf(name, sizeof(name), "f%d", i);
		assert_int_equal(share_lookup(share, share->root, name, &entry), 0);
	}
	return proto_counter_get(&share->counters.nodes);
}

static void a_smaller_part_makes_the_session_forget_and_a_larger_one_not(void **state)
{
	struct share *share = *state;
	char name[16];

	for (int i = 0; i < FILES; i++) {
		snprintf(name, sizeof(name), "f%d", i);
		share_host_write(share, name, "content");
	}
	allotment_take(&share->service->session, FEW, 1000);
	assert_true(look_up_all(share) <= FEW);
	assert_int_equal(atomic_load(&share->service->session.nodes_limit), FEW);
	allotment_take(&share->service->session, 1000, 500);
	assert_int_equal(look_up_all(share), FILES + 1);
	assert_int_equal(atomic_load(&share->service->session.descriptors_limit), 500);
}

static void a_smaller_part_of_descriptors_refuses_what_is_too_many(void **state)
{
	struct share *share = *state;
	struct proto_create_reply created;
	char name[16];
	int opened = 0, r = 0;

	allotment_take(&share->service->session, 1000, FEW);
	for (; opened < FILES && r == 0; opened += r == 0) {
		snprintf(name, sizeof(name), "f%d", opened);
		r = share_create(share, share->root, name, PROTO_OPEN_WRITE, 0644, &created);
	}
	assert_int_equal(r, -ENFILE);
	assert_true(opened <= FEW);
	allotment_take(&share->service->session, 1000, 1000);
	assert_int_equal(share_create(share, share->root, "more", PROTO_OPEN_WRITE, 0644, &created), 0);
}

#define TEST(function)       cmocka_unit_test_setup(function, set_up)
#define TEST_SHARE(function) cmocka_unit_test_setup_teardown(function, set_up_share, tear_down_share)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(more_is_asked_for_when_less_than_an_eighth_of_the_nodes_is_left),
		TEST(the_same_holds_for_descriptors),
		TEST(it_is_asked_for_once_in_a_while),
		TEST(where_nobody_gives_more_nothing_is_asked_for),
		TEST_SHARE(a_smaller_part_makes_the_session_forget_and_a_larger_one_not),
		TEST_SHARE(a_smaller_part_of_descriptors_refuses_what_is_too_many),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
