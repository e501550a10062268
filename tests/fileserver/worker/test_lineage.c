/* SPDX-License-Identifier: Apache-2.0 */
/* An object and the directories above it, told without asking the host. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "fileserver/worker/lineage.h"
#include "tests/support/share.h"

enum { SEEN_MAX = 16 };

/* What was told, in order. */
struct seen {
	struct {
		struct lineage lineage;
		char below[32];
	} steps[SEEN_MAX];
	unsigned count, enough; /* enough: how many are wanted, 0: all */
};

static bool take(void *context, const struct lineage *lineage)
{
	struct seen *seen = context;

	assert_true(seen->count < SEEN_MAX);
	seen->steps[seen->count].lineage = *lineage;
	snprintf(seen->steps[seen->count].below, sizeof(seen->steps[0].below), "%s",
	         lineage->below_name == NULL ? "" : lineage->below_name);
	return ++seen->count == seen->enough;
}

static int set_up(void **state)
{
	struct share *share = share_new(0, 1000);

	*state = share;
	if (share == NULL)
		return -1;
	if (mkdirat(share->host, "a", 0755) < 0 || mkdirat(share->host, "a/b", 0755) < 0 ||
	    mkdirat(share->host, "z", 0755) < 0)
		return -1;
	share_host_write(share, "a/b/file", "content");
	return linkat(share->host, "a/b/file", share->host, "z/other", 0);
}

static int tear_down(void **state)
{
	share_free(*state);
	return 0;
}

/* Looks a path up step by step, as a guest does. */
static uint64_t walk(struct share *share, const char *path)
{
	struct proto_entry entry = { .node = share->root };
	char copy[64], *rest = copy, *name;

	snprintf(copy, sizeof(copy), "%s", path);
	while ((name = strsep(&rest, "/")) != NULL)
		assert_int_equal(share_lookup(share, entry.node, name, &entry), 0);
	return entry.node;
}

static void assert_is(const struct share *share, const struct seen *seen, unsigned step, const char *path,
                      unsigned above, const char *below)
{
	struct stat st;

	assert_true(step < seen->count);
	assert_int_equal(fstatat(share->host, path, &st, AT_SYMLINK_NOFOLLOW), 0);
	assert_int_equal(seen->steps[step].lineage.ino, st.st_ino);
	assert_int_equal(seen->steps[step].lineage.above, above);
	assert_string_equal(seen->steps[step].below, below);
}

static void an_object_and_each_directory_above_it_up_to_the_root_are_told(void **state)
{
	struct share *share = *state;
	struct seen seen = { 0 };
	uint64_t file = walk(share, "a/b/file");

	lineage_look(share->session->nodes, file, 0, take, &seen);
	assert_int_equal(seen.count, 4);
	assert_is(share, &seen, 0, "a/b/file", 0, "");
	assert_is(share, &seen, 1, "a/b", 1, "file");
	assert_is(share, &seen, 2, "a", 2, "b");
	assert_is(share, &seen, 3, ".", 3, "a");
	for (unsigned i = 0; i < seen.count; i++)
		assert_true(S_ISREG(seen.steps[i].lineage.type));
	for (unsigned i = 1; i < seen.count; i++) {
		assert_int_equal(seen.steps[i].lineage.below_ino, seen.steps[i - 1].lineage.ino);
		assert_int_equal(seen.steps[i].lineage.below_device, seen.steps[i - 1].lineage.device);
	}
}

static void every_name_of_a_file_has_its_own_way(void **state)
{
	struct share *share = *state;
	struct seen seen = { 0 };
	uint64_t file = walk(share, "a/b/file");
	unsigned first;

	assert_int_equal(walk(share, "z/other"), file);
	lineage_look(share->session->nodes, file, 0, take, &seen);
	assert_int_equal(seen.count, 6);
	/* Either way may be told first. */
	first = strcmp(seen.steps[1].below, "file") == 0 ? 1 : 3;
	assert_is(share, &seen, first, "a/b", 1, "file");
	assert_is(share, &seen, first + 1, "a", 2, "b");
	assert_is(share, &seen, first + 2, ".", 3, "a");
	first = first == 1 ? 4 : 1;
	assert_is(share, &seen, first, "z", 1, "other");
	assert_is(share, &seen, first + 1, ".", 2, "z");
}

static void it_ends_where_enough_was_seen(void **state)
{
	struct share *share = *state;
	uint64_t file = walk(share, "a/b/file");

	(void) walk(share, "z/other");
	for (unsigned enough = 1; enough <= 6; enough++) {
		struct seen seen = { .enough = enough };

		lineage_look(share->session->nodes, file, 0, take, &seen);
		assert_int_equal(seen.count, enough);
	}
}

static void a_handle_stands_for_what_it_is_of(void **state)
{
	struct share *share = *state;
	struct seen seen = { 0 };
	uint64_t handle;

	assert_int_equal(share_open(share, walk(share, "a/b/file"), PROTO_OPEN_READ, &handle), 0);
	/* Also beside another node. */
	lineage_look(share->session->nodes, walk(share, "z"), handle, take, &seen);
	assert_int_equal(seen.count, 4);
	assert_is(share, &seen, 0, "a/b/file", 0, "");
}

static void the_root_has_nothing_above_it(void **state)
{
	struct share *share = *state;
	struct seen seen = { 0 };

	lineage_look(share->session->nodes, share->root, 0, take, &seen);
	assert_int_equal(seen.count, 1);
	assert_is(share, &seen, 0, ".", 0, "");
	assert_true(S_ISDIR(seen.steps[0].lineage.type));
}

static void ids_that_are_not_there_are_passed_over(void **state)
{
	struct share *share = *state;
	struct seen seen = { 0 };
	uint64_t file = walk(share, "a/b/file"), handle, another;
	struct proto_release_reply reply;

	lineage_look(share->session->nodes, file + (UINT64_C(1) << 32), 0, take, &seen);
	lineage_look(share->session->nodes, UINT64_MAX, 0, take, &seen);
	lineage_look(share->session->nodes, file, UINT64_MAX, take, &seen);
	assert_int_equal(share_open(share, file, PROTO_OPEN_READ, &handle), 0);
	/* RELEASE and FORGET have no reply; what comes after them has. */
	assert_int_equal(raw_release(&share->raw, &(struct proto_release_request){ handle }, &reply), 0);
	(void) walk(share, "z");
	lineage_look(share->session->nodes, file, handle, take, &seen);
	/* The next handle may lie where this one was. */
	assert_int_equal(share_open(share, file, PROTO_OPEN_READ, &another), 0);
	assert_int_equal(PROTO_ID_SLOT(another), PROTO_ID_SLOT(handle));
	lineage_look(share->session->nodes, file, handle, take, &seen);
	assert_int_equal(raw_release(&share->raw, &(struct proto_release_request){ another }, &reply), 0);
	share_forget(share, file, 1);
	(void) walk(share, "z");
	lineage_look(share->session->nodes, file, 0, take, &seen);
	assert_int_equal(seen.count, 0);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(an_object_and_each_directory_above_it_up_to_the_root_are_told),
		TEST(every_name_of_a_file_has_its_own_way),
		TEST(it_ends_where_enough_was_seen),
		TEST(a_handle_stands_for_what_it_is_of),
		TEST(the_root_has_nothing_above_it),
		TEST(ids_that_are_not_there_are_passed_over),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
