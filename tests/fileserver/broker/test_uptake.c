/* SPDX-License-Identifier: Apache-2.0 */
/* Waiting until guests have taken in changes: which workers are asked, once at a time, and which answers count. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>
#include <utlist.h>

#include "fileserver/broker/supervisor.h"
#include "protocol/cleanup.h"
#include "protocol/clock.h"

enum { LIMIT_MS = 5000 };

static struct supervisor supervisor;
static struct worker workers[3];
static int ends[3]; /* the workers' own ends of their channels */
static unsigned looks;
static struct uptake first, second;

static void on_changed(void *context)
{
	looks++;
}

static int set_up(void **state)
{
	static char *const paths[] = { "/srv/a", "/srv/a/below", "/srv/ab" };

	looks = 0;
	supervisor = (struct supervisor){ .uptake_changed = on_changed };
	first = second = (struct uptake){ 0 };
	for (unsigned i = 0; i < ARRAY_SIZE(workers); i++) {
		int pair[2];

		if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) < 0)
			return -1;
		workers[i] = (struct worker){ .supervisor = &supervisor,
			                      .path = paths[i],
			                      .process.channel = pair[0],
			                      .state = WORKER_STATE_SERVING };
		ends[i] = pair[1];
		DL_APPEND(supervisor.workers, &workers[i]);
	}
	return 0;
}

static int tear_down(void **state)
{
	for (unsigned i = 0; i < ARRAY_SIZE(workers); i++) {
		close_fd(ends[i]);
		close_fd(workers[i].process.channel);
	}
	return 0;
}

/* The ticket that a worker was asked for; 0: none. */
static uint64_t asked(unsigned index)
{
	struct worker_message message;
	ssize_t n = recv(ends[index], &message, sizeof(message), 0);

	assert_true(n == sizeof(message) || errno == EAGAIN);
	assert_true(n < 0 || message.type == WORKER_SYNC);
	return n < 0 ? 0 : message.sync.ticket;
}

static bool answer(unsigned index, uint64_t ticket, uint32_t kept_ms)
{
	const struct worker_message message = { .type = WORKER_SYNCED, .sync = { ticket, kept_ms } };

	return uptake_answered(&workers[index], &message);
}

static void begin(struct uptake *uptake, const char *path, unsigned expected)
{
	strcpy(uptake->path, path);
	assert_int_equal(uptake_begin(&supervisor, uptake, LIMIT_MS), expected);
}

static unsigned waits(const struct uptake *uptake)
{
	unsigned count = 0;

	for (unsigned i = 0; i < ARRAY_SIZE(workers); i++)
		count += uptake_waits_for(uptake, &workers[i]);
	return count;
}

static void everybody_is_asked_and_waited_for(void **state)
{
	begin(&first, "", 3);
	assert_in_range(first.due, clock_ms() + LIMIT_MS - 1000, clock_ms() + LIMIT_MS);
	for (unsigned i = 0; i < ARRAY_SIZE(workers); i++) {
		assert_int_equal(waits(&first), 3 - i);
		assert_int_equal(asked(i), 1);
		assert_true(answer(i, 1, 0));
		assert_int_equal(looks, i + 1);
	}
	assert_int_equal(waits(&first), 0);
	assert_int_equal(first.kept_until, 0);
	uptake_end(&supervisor, &first);
	/* Who waits for nothing is not told. */
	uptake_look(&supervisor);
	assert_int_equal(looks, 3);
}

static void a_path_concerns_what_lies_in_it_and_above(void **state)
{
	static const struct {
		const char *path;
		bool concerns[3];
	} cases[] = { { "/srv/a", { true, true, false } },
		      { "/srv/a/below", { true, true, false } },
		      { "/srv/a/below/it", { true, true, false } },
		      { "/srv/a/other", { true, false, false } },
		      { "/srv/ab", { false, false, true } },
		      { "/srv/abc", { false, false, false } },
		      { "/srv", { true, true, true } },
		      { "/", { true, true, true } } };

	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		unsigned expected = 0;

		for (unsigned k = 0; k < ARRAY_SIZE(workers); k++)
			expected += cases[i].concerns[k];
		begin(&first, cases[i].path, expected);
		for (unsigned k = 0; k < ARRAY_SIZE(workers); k++) {
			assert_int_equal(asked(k), cases[i].concerns[k] ? i + 1 : 0);
			assert_int_equal(uptake_waits_for(&first, &workers[k]), cases[i].concerns[k]);
			if (cases[i].concerns[k])
				assert_true(answer(k, i + 1, 0));
		}
		uptake_end(&supervisor, &first);
	}
	/* A share at the root concerns everybody. */
	workers[0].path = "/";
	begin(&first, "/srv/abc", 1);
	assert_true(uptake_waits_for(&first, &workers[0]));
	uptake_end(&supervisor, &first);
}

static void a_worker_has_one_question_at_a_time(void **state)
{
	struct uptake third = { 0 };

	begin(&first, "/srv/ab", 1);
	begin(&second, "/srv/ab", 1);
	begin(&third, "/srv/ab", 1);
	assert_int_equal(asked(2), 1);
	assert_int_equal(asked(2), 0);
	assert_true(answer(2, 1, 0));
	assert_int_equal(waits(&first) + waits(&second) + waits(&third), 2);
	/* The newest is asked for the two. */
	assert_int_equal(asked(2), 3);
	assert_true(answer(2, 3, 0));
	assert_int_equal(waits(&second) + waits(&third), 0);
	assert_int_equal(asked(2), 0);
	uptake_end(&supervisor, &second);
	uptake_end(&supervisor, &first);
	uptake_end(&supervisor, &third);
	assert_null(supervisor.uptakes);
}

static void an_answer_to_nothing_makes_no_sense(void **state)
{
	assert_false(answer(0, 1, 0));
	assert_false(answer(0, 0, 0));
	begin(&first, "", 3);
	assert_false(answer(0, 2, 0));
	assert_false(answer(0, 0, 0));
	assert_false(answer(0, 1, PROTO_KEEP_MS + 1));
	assert_int_equal(waits(&first), 3);
	assert_true(answer(0, 1, PROTO_KEEP_MS));
	assert_false(answer(0, 1, 0));
	assert_int_equal(waits(&first), 2);
	uptake_end(&supervisor, &first);
}

static void what_is_kept_without_a_lease_is_waited_for(void **state)
{
	int64_t now;

	begin(&first, "/srv/a", 2);
	begin(&second, "/srv/ab", 1);
	assert_true(answer(1, 1, 400));
	now = clock_ms();
	assert_in_range(first.kept_until, now + 400, now + 700);
	assert_int_equal(second.kept_until, 0);
	/* The longest counts. */
	assert_true(answer(0, 1, 100));
	assert_in_range(first.kept_until, now + 400, now + 700);
	/* What is answered later does not concern one that has its answers. */
	uptake_end(&supervisor, &second);
	begin(&second, "/srv/a", 2);
	now = first.kept_until;
	assert_true(answer(0, 3, PROTO_KEEP_MS));
	assert_int_equal(first.kept_until, now);
	assert_true(second.kept_until > now);
	uptake_end(&supervisor, &first);
	uptake_end(&supervisor, &second);
}

static void a_worker_that_came_later_or_stops_is_not_asked(void **state)
{
	workers[0].state = WORKER_STATE_STOPPING;
	workers[1].state = WORKER_STATE_STARTING;
	workers[2].born = supervisor.tickets + 1;
	begin(&first, "", 2);
	assert_int_equal(asked(0), 0);
	assert_int_equal(asked(1), 1);
	assert_int_equal(asked(2), 0);
	/* The end of the one that stops is waited for. */
	assert_true(uptake_waits_for(&first, &workers[0]));
	assert_false(uptake_waits_for(&first, &workers[2]));
	uptake_end(&supervisor, &first);
}

static void a_worker_that_takes_no_message_is_asked_with_the_next(void **state)
{
	const struct worker_message filler = { .type = WORKER_LIMITS };
	struct worker_message message;

	while (process_send(&workers[0].process, &filler, -1) == 0)
		;
	begin(&first, "/srv/a/other", 1);
	assert_int_equal(waits(&first), 1);
	while (recv(ends[0], &message, sizeof(message), 0) > 0)
		assert_int_equal(message.type, WORKER_LIMITS);
	begin(&second, "/srv/a/other", 1);
	assert_int_equal(asked(0), 2);
	assert_true(answer(0, 2, 0));
	assert_int_equal(waits(&first) + waits(&second), 0);
	uptake_end(&supervisor, &first);
	uptake_end(&supervisor, &second);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(everybody_is_asked_and_waited_for),
		CASE(a_path_concerns_what_lies_in_it_and_above),
		CASE(a_worker_has_one_question_at_a_time),
		CASE(an_answer_to_nothing_makes_no_sense),
		CASE(what_is_kept_without_a_lease_is_waited_for),
		CASE(a_worker_that_came_later_or_stops_is_not_asked),
		CASE(a_worker_that_takes_no_message_is_asked_with_the_next),
	};

	return cmocka_run_group_tests_name("uptake", tests, NULL, NULL);
}
