/* SPDX-License-Identifier: Apache-2.0 */
/* For how long the kernel may keep an answer. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "guest-fuse/mount/known/file-binds.h"
#include "guest-fuse/mount/known/validity.h"
#include "protocol/clock.h"

#define NODE  PROTO_ID(3, 4)
#define BOUND PROTO_ID(5, 6)

static struct file_binds *file_binds;
static struct validity cached, uncached;

static int set_up(void **state)
{
	struct proto_name name;

	file_binds = file_binds_new();
	validity_init(&cached, true, file_binds);
	validity_init(&uncached, false, file_binds);
	return file_binds != NULL && proto_name_set(&name, "bound") == 0 &&
	                       file_binds_add(file_binds, BOUND, PROTO_ID(1, 1), &name) == 0
	               ? 0
	               : -1;
}

static int tear_down(void **state)
{
	file_binds_free(file_binds);
	return 0;
}

static void time_that_an_answer_took_is_no_time_to_keep_it(void **state)
{
	int64_t now = clock_ns();
	double fresh = validity_left(&cached, now), old = validity_left(&cached, now - 600000000);

	assert_true(fresh > 0 && fresh <= 1.0);
	assert_true(old >= 0 && old <= 0.4);
	assert_true(validity_left(&cached, now - 3000000000) == 0);
	assert_true(validity_ahead_left(now) > 0 && validity_ahead_left(now) <= 0.1);
	assert_true(validity_ahead_left(now - 200000000) == 0);
	assert_true(validity_negative(&cached, now) > 0);
	assert_true(validity_negative(&cached, now - 3000000000) == 0);
}

static void without_a_cache_nothing_is_kept(void **state)
{
	int64_t now = clock_ns();
	double name = 1, attributes = 1;

	assert_true(validity_left(&uncached, now) == 0);
	assert_true(validity_negative(&uncached, now) == 0);
	assert_true(validity_attributes(&uncached, NODE, now) == 0);
	validity_entry(&uncached, NODE, now, &name, &attributes);
	assert_true(name == 0 && attributes == 0);
	assert_false(validity_contents(&uncached, NODE));
	assert_false(validity_ahead(&uncached));
}

static void of_a_bound_file_the_name_is_kept_and_nothing_else(void **state)
{
	int64_t now = clock_ns();
	double name, attributes;

	validity_entry(&cached, NODE, now, &name, &attributes);
	assert_true(name > 0 && name == attributes);
	assert_true(validity_attributes(&cached, NODE, now) > 0);
	assert_true(validity_contents(&cached, NODE));
	validity_entry(&cached, BOUND, now, &name, &attributes);
	assert_true(name > 0 && attributes == 0);
	assert_true(validity_attributes(&cached, BOUND, now) == 0);
	assert_false(validity_contents(&cached, BOUND));
	assert_true(validity_ahead(&cached));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(time_that_an_answer_took_is_no_time_to_keep_it, set_up, tear_down),
		cmocka_unit_test_setup_teardown(without_a_cache_nothing_is_kept, set_up, tear_down),
		cmocka_unit_test_setup_teardown(of_a_bound_file_the_name_is_kept_and_nothing_else, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
