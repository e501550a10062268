/* SPDX-License-Identifier: Apache-2.0 */
/* Under which names the kernel knows objects, and which are in a directory: learned, moved, replaced, gone, forgotten.
 */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "guest-fuse/mount/known/objects.h"

#define ROOT      PROTO_ID(7, 0)
#define DIRECTORY PROTO_ID(7, 1)
#define ONE       PROTO_ID(9, 2)
#define OTHER     PROTO_ID(9, 3)

static int set_up(void **state)
{
	return objects_new(ROOT, (struct objects **) state);
}

static int tear_down(void **state)
{
	objects_free(*state);
	return 0;
}

static void learn(struct objects *objects, uint64_t object, uint64_t parent, const char *name)
{
	struct proto_entry entry = { .node = object, .attr = { .mode = S_IFREG | 0644 } };

	assert_int_equal(objects_learn(objects, parent, name, &entry, 1), 0);
}

static size_t children(struct objects *objects, uint64_t parent)
{
	uint64_t *ids;
	size_t count;

	assert_int_equal(objects_children(objects, parent, NULL, &ids, &count), 0);
	free(ids);
	return count;
}

static bool is_child(struct objects *objects, uint64_t parent, uint64_t object)
{
	size_t count, found = 0;
	uint64_t *ids;

	assert_int_equal(objects_children(objects, parent, NULL, &ids, &count), 0);
	for (size_t i = 0; i < count; i++)
		found += ids[i] == object;
	free(ids);
	assert_true(found <= 1);
	return found == 1;
}

static void assert_place(struct objects *objects, uint64_t object, uint64_t parent, const char *name)
{
	struct proto_name found;
	uint64_t found_parent;

	assert_true(objects_place(objects, object, &found_parent, &found));
	assert_int_equal(found_parent, parent);
	assert_string_equal(found.text, name);
}

static void a_name_leads_to_what_the_kernel_was_told_of_last(void **state)
{
	uint64_t *ids;
	size_t count;

	assert_int_equal(objects_named(*state, ROOT, "name"), 0);
	learn(*state, ONE, ROOT, "name");
	assert_int_equal(objects_named(*state, ROOT, "name"), ONE);
	assert_int_equal(objects_named(*state, DIRECTORY, "name"), 0);
	assert_int_equal(objects_named(*state, ROOT, "other"), 0);
	learn(*state, OTHER, ROOT, "name");
	assert_int_equal(objects_named(*state, ROOT, "name"), OTHER);
	/* What it led to before may still be open: who drops all of the directory must find it. */
	assert_true(is_child(*state, ROOT, ONE));
	assert_place(*state, ONE, ROOT, "name");
	assert_int_equal(objects_children(*state, ROOT, "name", &ids, &count), 0);
	assert_int_equal(count, 2);
	assert_true((ids[0] == ONE && ids[1] == OTHER) || (ids[0] == OTHER && ids[1] == ONE));
	free(ids);
	assert_int_equal(objects_children(*state, DIRECTORY, "name", &ids, &count), 0);
	assert_int_equal(count, 0);
	free(ids);
	/* It was moved back. */
	learn(*state, ONE, ROOT, "name");
	assert_int_equal(objects_named(*state, ROOT, "name"), ONE);
	assert_int_equal(objects_forget(*state, ONE, 2), 2);
	assert_int_equal(objects_named(*state, ROOT, "name"), 0);
	assert_false(is_child(*state, ROOT, ONE));
	assert_true(is_child(*state, ROOT, OTHER));
	/* The kernel may know it still. */
	objects_unname(*state, ROOT, "name");
	assert_int_equal(objects_named(*state, ROOT, "name"), 0);
	assert_true(objects_was_named(*state, ROOT, "name"));
	assert_false(objects_was_named(*state, ROOT, "other"));
	assert_false(objects_was_named(*state, DIRECTORY, "name"));
}

static void an_object_learned_again_is_found_by_that_name(void **state)
{
	struct proto_entry entry = { .node = ONE, .attr = { .mode = S_IFREG } };

	learn(*state, ONE, ROOT, "name");
	assert_true(objects_learn_again(*state, DIRECTORY, "again", &entry));
	assert_int_equal(objects_named(*state, ROOT, "name"), 0);
	assert_int_equal(objects_named(*state, DIRECTORY, "again"), ONE);
	objects_unname(*state, DIRECTORY, "again");
	assert_int_equal(objects_named(*state, DIRECTORY, "again"), 0);
	assert_true(objects_learn_again(*state, DIRECTORY, "again", &entry));
	assert_int_equal(objects_named(*state, DIRECTORY, "again"), ONE);
	/* With another type it is a lie, and changes nothing. */
	entry.attr.mode = S_IFDIR;
	assert_false(objects_learn_again(*state, ROOT, "name", &entry));
	assert_place(*state, ONE, DIRECTORY, "again");
}

static void a_lie_leaves_the_name_as_it_was(void **state)
{
	struct proto_entry lie = { .node = OTHER, .attr = { .mode = S_IFDIR } };

	learn(*state, ONE, ROOT, "name");
	learn(*state, OTHER, ROOT, "other");
	assert_true(objects_learn(*state, ROOT, "name", &lie, 1) < 0);
	lie.node = ROOT;
	assert_true(objects_learn(*state, ROOT, "name", &lie, 1) < 0);
	assert_false(objects_learn_again(*state, ROOT, "name", &lie));
	assert_int_equal(objects_named(*state, ROOT, "name"), ONE);
	assert_int_equal(objects_named(*state, ROOT, "other"), OTHER);
	assert_int_equal(children(*state, 0), 2);
}

static void a_renamed_object_has_one_name(void **state)
{
	learn(*state, ONE, ROOT, "old");
	objects_moved(*state, ONE, DIRECTORY, "new");
	assert_int_equal(objects_named(*state, ROOT, "old"), 0);
	assert_int_equal(objects_named(*state, DIRECTORY, "new"), ONE);
	assert_false(is_child(*state, ROOT, ONE));
	assert_true(is_child(*state, DIRECTORY, ONE));
	assert_place(*state, ONE, DIRECTORY, "new");
	/* The root and what nobody knows have no place. */
	objects_moved(*state, ROOT, DIRECTORY, "new");
	objects_moved(*state, OTHER, DIRECTORY, "new");
	objects_moved(*state, 0, DIRECTORY, "new");
	assert_int_equal(objects_named(*state, DIRECTORY, "new"), ONE);
	assert_int_equal(children(*state, DIRECTORY), 1);
}

static void a_rename_over_another_leaves_it_without_a_name(void **state)
{
	learn(*state, ONE, ROOT, "one");
	learn(*state, OTHER, ROOT, "other");
	objects_moved(*state, ONE, ROOT, "other");
	assert_int_equal(objects_named(*state, ROOT, "one"), 0);
	assert_int_equal(objects_named(*state, ROOT, "other"), ONE);
	assert_true(is_child(*state, ROOT, OTHER));
	assert_int_equal(objects_forget(*state, OTHER, 1), 1);
	assert_int_equal(objects_named(*state, ROOT, "other"), ONE);
	assert_int_equal(children(*state, ROOT), 1);
}

static void exchanged_objects_have_each_others_names(void **state)
{
	learn(*state, ONE, ROOT, "one");
	learn(*state, OTHER, DIRECTORY, "other");
	objects_moved(*state, ONE, DIRECTORY, "other");
	objects_moved(*state, OTHER, ROOT, "one");
	assert_int_equal(objects_named(*state, ROOT, "one"), OTHER);
	assert_int_equal(objects_named(*state, DIRECTORY, "other"), ONE);
	assert_true(is_child(*state, ROOT, OTHER) && is_child(*state, DIRECTORY, ONE));
	assert_int_equal(children(*state, 0), 2);
}

static void a_name_that_is_gone_leads_to_nothing_and_the_place_stays(void **state)
{
	learn(*state, ONE, ROOT, "name");
	objects_unname(*state, ROOT, "other");
	objects_unname(*state, DIRECTORY, "name");
	assert_int_equal(objects_named(*state, ROOT, "name"), ONE);
	objects_unname(*state, ROOT, "name");
	objects_unname(*state, ROOT, "name");
	assert_int_equal(objects_named(*state, ROOT, "name"), 0);
	assert_true(is_child(*state, ROOT, ONE));
	assert_place(*state, ONE, ROOT, "name");
	/* A new one of this name, and the old one is forgotten. */
	learn(*state, OTHER, ROOT, "name");
	assert_int_equal(objects_forget(*state, ONE, 1), 1);
	assert_int_equal(objects_named(*state, ROOT, "name"), OTHER);
	/* Made again: the same object under the same name. */
	objects_unname(*state, ROOT, "name");
	learn(*state, OTHER, ROOT, "name");
	assert_int_equal(objects_named(*state, ROOT, "name"), OTHER);
}

static void a_file_without_a_name_is_among_the_children(void **state)
{
	struct proto_name name;
	uint64_t parent;

	learn(*state, ONE, DIRECTORY, "");
	learn(*state, OTHER, DIRECTORY, "");
	assert_int_equal(objects_named(*state, DIRECTORY, ""), 0);
	assert_false(objects_place(*state, ONE, &parent, &name));
	assert_int_equal(children(*state, DIRECTORY), 2);
	/* It is linked to a name. */
	learn(*state, ONE, ROOT, "name");
	assert_int_equal(objects_named(*state, ROOT, "name"), ONE);
	assert_true(is_child(*state, ROOT, ONE));
	assert_int_equal(children(*state, DIRECTORY), 1);
	assert_int_equal(objects_forget(*state, OTHER, 1), 1);
	assert_int_equal(children(*state, DIRECTORY), 0);
}

static void children_do_not_need_their_directory_in_the_table(void **state)
{
	char name[16];

	learn(*state, DIRECTORY, ROOT, "directory");
	for (uint32_t i = 0; i < 100; i++) {
		snprintf(name, sizeof(name), "%u", i);
		learn(*state, PROTO_ID(1, 100 + i), i % 2 == 0 ? DIRECTORY : ROOT, name);
	}
	assert_int_equal(objects_forget(*state, DIRECTORY, 1), 1);
	assert_int_equal(children(*state, DIRECTORY), 50);
	assert_int_equal(children(*state, ROOT), 50);
	assert_int_equal(children(*state, 0), 100);
	assert_false(is_child(*state, 0, ROOT));
	learn(*state, DIRECTORY, ROOT, "directory");
	assert_int_equal(children(*state, DIRECTORY), 50);
	assert_int_equal(objects_named(*state, DIRECTORY, "42"), PROTO_ID(1, 142));
	for (uint32_t i = 0; i < 100; i++)
		assert_int_equal(objects_forget(*state, PROTO_ID(1, 100 + i), 1), 1);
	assert_int_equal(children(*state, DIRECTORY), 0);
	assert_int_equal(children(*state, 0), 1);
}

enum { THREADS = 4, ROUNDS = 4000, SHARED = 16 };

/* All threads give the same names to their own objects, and forget these. */
static void *work(void *argument)
{
	struct objects *objects = *(struct objects **) argument;
	struct proto_entry entry = { .attr = { .mode = S_IFREG } };
	static _Atomic uint32_t next;
	uint32_t self = ++next;
	char name[16];

	for (uint32_t i = 0; i < ROUNDS; i++) {
		uint64_t *ids, found;
		size_t count;

		entry.node = PROTO_ID(self, 1000 + i % 64);
		snprintf(name, sizeof(name), "%u", i % SHARED);
		(void) objects_learn(objects, i % 3 == 0 ? ROOT : DIRECTORY, name, &entry, 1);
		found = objects_named(objects, DIRECTORY, name);
		if (i % 5 == 0)
			objects_moved(objects, found, ROOT, name);
		if (i % 7 == 0)
			objects_unname(objects, ROOT, name);
		if (i % 64 == 0 && objects_children(objects, i % 128 == 0 ? 0 : DIRECTORY, NULL, &ids, &count) == 0)
			free(ids);
		if (i % 2 == 0)
			(void) objects_forget(objects, entry.node, 1);
	}
	for (uint32_t i = 0; i < 64; i++)
		(void) objects_forget(objects, PROTO_ID(self, 1000 + i), UINT64_MAX);
	return NULL;
}

static void many_threads_leave_nothing_behind(void **state)
{
	pthread_t threads[THREADS];
	char name[16];

	for (size_t i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, work, state), 0);
	for (size_t i = 0; i < THREADS; i++)
		assert_int_equal(pthread_join(threads[i], NULL), 0);
	assert_int_equal(objects_count(*state), 1);
	assert_int_equal(children(*state, 0), 0);
	assert_int_equal(children(*state, DIRECTORY), 0);
	for (uint32_t i = 0; i < SHARED; i++) {
		snprintf(name, sizeof(name), "%u", i);
		assert_int_equal(objects_named(*state, DIRECTORY, name), 0);
		assert_int_equal(objects_named(*state, ROOT, name), 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_name_leads_to_what_the_kernel_was_told_of_last, set_up, tear_down),
		cmocka_unit_test_setup_teardown(an_object_learned_again_is_found_by_that_name, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_lie_leaves_the_name_as_it_was, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_renamed_object_has_one_name, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_rename_over_another_leaves_it_without_a_name, set_up, tear_down),
		cmocka_unit_test_setup_teardown(exchanged_objects_have_each_others_names, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_name_that_is_gone_leads_to_nothing_and_the_place_stays, set_up,
		                                tear_down),
		cmocka_unit_test_setup_teardown(a_file_without_a_name_is_among_the_children, set_up, tear_down),
		cmocka_unit_test_setup_teardown(children_do_not_need_their_directory_in_the_table, set_up, tear_down),
		cmocka_unit_test_setup_teardown(many_threads_leave_nothing_behind, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
