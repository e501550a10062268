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

#include "fileserver/worker/nodes/ids.h"
#include "fileserver/worker/nodes/lineage.h"
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

static void look(const struct share *share, uint64_t id, struct seen *seen)
{
	struct nodes *nodes = share->service->session.nodes;
	struct node *node;

	assert_int_equal(nodes_get(nodes, id, &node), 0);
	lineage_look(nodes, node, take, seen);
	nodes_put(nodes, node);
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

	look(share, file, &seen);
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
	look(share, file, &seen);
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

		look(share, file, &seen);
		assert_int_equal(seen.count, enough);
	}
}

static void the_root_has_nothing_above_it(void **state)
{
	struct share *share = *state;
	struct seen seen = { 0 };

	look(share, share->root, &seen);
	assert_int_equal(seen.count, 1);
	assert_is(share, &seen, 0, ".", 0, "");
	assert_true(S_ISDIR(seen.steps[0].lineage.type));
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(an_object_and_each_directory_above_it_up_to_the_root_are_told),
		TEST(every_name_of_a_file_has_its_own_way),
		TEST(it_ends_where_enough_was_seen),
		TEST(the_root_has_nothing_above_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
