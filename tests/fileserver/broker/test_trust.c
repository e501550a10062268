/* SPDX-License-Identifier: Apache-2.0 */
/* What somebody else could have put at a path is told from what nobody else could. Runs as root, who can chown. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "fileserver/broker/trust.h"
#include "tests/support/scratch.h"

enum { STRANGER = 64321 };

static const char *shared; /* where guests may write; NULL: nowhere */

static int set_up(void **state)
{
	shared = NULL;
	(void) scratch_make();
	(void) scratch_directory("top");
	(void) scratch_directory("top/in");
	(void) scratch_directory("other");
	return 0;
}

static int tear_down(void **state)
{
	scratch_remove();
	return 0;
}

static bool is_shared(void *context, const char *directory)
{
	return shared != NULL && strncmp(directory, shared, strlen(shared)) == 0;
}

static bool trusts(const char *name)
{
	return trust_path(scratch_path(name), is_shared, NULL);
}

/* Mode and owner of what is at a name. */
static void make(const char *name, mode_t mode, uid_t owner)
{
	assert_int_equal(lchown(scratch_path(name), owner, owner), 0);
	assert_int_equal(chmod(scratch_path(name), mode), 0);
}

static void what_only_the_user_and_root_can_have_made_is_trusted(void **state)
{
	assert_true(trusts("top"));
	assert_true(trusts("top/in"));
	assert_true(trusts("top/../top/./in"));
	assert_false(trusts("top/none"));
	/* Its own mode is the user's affair, and so is whom he gave it to. */
	make("top/in", 0777, STRANGER);
	assert_true(trusts("top/in"));
}

static void where_others_may_write_it_is_not(void **state)
{
	make("top", 0777, 0);
	assert_false(trusts("top/in"));
	make("top", 0775, 0);
	assert_int_equal(chown(scratch_path("top"), 0, STRANGER), 0);
	assert_false(trusts("top/in"));
	make("top", 0755, STRANGER);
	assert_false(trusts("top/in"));
}

static void where_names_are_sticky_their_owner_counts(void **state)
{
	make("top", 01777, 0);
	assert_true(trusts("top/in"));
	make("top/in", 0755, STRANGER);
	assert_false(trusts("top/in"));
}

static void a_strangers_link_is_not_trusted_wherever_it_leads(void **state)
{
	make("top", 01777, 0);
	assert_int_equal(symlink("../other", scratch_path("top/link")), 0);
	assert_true(trusts("top/link"));
	assert_int_equal(lchown(scratch_path("top/link"), STRANGER, STRANGER), 0);
	assert_false(trusts("top/link"));
}

static void a_link_where_guests_may_write_is_not_trusted(void **state)
{
	char top[SCRATCH_PATH];

	assert_int_equal(symlink(scratch_path("other"), scratch_path("top/link")), 0);
	assert_true(trusts("top/link"));
	snprintf(top, sizeof(top), "%s", scratch_path("top"));
	shared = top;
	assert_false(trusts("top/link"));
	assert_true(trusts("top/in"));
	/* Where it leads to what they may write to anyway, nothing is gained by it. */
	assert_int_equal(symlink("in", scratch_path("top/again")), 0);
	assert_true(trusts("top/again"));
}

static void a_ring_of_links_has_an_end(void **state)
{
	assert_int_equal(symlink("ring", scratch_path("top/ring")), 0);
	assert_false(trusts("top/ring"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(what_only_the_user_and_root_can_have_made_is_trusted, set_up,
		                                tear_down),
		cmocka_unit_test_setup_teardown(where_others_may_write_it_is_not, set_up, tear_down),
		cmocka_unit_test_setup_teardown(where_names_are_sticky_their_owner_counts, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_strangers_link_is_not_trusted_wherever_it_leads, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_link_where_guests_may_write_is_not_trusted, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_ring_of_links_has_an_end, set_up, tear_down),
	};

	if (geteuid() != 0) {
		(void) puts("1..0 # SKIP only root can give a file away");
		return 0;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
