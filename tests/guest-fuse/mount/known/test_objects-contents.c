/* SPDX-License-Identifier: Apache-2.0 */
/* Which state of an object's contents the kernel has: when the page cache is kept, and when it is not. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "guest-fuse/mount/known/file-binds.h"
#include "guest-fuse/mount/known/held.h"
#include "guest-fuse/mount/known/validity.h"
#include "protocol/clock.h"
#include "tests/guest-fuse/mount/known/object.h"

static bool keeps(struct objects *objects, const struct proto_attr *attr)
{
	struct objects_opened opened;

	assert_int_equal(objects_opened(objects, NODE, attr, &opened), 0);
	assert_true(opened.keep_cache == (opened.drop == 0));
	if (opened.drop != 0)
		objects_dropped(objects, NODE, opened.drop);
	return opened.keep_cache;
}

static void pages_are_not_kept_before_they_were_dropped(void **state)
{
	struct proto_attr attr = entry_of(NODE, S_IFREG).attr;
	struct objects_opened first, second, third;

	assert_int_equal(learn(*state, NODE, S_IFREG), 0);
	assert_true(keeps(*state, &attr));
	attr.mtime.nanoseconds++;
	assert_int_equal(objects_opened(*state, NODE, &attr, &first), 0);
	assert_int_equal(objects_opened(*state, NODE, &attr, &second), 0);
	assert_false(first.keep_cache || second.keep_cache);
	/* Another change in between: what was dropped for the first does not count for it. */
	attr.mtime.nanoseconds++;
	assert_int_equal(objects_opened(*state, NODE, &attr, &third), 0);
	assert_false(third.keep_cache);
	objects_dropped(*state, NODE, first.drop);
	assert_int_equal(objects_opened(*state, NODE, &attr, &second), 0);
	assert_false(second.keep_cache);
	objects_dropped(*state, NODE, third.drop);
	assert_true(keeps(*state, &attr));
}

static void pages_are_kept_while_the_file_stays_as_it_is(void **state)
{
	struct proto_attr attr = entry_of(NODE, S_IFREG).attr;

	assert_int_equal(learn(*state, NODE, S_IFREG), 0);
	assert_true(keeps(*state, &attr));
	assert_true(keeps(*state, &attr));
	attr.mtime.nanoseconds++;
	assert_false(keeps(*state, &attr));
	assert_true(keeps(*state, &attr));
	attr.size++;
	assert_false(keeps(*state, &attr));
	/* The host wrote, and put the time of change back: only the time of the inode tells. */
	attr.ctime.seconds++;
	assert_false(keeps(*state, &attr));
}

static void own_writes_keep_the_pages(void **state)
{
	struct proto_attr attr = entry_of(NODE, S_IFREG).attr, earlier = attr;

	assert_int_equal(learn(*state, NODE, S_IFREG), 0);
	assert_true(keeps(*state, &attr));
	attr.size += 5;
	attr.ctime.seconds++;
	objects_wrote(*state, NODE, &attr);
	objects_wrote(*state, NODE, &earlier); /* a reply that was overtaken */
	assert_true(keeps(*state, &attr));
	objects_unsure(*state, NODE);
	assert_false(keeps(*state, &attr));
	assert_true(keeps(*state, &attr));
}

static void a_page_that_was_written_in_part_is_not_there(void **state)
{
	struct proto_attr attr = entry_of(NODE, S_IFREG).attr;

	assert_int_equal(learn(*state, NODE, S_IFREG), 0);
	assert_true(keeps(*state, &attr));
	assert_int_equal(objects_unread(*state, NODE), 0);
	attr.size = 1000;
	attr.ctime.seconds++;
	objects_wrote(*state, NODE, &attr);
	objects_missing(*state, NODE);
	assert_int_equal(objects_unread(*state, NODE), 1000);
	assert_true(keeps(*state, &attr));
	assert_int_equal(objects_unread(*state, NODE), 1000);
	objects_paged(*state, NODE);
	assert_int_equal(objects_unread(*state, NODE), 0);
}

static void while_others_write_no_pages_are_kept(void **state)
{
	struct proto_attr attr = entry_of(NODE, S_IFREG).attr, written = attr;

	assert_int_equal(learn(*state, NODE, S_IFREG), 0);
	attr.flags = PROTO_ATTR_WRITERS;
	assert_true(keeps(*state, &attr)); /* there are none */
	assert_false(keeps(*state, &attr));
	/* Own writes say nothing about those of others. */
	written.ctime.seconds++;
	objects_wrote(*state, NODE, &written);
	assert_false(keeps(*state, &written));
	assert_true(keeps(*state, &written));
	attr.ctime.seconds++;
	assert_true(keeps(*state, &attr));
	/* Since then they may have written, though the times say nothing. */
	assert_false(keeps(*state, &written));
	assert_true(keeps(*state, &written));
}

static void a_change_of_mode_does_not_hide_what_the_host_wrote(void **state)
{
	struct proto_attr attr = entry_of(NODE, S_IFREG).attr;

	assert_int_equal(learn(*state, NODE, S_IFREG), 0);
	assert_true(keeps(*state, &attr));
	attr.ctime.seconds++;
	objects_touched(*state, NODE, &attr);
	assert_true(keeps(*state, &attr));
	attr.mtime.seconds++;
	objects_touched(*state, NODE, &attr);
	assert_false(keeps(*state, &attr));
}

static struct objects_kernel kernel_of(struct objects *objects)
{
	struct objects_kernel kernel;

	assert_true(objects_kernel(objects, NODE, &kernel));
	return kernel;
}

/* The kernel may keep these attributes. */
static void keep(struct objects *objects, const struct proto_attr *attr)
{
	struct held *held = held_new();
	struct file_binds *binds = file_binds_new();
	struct validity validity;
	const struct answer answer = { .since = clock_ns() };

	assert_true(held != NULL && binds != NULL);
	validity_init(&validity, true, true, binds, held);
	assert_true(objects_keep(objects, &validity, NODE, attr, &answer) > 0);
	held_changed(held, NODE);
	assert_true(objects_keep(objects, &validity, NODE, attr, &answer) == 0);
	held_free(held);
	file_binds_free(binds);
}

static void the_kernel_is_told_of_another_size(void **state)
{
	struct proto_attr attr = entry_of(NODE, S_IFREG).attr;
	struct objects_opened opened;

	assert_int_equal(learn(*state, NODE, S_IFREG), 0);
	assert_int_equal(objects_opened(*state, NODE, &attr, &opened), 0);
	assert_false(opened.attr_differ);
	attr.size = 11;
	/* It would ask. */
	assert_int_equal(objects_opened(*state, NODE, &attr, &opened), 0);
	assert_false(opened.attr_differ);
	keep(*state, &attr);
	assert_int_equal(objects_opened(*state, NODE, &attr, &opened), 0);
	assert_true(opened.attr_differ);
	assert_int_equal(objects_opened(*state, NODE, &attr, &opened), 0);
	assert_false(opened.attr_differ);
	keep(*state, &attr);
	assert_int_equal(objects_told(*state, NODE, &attr), 0);
	assert_int_equal(objects_opened(*state, NODE, &attr, &opened), 0);
	assert_false(opened.attr_differ);
}

static void attributes_that_the_kernel_may_keep_are_noted(void **state)
{
	struct proto_attr attr = entry_of(NODE, S_IFREG).attr;
	struct objects_kernel kernel;

	assert_false(objects_kernel(*state, NODE, &kernel));
	assert_int_equal(learn(*state, NODE, S_IFREG), 0);
	assert_false(kernel_of(*state).attributes);
	keep(*state, &attr);
	/* They are of the state that there is. */
	assert_false(kernel_of(*state).attributes);
	(void) usleep(1);
	objects_changed(*state, NODE);
	keep(*state, &attr);
	assert_true(kernel_of(*state).attributes);
	objects_kernel_told(*state, NODE, false);
	assert_false(kernel_of(*state).attributes);
	assert_int_equal(objects_told_change(*state, NODE, &attr), 0);
	(void) usleep(1);
	objects_changed(*state, NODE);
	assert_true(kernel_of(*state).attributes);
	/* It is told of directories in any case. */
	assert_false(objects_kernel(*state, ROOT, &kernel));
}

static void questions_for_attributes_are_counted(void **state)
{
	assert_int_equal(learn(*state, NODE, S_IFREG), 0);
	objects_asking(*state, NODE, 1);
	objects_asking(*state, NODE, 1);
	objects_asking(*state, NODE, -1);
	assert_true(kernel_of(*state).asking && kernel_of(*state).asked > 0);
	objects_asking(*state, NODE, -1);
	objects_asking(*state, NODE, -1);
	assert_false(kernel_of(*state).asking);
}

static void pages_from_before_a_change_are_known(void **state)
{
	struct proto_attr attr = entry_of(NODE, S_IFREG).attr;

	assert_int_equal(learn(*state, NODE, S_IFREG), 0);
	objects_unsure(*state, NODE);
	assert_false(kernel_of(*state).pages);
	(void) usleep(1);
	objects_paged(*state, NODE);
	assert_false(kernel_of(*state).pages);
	(void) usleep(1);
	objects_unsure(*state, NODE);
	objects_paged(*state, NODE);
	assert_true(kernel_of(*state).pages);
	objects_kernel_told(*state, NODE, false);
	assert_true(kernel_of(*state).pages);
	/* The kernel drops them at other times. */
	assert_int_equal(objects_told(*state, NODE, &attr), 0);
	assert_true(kernel_of(*state).pages);
	attr.mtime.seconds++;
	assert_int_equal(objects_told_change(*state, NODE, &attr), 0);
	assert_true(kernel_of(*state).pages);
	attr.mtime.seconds++;
	assert_int_equal(objects_told(*state, NODE, &attr), 0);
	assert_false(kernel_of(*state).pages);
	objects_paged(*state, NODE);
	(void) usleep(1);
	objects_unsure(*state, NODE);
	objects_kernel_told(*state, NODE, true);
	assert_false(kernel_of(*state).pages);
	/* What is written from here is there; the kernel may not use an answer that came at the same time. */
	objects_wrote(*state, NODE, &attr);
	attr.mtime.seconds++;
	assert_int_equal(objects_told(*state, NODE, &attr), 0);
	assert_true(kernel_of(*state).pages);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(pages_are_not_kept_before_they_were_dropped, set_up, tear_down),
		cmocka_unit_test_setup_teardown(pages_are_kept_while_the_file_stays_as_it_is, set_up, tear_down),
		cmocka_unit_test_setup_teardown(own_writes_keep_the_pages, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_page_that_was_written_in_part_is_not_there, set_up, tear_down),
		cmocka_unit_test_setup_teardown(while_others_write_no_pages_are_kept, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_change_of_mode_does_not_hide_what_the_host_wrote, set_up, tear_down),
		cmocka_unit_test_setup_teardown(the_kernel_is_told_of_another_size, set_up, tear_down),
		cmocka_unit_test_setup_teardown(attributes_that_the_kernel_may_keep_are_noted, set_up, tear_down),
		cmocka_unit_test_setup_teardown(questions_for_attributes_are_counted, set_up, tear_down),
		cmocka_unit_test_setup_teardown(pages_from_before_a_change_are_known, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
