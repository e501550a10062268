/* SPDX-License-Identifier: Apache-2.0 */
/* For how long the kernel may keep an answer. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "guest-fuse/mount/client.h"
#include "protocol/clock.h"

static struct client client;

static void time_that_an_answer_took_is_no_time_to_keep_it(void **state)
{
	int64_t now = clock_ns();
	double fresh, old;

	client.timeout = 1.0;
	fresh = client_keep(&client, now);
	old = client_keep(&client, now - 600000000);
	assert_true(fresh > 0 && fresh <= 1.0);
	assert_true(old >= 0 && old <= 0.4);
	assert_true(client_keep(&client, now - 3000000000) == 0);
	client.timeout = 0;
	assert_true(client_keep(&client, now) == 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(time_that_an_answer_took_is_no_time_to_keep_it) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
