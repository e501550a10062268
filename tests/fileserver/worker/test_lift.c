/* SPDX-License-Identifier: Apache-2.0 */
/* The second try past the owner's own bits: when there is one, and that the right is given back after it. */
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <setjmp.h>
#include <stdarg.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cmocka.h>

#include "fileserver/worker/host/lift.h"
#include "tests/support/share.h"

static int set_up_with(void **state, uint32_t flags)
{
	if (share_become_unprivileged() < 0)
		return -1;
	*state = share_new(flags, 1000);
	return *state == NULL ? -1 : 0;
}

static int set_up(void **state)
{
	return set_up_with(state, 0);
}

static int set_up_host(void **state)
{
	return set_up_with(state, PROTO_HELLO_PERMISSIONS_HOST);
}

static int set_up_read_only(void **state)
{
	return set_up_with(state, PROTO_HELLO_READ_ONLY);
}

/* The calling thread may pass every bit just now. */
static bool has_override(void)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3];

	assert_int_equal(syscall(SYS_capget, &header, data), 0);
	return (data[0].effective & CAP_TO_MASK(CAP_DAC_OVERRIDE)) != 0;
}

/* Where there are no user namespaces nothing is lifted, and there is nothing to see. */
static void demand_namespace(void)
{
	if (!lift_possible(geteuid()))
		skip();
}

static void a_closed_directory_is_written_to_at_the_second_try(void **state)
{
	struct share *share = *state;
	struct lift lift = LIFT_INIT(&share->service->session);
	int tries = 0, r;
	struct stat before, after;

	demand_namespace();
	assert_int_equal(mkdirat(share->host, "closed", 0555), 0);
	assert_int_equal(fstatat(share->host, "closed", &before, 0), 0);
	do {
		assert_int_equal(has_override(), tries == 1);
		tries++;
		r = mkdirat(share->host, "closed/new", 0755) < 0 ? -errno : 0;
	} while (lift_again(&lift, r));
	assert_int_equal(r, 0);
	assert_int_equal(tries, 2);
	assert_false(has_override());
	assert_int_equal(fstatat(share->host, "closed", &after, 0), 0);
	assert_int_equal(after.st_mode, before.st_mode);
}

static void a_second_refusal_is_the_last_and_the_right_is_given_back(void **state)
{
	struct share *share = *state;
	struct lift lift = LIFT_INIT(&share->service->session);

	demand_namespace();
	assert_true(lift_again(&lift, -EACCES));
	assert_true(has_override());
	assert_false(lift_again(&lift, -EACCES));
	assert_false(has_override());
}

static void what_worked_or_failed_otherwise_is_not_tried_again(void **state)
{
	static const int results[] = { 0, 5, -EPERM, -ENOENT, -EROFS, -ESTALE, -EIO };
	struct share *share = *state;

	for (size_t i = 0; i < sizeof(results) / sizeof(results[0]); i++) {
		struct lift lift = LIFT_INIT(&share->service->session);

		assert_false(lift_again(&lift, results[i]));
		assert_false(has_override());
	}
}

static void a_full_disk_is_tried_again_only_when_room_may_come(void **state)
{
	struct share *share = *state;
	struct lift lift = LIFT_INIT(&share->service->session);

	/* Nothing was removed: nothing will leave the disk. */
	assert_false(lift_again(&lift, -ENOSPC));
	assert_false(lift_again(&lift, -EDQUOT));
	assert_false(has_override());
}

static void under_permissions_host_only_records_pass(void **state)
{
	struct share *share = *state;
	struct lift plain = LIFT_INIT(&share->service->session), record = LIFT_INIT(&share->service->session);

	demand_namespace();
	assert_false(lift_again(&plain, -EACCES));
	assert_false(has_override());
	record.record = true;
	assert_true(lift_again(&record, -EACCES));
	assert_true(has_override());
	assert_false(lift_again(&record, 0));
	assert_false(has_override());
}

static void on_a_read_only_share_nothing_passes(void **state)
{
	struct share *share = *state;
	struct lift plain = LIFT_INIT(&share->service->session), record = LIFT_INIT(&share->service->session);

	record.record = true;
	assert_false(lift_again(&plain, -EACCES));
	assert_false(lift_again(&record, -EACCES));
	assert_false(has_override());
}

static void a_share_that_becomes_read_only_lifts_no_more(void **state)
{
	struct share *share = *state;
	struct lift before = LIFT_INIT(&share->service->session), after = LIFT_INIT(&share->service->session);

	demand_namespace();
	assert_true(lift_again(&before, -EACCES));
	assert_false(lift_again(&before, 0));
	assert_true(lanes_make_read_only(share->service, 5000));
	assert_false(lift_again(&after, -EACCES));
	assert_false(has_override());
}

static void root_lifts_nothing(void **state)
{
	assert_false(lift_possible(0));
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, share_tear_down_unprivileged)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_closed_directory_is_written_to_at_the_second_try),
		TEST(a_second_refusal_is_the_last_and_the_right_is_given_back),
		TEST(what_worked_or_failed_otherwise_is_not_tried_again),
		TEST(a_full_disk_is_tried_again_only_when_room_may_come),
		cmocka_unit_test_setup_teardown(under_permissions_host_only_records_pass, set_up_host,
		                                share_tear_down_unprivileged),
		cmocka_unit_test_setup_teardown(on_a_read_only_share_nothing_passes, set_up_read_only,
		                                share_tear_down_unprivileged),
		TEST(a_share_that_becomes_read_only_lifts_no_more),
		TEST(root_lifts_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
