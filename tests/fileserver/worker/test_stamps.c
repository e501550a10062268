/* SPDX-License-Identifier: Apache-2.0 */
/* Changes of files that no event tells of, found by looking again. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "fileserver/worker/nodes/stamps.h"
#include "protocol/cleanup.h"
#include "tests/fileserver/worker/leasing.h"
#include "tests/support/scratch.h"

static struct leasing leasing;
static struct node *root, *store, *files[2];

/* Two files in store, each with a second name in far. */
static int set_up(void **state)
{
	if (scratch_set_up(state) < 0)
		return -1;
	scratch_directory("store");
	scratch_directory("far");
	scratch_file("store/0", "text", 0644);
	scratch_file("store/1", "text", 0644);
	return 0;
}

static void begin(void)
{
	leasing_elsewhere("ln store/0 far/0; ln store/1 far/1");
	leasing_begin(&leasing, 0);
	root = leasing_learn(&leasing, NULL, NULL, NULL, 0);
	store = leasing_learn(&leasing, root, "store", "store", 1);
	files[0] = leasing_learn(&leasing, store, "0", "store/0", 1);
	files[1] = leasing_learn(&leasing, store, "1", "store/1", 1);
}

static void end(void)
{
	for (unsigned i = 0; i < ARRAY_SIZE(files); i++)
		nodes_put(leasing.nodes, files[i]);
	nodes_put(leasing.nodes, store);
	nodes_put(leasing.nodes, root);
	leasing_end(&leasing);
}

/* What the guest was told of a file now. */
static void tell(struct node *file, const char *path)
{
	struct statx stx;

	assert_int_equal(statx(AT_FDCWD, scratch_path(path), AT_SYMLINK_NOFOLLOW, NODES_STATX, &stx), 0);
	stamps_keep(file, &stx);
}

struct found {
	unsigned count;
	uint64_t ids[8];
};

static void on_changed(void *context, struct node *node)
{
	struct found *found = context;

	assert_true(found->count < ARRAY_SIZE(found->ids));
	found->ids[found->count++] = nodes_id(node);
}

static struct found look_again(void)
{
	struct found found = { .count = 0 };
	uint32_t cursor = 0;

	while (stamps_look_again(leasing.nodes, &cursor, on_changed, &found))
		;
	return found;
}

static void what_no_event_tells_is_found_by_looking_again(void **state)
{
	static const char *const changes[] = {
		"ln store/0 far/new",                                       /* another name */
		"ln store/0 far/more && echo y >> far/more && rm far/more", /* that is not there any more */
		"chmod 600 far/0",
		"echo more >> far/0",
		"touch -d @1 far/0",
		"rm far/0",
		"mv store/0 far/moved", /* what is told by the directory is told once more: better than not at all */
	};
	struct found found;

	begin();
	for (unsigned i = 0; i < ARRAY_SIZE(files); i++)
		assert_int_equal(stamps_of(files[i]), 0);
	assert_int_equal(look_again().count, 0);
	for (unsigned i = 0; i < ARRAY_SIZE(changes); i++) {
		(void) usleep(20000); /* a tick of the clock that stamps times */
		tell(files[0], "store/0");
		tell(files[1], "store/1");
		assert_int_equal(look_again().count, 0);
		leasing_elsewhere(changes[i]);
		found = look_again();
		if (found.count != 1 || found.ids[0] != nodes_id(files[0]))
			fail_msg("%s: %u", changes[i], found.count);
		/* It is told once. */
		assert_int_equal(stamps_of(files[0]), 0);
		assert_int_equal(look_again().count, 0);
		assert_int_not_equal(stamps_of(files[1]), 0);
	}
	end();
}

static void files_of_a_directory_that_has_moved_are_found_as_well(void **state)
{
	struct found found;

	begin();
	tell(files[0], "store/0");
	tell(files[1], "store/1");
	while (leasing.counters.descriptors > 0) {
		nodes_tick(leasing.nodes);
		(void) usleep(1000);
	}
	assert_int_equal(look_again().count, 0);
	/* It leaves no descriptor. */
	assert_int_equal(leasing.counters.descriptors, 0);
	leasing_elsewhere("mv store elsewhere && mkdir store && echo x >store/0");
	found = look_again();
	assert_int_equal(found.count, 2);
	leasing_elsewhere("rm -r store && mv elsewhere store");
	end();
}

static void what_the_session_has_changed_itself_is_told_as_it_is_found(void **state)
{
	uint32_t before;

	begin();
	tell(files[0], "store/0");
	before = stamps_of(files[0]);
	leasing_elsewhere("echo own >> store/0");
	stamps_own(files[0], before);
	stamps_own(files[1], 0);
	assert_int_equal(stamps_of(files[1]), 0);
	assert_int_equal(look_again().count, 0);
	assert_int_not_equal(stamps_of(files[0]), 0);
	/* From then on what others change is found. */
	leasing_elsewhere("echo more >> far/0");
	assert_int_equal(look_again().count, 1);
	end();
}

static void a_file_that_the_session_has_renamed_is_as_told(void **state)
{
	struct statx before, after;

	begin();
	for (unsigned foreign = 0; foreign < 2; foreign++) {
		tell(files[0], "store/0");
		assert_int_equal(statx(AT_FDCWD, scratch_path("store/0"), 0, NODES_STATX, &before), 0);
		(void) usleep(20000);
		leasing_elsewhere("mv store/0 store/2 && mv store/2 store/0");
		if (foreign)
			leasing_elsewhere("echo more >> far/0");
		assert_int_equal(statx(AT_FDCWD, scratch_path("store/0"), 0, NODES_STATX, &after), 0);
		stamps_renamed(files[0], &before, &after);
		assert_int_equal(look_again().count, foreign);
	}
	/* It was told something else meanwhile, or nothing. */
	stamps_renamed(files[0], &before, &after);
	assert_int_equal(stamps_of(files[0]), 0);
	end();
}

static void what_the_guest_does_not_refer_to_is_not_looked_at(void **state)
{
	begin();
	tell(files[0], "store/0");
	tell(files[1], "store/1");
	leasing_elsewhere("chmod 600 store/0 store/1");
	nodes_forget(leasing.nodes, nodes_id(files[0]), 1);
	assert_int_equal(look_again().count, 1);
	end();
}

static void many_files_in_many_directories_are_looked_at(void **state)
{
	struct node *directories[5], *many[5 * 90];
	char path[32];

	begin();
	leasing_elsewhere("for d in 0 1 2 3 4; do mkdir d$d; for f in $(seq 0 89); do : >d$d/$f; done; done");
	for (unsigned d = 0; d < ARRAY_SIZE(directories); d++) {
		(void) snprintf(path, sizeof(path), "d%u", d);
		directories[d] = leasing_learn(&leasing, root, path, path, 1);
	}
	for (unsigned i = 0; i < ARRAY_SIZE(many); i++) {
		(void) snprintf(path, sizeof(path), "d%u/%u", i % 5, i / 5);
		many[i] = leasing_learn(&leasing, directories[i % 5], path + 3, path, 1);
		tell(many[i], path);
	}
	assert_int_equal(look_again().count, 0);
	leasing_elsewhere("ln d0/0 far/a; ln d4/89 far/b; ln d2/45 far/c");
	assert_int_equal(look_again().count, 3);
	for (unsigned i = 0; i < ARRAY_SIZE(many); i++)
		nodes_put(leasing.nodes, many[i]);
	for (unsigned d = 0; d < ARRAY_SIZE(directories); d++)
		nodes_put(leasing.nodes, directories[d]);
	end();
}

#define TEST(test) cmocka_unit_test_setup_teardown(test, set_up, scratch_tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(what_no_event_tells_is_found_by_looking_again),
		TEST(files_of_a_directory_that_has_moved_are_found_as_well),
		TEST(what_the_session_has_changed_itself_is_told_as_it_is_found),
		TEST(a_file_that_the_session_has_renamed_is_as_told),
		TEST(what_the_guest_does_not_refer_to_is_not_looked_at),
		TEST(many_files_in_many_directories_are_looked_at),
	};

	return cmocka_run_group_tests_name("stamps", tests, NULL, NULL);
}
