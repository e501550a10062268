/* SPDX-License-Identifier: Apache-2.0 */
/* The session with the server: what wakes the keeper, and what is counted. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/eventfd.h>

#include <cmocka.h>

#include "guest-fuse/mount/mount-options.h"
#include "guest-fuse/mount/server/forgets.h"
#include "guest-fuse/mount/server/server.h"
#include "protocol/clock.h"

static struct mount_options options;
static struct proto_token token;

static int set_up(void **state)
{
	*state = server_new(&options, &token);
	return *state == NULL ? -1 : 0;
}

static int tear_down(void **state)
{
	server_free(*state);
	return 0;
}

/* Whether the keeper was woken since the last call. */
static bool woken(const struct server *server)
{
	eventfd_t count;

	return eventfd_read(server->wake, &count) == 0;
}

static void only_a_keeper_that_dozes_is_stirred(void **state)
{
	struct server *server = *state;

	server_stir(server);
	assert_false(woken(server));
	server->dozing = true;
	server_stir(server);
	assert_true(woken(server));
	assert_false(server->dozing);
	server_stir(server);
	assert_false(woken(server));
	server_wake(server);
	assert_true(woken(server));
}

static void the_first_reference_to_give_back_wakes_the_keeper(void **state)
{
	struct server *server = *state;

	server_give_back(server, PROTO_ID(1, 2), 0);
	assert_false(woken(server));
	server_give_back(server, PROTO_ID(1, 2), 1);
	assert_true(woken(server));
	server_give_back(server, PROTO_ID(1, 3), 1);
	assert_false(woken(server));
	assert_int_equal(forgets_count(server->forgets), 2);
}

static void messages_are_counted_by_operation(void **state)
{
	struct server *server = *state;
	const struct proto_counter *write = &server->counters.ops[PROTO_WRITE];

	server_count(server, PROTO_WRITE, 0, clock_ns() - 1000, 100);
	server_count(server, PROTO_WRITE, -5, clock_ns(), 20);
	assert_int_equal(proto_counter_get(&write->count), 2);
	assert_int_equal(proto_counter_get(&write->errors), 1);
	assert_int_equal(proto_counter_get(&write->bytes), 120);
	assert_true(proto_counter_get(&write->nanoseconds) >= 1000);
	assert_int_equal(proto_counter_get(&server->counters.ops[PROTO_READ].count), 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(only_a_keeper_that_dozes_is_stirred),
		TEST(the_first_reference_to_give_back_wakes_the_keeper),
		TEST(messages_are_counted_by_operation),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
