/* SPDX-License-Identifier: Apache-2.0 */
/* Binds of single files: what stands for a bound one, what goes back, and what the kernel's permission is still good
 * for. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "guest-fuse/mount/known/file-binds.h"
#include "protocol/clock.h"

#define ROOT  PROTO_ID(1, 1)
#define BOUND PROTO_ID(1, 2)
#define NEXT  PROTO_ID(1, 3)
#define LAST  PROTO_ID(1, 4)

static struct proto_name name;

static int set_up(void **state)
{
	*state = file_binds_new();
	return *state != NULL && proto_name_set(&name, "name") == 0 ? 0 : -1;
}

static int tear_down(void **state)
{
	file_binds_free(*state);
	return 0;
}

static struct file_binds_change set(struct file_binds *binds, uint64_t found, uint32_t mode, uint32_t uid)
{
	struct proto_entry entry = { .node = found, .attr = { .mode = S_IFREG | mode, .uid = uid } };
	struct file_binds_change change;

	file_binds_set(binds, BOUND, &entry, &change);
	return change;
}

static void a_file_that_is_not_bound_stands_for_itself(void **state)
{
	struct file_binds_change change;
	struct proto_name found;
	uint64_t parent;

	assert_int_equal(file_binds_target(*state, NEXT), NEXT);
	assert_false(file_binds_has(*state, NEXT));
	assert_false(file_binds_name(*state, NEXT, &parent, &found));
	assert_int_equal(file_binds_add(*state, BOUND, ROOT, &name), 0);
	assert_int_equal(file_binds_target(*state, NEXT), NEXT);
	assert_int_equal(file_binds_target(*state, BOUND), BOUND);
	assert_true(file_binds_name(*state, BOUND, &parent, &found));
	assert_int_equal(parent, ROOT);
	assert_string_equal(found.text, "name");
	/* It was forgotten while its name was looked up: that look-up is not needed. */
	assert_int_equal(file_binds_forget(*state, BOUND), 0);
	assert_int_equal(file_binds_forget(*state, BOUND), 0);
	change = set(*state, NEXT, 0644, 0);
	assert_int_equal(change.unneeded[0], NEXT);
	assert_int_equal(change.unneeded[1], 0);
}

static void each_target_has_one_look_up_of_ours(void **state)
{
	struct file_binds_change change;

	assert_int_equal(file_binds_add(*state, BOUND, ROOT, &name), 0);
	/* The file itself: the kernel holds it. */
	change = set(*state, BOUND, 0644, 0);
	assert_true(change.unneeded[0] == BOUND && change.unneeded[1] == 0);
	/* Another one, whose look-up is kept; twice. */
	change = set(*state, NEXT, 0644, 0);
	assert_true(change.unneeded[0] == 0 && change.unneeded[1] == 0);
	assert_int_equal(file_binds_target(*state, BOUND), NEXT);
	change = set(*state, NEXT, 0644, 0);
	assert_true(change.unneeded[0] == NEXT && change.unneeded[1] == 0);
	/* A third one in its place, and back to the first. */
	change = set(*state, LAST, 0644, 0);
	assert_true(change.unneeded[0] == 0 && change.unneeded[1] == NEXT);
	change = set(*state, BOUND, 0644, 0);
	assert_true(change.unneeded[0] == BOUND && change.unneeded[1] == LAST);
	assert_int_equal(file_binds_target(*state, BOUND), BOUND);
	/* Bound a second time nothing changes; at the end the last target goes back. */
	(void) set(*state, NEXT, 0644, 0);
	assert_int_equal(file_binds_add(*state, BOUND, ROOT, &name), 0);
	assert_int_equal(file_binds_forget(*state, BOUND), NEXT);
	assert_false(file_binds_has(*state, BOUND));
}

/* Each decides about the target of that moment: whoever asks for both apart may open what nobody has decided about. */
static bool may_open(struct file_binds *binds, uint64_t node)
{
	uint64_t target = 0;
	bool may = file_binds_may_open(binds, node, &target);

	assert_int_equal(target, file_binds_target(binds, node));
	return may;
}

static bool may_change(struct file_binds *binds, uint64_t node)
{
	uint64_t target = 0;
	bool may = file_binds_may_change(binds, node, &target);

	assert_int_equal(target, file_binds_target(binds, node));
	return may;
}

static void a_permission_is_good_only_for_what_allows_as_much(void **state)
{
	assert_int_equal(file_binds_add(*state, BOUND, ROOT, &name), 0);
	assert_false(set(*state, BOUND, 0600, 0).invalidate);
	assert_true(may_open(*state, BOUND));
	assert_true(may_change(*state, BOUND));
	/* Wider: what was allowed is. A change waits all the same. */
	assert_true(set(*state, NEXT, 0644, 0).invalidate);
	assert_true(may_open(*state, BOUND));
	assert_false(may_change(*state, BOUND));
	/* Narrower, and another's. */
	assert_true(set(*state, LAST, 0400, 0).invalidate);
	assert_false(may_open(*state, BOUND));
	assert_true(may_open(*state, NEXT));
	(void) file_binds_forget(*state, BOUND);
	assert_int_equal(file_binds_add(*state, BOUND, ROOT, &name), 0);
	(void) set(*state, BOUND, 0644, 0);
	assert_true(set(*state, NEXT, 0644, 1000).invalidate);
	assert_false(may_open(*state, BOUND));
}

static void what_the_kernel_is_told_of_an_older_file_counts_too(void **state)
{
	struct proto_attr attr = { .mode = S_IFREG | 0666 };

	assert_int_equal(file_binds_add(*state, BOUND, ROOT, &name), 0);
	(void) set(*state, NEXT, 0600, 0);
	assert_true(may_open(*state, BOUND));
	file_binds_told(*state, BOUND, &attr, clock_ns());
	assert_false(may_open(*state, BOUND));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(a_file_that_is_not_bound_stands_for_itself),
		TEST(each_target_has_one_look_up_of_ours),
		TEST(a_permission_is_good_only_for_what_allows_as_much),
		TEST(what_the_kernel_is_told_of_an_older_file_counts_too),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
