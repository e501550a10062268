/* SPDX-License-Identifier: Apache-2.0 */
/* The gate before what the server is steered by: what each kind of entry refuses, and what it leaves alone. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <cmocka.h>

#include "fileserver/worker/session/protect.h"
#include "tests/support/share.h"

static struct protect_entry entries[8];
static size_t count;

static int set_up(void **state)
{
	count = 0;
	*state = share_new(0, 256);
	return *state == NULL ? -1 : 0;
}

static int tear_down(void **state)
{
	share_free(*state);
	return 0;
}

/* Adds an entry about what is at path on the host ("": the share's root), without telling the worker yet. */
static void add(struct share *share, const char *path, enum protect_kind kind, uint32_t flags, const char *name)
{
	struct protect_entry *entry = &entries[count++];
	char child[512];
	struct stat st;

	*entry = (struct protect_entry){ .kind = kind, .flags = flags, .subject = (uint32_t) count };
	assert_int_equal(fstatat(share->host, path[0] == '\0' ? "." : path, &st, AT_SYMLINK_NOFOLLOW), 0);
	entry->device = PROTECT_DEVICE(major(st.st_dev), minor(st.st_dev));
	entry->ino = st.st_ino;
	snprintf(entry->name, sizeof(entry->name), "%s", name);
	snprintf(child, sizeof(child), "%s/%s", path[0] == '\0' ? "." : path, name);
	if (kind == PROTECT_NAME && fstatat(share->host, child, &st, AT_SYMLINK_NOFOLLOW) == 0) {
		entry->child_device = PROTECT_DEVICE(major(st.st_dev), minor(st.st_dev));
		entry->child_ino = st.st_ino;
	}
}

static int by_ino(const void *left, const void *right)
{
	const struct protect_entry *one = left, *other = right;

	return one->ino < other->ino ? -1 : one->ino > other->ino;
}

static void take(struct share *share)
{
	int fd = memfd_create("list", MFD_CLOEXEC);

	qsort(entries, count, sizeof(entries[0]), by_ino);
	assert_int_equal(write(fd, entries, count * sizeof(entries[0])), count * sizeof(entries[0]));
	assert_int_equal(protect_take(&share->service->session.protect, fd), 0);
	close(fd);
}

static int make_directory(struct share *share, uint64_t parent, const char *name)
{
	struct proto_mkdir_request request = { .parent = parent, .name = raw_name(name), .mode = 0755 };
	struct proto_mkdir_reply reply;

	return raw_mkdir(&share->raw, &request, &reply);
}

static int change_mode(struct share *share, uint64_t node)
{
	struct proto_setattr_request request = { .node = node, .set = { .valid = PROTO_SET_MODE, .mode = 0700 } };
	struct proto_setattr_reply reply;

	return raw_setattr(&share->raw, &request, &reply);
}

static int open_for(struct share *share, uint64_t node, uint32_t flags)
{
	uint64_t handle;

	return share_open(share, node, flags, &handle);
}

static uint64_t node_of(struct share *share, uint64_t parent, const char *name)
{
	struct proto_entry entry;

	assert_int_equal(share_lookup(share, parent, name, &entry), 0);
	return entry.node;
}

static void a_name_is_not_made_and_its_neighbours_are(void **state)
{
	struct share *share = *state;

	add(share, "", PROTECT_NAME, 0, "settings");
	take(share);
	assert_int_equal(make_directory(share, share->root, "settings"), -EPERM);
	assert_int_equal(make_directory(share, share->root, "Settings"), 0);
	assert_int_equal(make_directory(share, share->root, "settings2"), 0);
	assert_int_equal(make_directory(share, node_of(share, share->root, "settings2"), "settings"), 0);
}

static void a_folded_name_is_not_made_in_any_spelling(void **state)
{
	/* The third from the end begins with a long s, which folds to an s. */
	static const char *const spellings[] = { "settings",           "SETTINGS",  "Settings.",
		                                 "\xc5\xbf\x65ttings", "settings ", "SETTIN~1" };
	struct share *share = *state;

	add(share, "", PROTECT_NAME, PROTECT_FOLDED, "settings");
	take(share);
	for (size_t i = 0; i < sizeof(spellings) / sizeof(spellings[0]); i++)
		assert_int_equal(make_directory(share, share->root, spellings[i]), -EPERM);
	assert_int_equal(make_directory(share, share->root, "setting"), 0);
	assert_int_equal(make_directory(share, share->root, "settings2"), 0);
}

static void what_cannot_be_the_folded_name_is_free_beneath(void **state)
{
	struct share *share = *state;

	assert_int_equal(mkdirat(share->host, "back~1", 0777), 0);
	assert_int_equal(mkdirat(share->host, "Settings", 0777), 0);
	add(share, "", PROTECT_NAME, PROTECT_FOLDED, "settings");
	take(share);
	assert_int_equal(make_directory(share, node_of(share, share->root, "back~1"), "new"), 0);
	assert_int_equal(make_directory(share, node_of(share, share->root, "Settings"), "new"), -EPERM);
}

static void what_the_broker_has_not_seen_is_closed(void **state)
{
	struct share *share = *state;

	add(share, "", PROTECT_NAME, 0, "later");
	take(share);
	assert_int_equal(mkdirat(share->host, "later", 0777), 0);
	assert_int_equal(mkdirat(share->host, "later/deep", 0777), 0);
	assert_int_equal(make_directory(share, node_of(share, share->root, "later"), "new"), -EPERM);
	assert_int_equal(make_directory(share, node_of(share, node_of(share, share->root, "later"), "deep"), "new"),
	                 -EPERM);
	count = 0;
	add(share, "", PROTECT_NAME, 0, "later");
	take(share);
	assert_int_equal(make_directory(share, node_of(share, share->root, "later"), "new"), 0);
}

static void an_object_is_not_changed_under_any_name(void **state)
{
	struct share *share = *state;
	struct proto_link_request link = { .parent = share->root, .name = raw_name("other") };
	struct proto_link_reply linked;
	uint64_t node;

	share_host_write(share, "file", "content");
	assert_int_equal(linkat(share->host, "file", share->host, "link", 0), 0);
	add(share, "file", PROTECT_OBJECT, 0, "");
	take(share);
	node = node_of(share, share->root, "link");
	link.node = node;
	assert_int_equal(open_for(share, node, PROTO_OPEN_READ), 0);
	assert_int_equal(open_for(share, node, PROTO_OPEN_READ | PROTO_OPEN_WRITE), -EPERM);
	assert_int_equal(open_for(share, node, PROTO_OPEN_READ | PROTO_OPEN_TRUNCATE), -EPERM);
	assert_int_equal(change_mode(share, node), -EPERM);
	assert_int_equal(raw_link(&share->raw, &link, &linked), -EPERM);
}

static void a_secret_is_not_read_looked_up_or_found_by_creating_it(void **state)
{
	struct share *share = *state;
	struct proto_create_request create = { .parent = share->root, .flags = PROTO_OPEN_READ, .mode = 0600 };
	struct proto_create_reply created;
	struct proto_entry entry;

	share_host_write(share, "token", "secret");
	assert_int_equal(linkat(share->host, "token", share->host, "link", 0), 0);
	add(share, "token", PROTECT_OBJECT, PROTECT_SECRET, "");
	add(share, "", PROTECT_NAME, PROTECT_SECRET, "token");
	take(share);
	assert_int_equal(share_lookup(share, share->root, "token", &entry), -ENOENT);
	assert_int_equal(share_lookup(share, share->root, "token.1.tmp", &entry), -ENOENT);
	assert_int_equal(share_lookup(share, share->root, ".token.swp", &entry), -ENOENT);
	assert_int_equal(open_for(share, node_of(share, share->root, "link"), PROTO_OPEN_READ), -EPERM);
	create.name = raw_name("link");
	assert_int_equal(raw_create(&share->raw, &create, &created), -EPERM);
	create.name = raw_name("token");
	assert_int_equal(raw_create(&share->raw, &create, &created), -EPERM);
}

static void a_sealed_directory_leaves_those_beneath_it_free(void **state)
{
	struct share *share = *state;
	uint64_t directory;

	assert_int_equal(mkdirat(share->host, "free", 0777), 0);
	share_host_write(share, "file", "content");
	share_host_write(share, "free/file", "content");
	add(share, "", PROTECT_SEALED, 0, "");
	take(share);
	directory = node_of(share, share->root, "free");
	assert_int_equal(make_directory(share, share->root, "new"), -EPERM);
	assert_int_equal(open_for(share, node_of(share, share->root, "file"), PROTO_OPEN_WRITE), -EPERM);
	assert_int_equal(change_mode(share, share->root), -EPERM);
	assert_int_equal(make_directory(share, directory, "new"), 0);
	assert_int_equal(open_for(share, node_of(share, directory, "file"), PROTO_OPEN_WRITE), 0);
	assert_int_equal(change_mode(share, directory), 0);
}

static void a_file_is_in_every_directory_that_has_a_name_of_it(void **state)
{
	struct share *share = *state;
	uint64_t sealed, node;

	assert_int_equal(mkdirat(share->host, "sealed", 0777), 0);
	share_host_write(share, "sealed/file", "content");
	assert_int_equal(linkat(share->host, "sealed/file", share->host, "link", 0), 0);
	add(share, "sealed", PROTECT_SEALED, 0, "");
	take(share);
	sealed = node_of(share, share->root, "sealed");
	node = node_of(share, sealed, "file");
	/* The guest was told of this name last. */
	assert_true(node_of(share, share->root, "link") == node);
	assert_int_equal(open_for(share, node, PROTO_OPEN_WRITE), -EPERM);
	assert_int_equal(change_mode(share, node), -EPERM);
}

static void a_tree_is_closed_to_its_depth(void **state)
{
	struct share *share = *state;
	uint64_t tree, deep;

	assert_int_equal(mkdirat(share->host, "tree", 0777), 0);
	assert_int_equal(mkdirat(share->host, "tree/deep", 0777), 0);
	share_host_write(share, "tree/deep/file", "content");
	add(share, "tree", PROTECT_TREE, 0, "");
	take(share);
	tree = node_of(share, share->root, "tree");
	deep = node_of(share, tree, "deep");
	assert_int_equal(make_directory(share, deep, "new"), -EPERM);
	assert_int_equal(open_for(share, node_of(share, deep, "file"), PROTO_OPEN_WRITE), -EPERM);
	assert_int_equal(change_mode(share, deep), -EPERM);
	assert_int_equal(make_directory(share, share->root, "new"), 0);
}

static void what_was_opened_before_is_not_written_any_more(void **state)
{
	struct share *share = *state;
	struct proto_fallocate_request allocate = { .offset = 0, .length = 10 };
	struct proto_fallocate_reply allocated;
	uint64_t node, handle;

	share_host_write(share, "file", "content");
	node = node_of(share, share->root, "file");
	assert_int_equal(share_open(share, node, PROTO_OPEN_READ | PROTO_OPEN_WRITE, &handle), 0);
	assert_int_equal(share_write(share, handle, 0, "x", 1, 0), 1);
	add(share, "file", PROTECT_OBJECT, 0, "");
	take(share);
	assert_int_equal(share_write(share, handle, 0, "y", 1, 0), -EPERM);
	allocate.handle = handle;
	assert_int_equal(raw_fallocate(&share->raw, &allocate, &allocated), -EPERM);
}

static void a_list_of_another_size_is_refused(void **state)
{
	struct share *share = *state;
	int fd = memfd_create("list", MFD_CLOEXEC);

	assert_int_equal(write(fd, "x", 1), 1);
	assert_int_equal(protect_take(&share->service->session.protect, fd), -EINVAL);
	assert_int_equal(ftruncate(fd, (off_t) (PROTECT_ENTRIES_MAX + 1) * (off_t) sizeof(entries[0])), 0);
	assert_int_equal(protect_take(&share->service->session.protect, fd), -EINVAL);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_name_is_not_made_and_its_neighbours_are, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_folded_name_is_not_made_in_any_spelling, set_up, tear_down),
		cmocka_unit_test_setup_teardown(what_cannot_be_the_folded_name_is_free_beneath, set_up, tear_down),
		cmocka_unit_test_setup_teardown(what_the_broker_has_not_seen_is_closed, set_up, tear_down),
		cmocka_unit_test_setup_teardown(an_object_is_not_changed_under_any_name, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_secret_is_not_read_looked_up_or_found_by_creating_it, set_up,
		                                tear_down),
		cmocka_unit_test_setup_teardown(a_sealed_directory_leaves_those_beneath_it_free, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_file_is_in_every_directory_that_has_a_name_of_it, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_tree_is_closed_to_its_depth, set_up, tear_down),
		cmocka_unit_test_setup_teardown(what_was_opened_before_is_not_written_any_more, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_list_of_another_size_is_refused, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
