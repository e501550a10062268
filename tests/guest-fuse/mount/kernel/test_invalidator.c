/* SPDX-License-Identifier: Apache-2.0 */
/* What the kernel, which is a socket pair here, is told after INVALIDATE, in which order, and when the server hears. */
#include <linux/fuse.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define FUSE_USE_VERSION 314
#include <fuse_lowlevel.h>

#include "guest-fuse/mount/kernel/invalidator.h"
#include "guest-fuse/mount/kernel/lowlevel.h"
#include "guest-fuse/mount/known/held.h"
#include "guest-fuse/mount/known/objects.h"
#include "guest-fuse/mount/known/validity.h"
#include "guest-fuse/mount/mount-options.h"
#include "guest-fuse/mount/parts.h"
#include "guest-fuse/mount/server/server.h"
#include "protocol/clock.h"

#define NODE(slot) ((uint64_t) 1 << 32 | (slot))

enum { ROOT_SLOT = 1, DIRECTORY_SLOT, FILE_SLOT, NEW_SLOT, MANY_SLOT = 100 };
enum { TAKEN_US = 2000, SOON_MS = 5000, QUIET_MS = 100, EXPIRE = 1, MANY = 20 };

static const uint64_t root = NODE(ROOT_SLOT), directory = NODE(DIRECTORY_SLOT), file = NODE(FILE_SLOT),
                      new_file = NODE(NEW_SLOT);

struct told {
	struct mount_options options;
	struct proto_token token;
	struct client *client;
	int kernel;
	uint64_t sequence;
};

/* One notification. */
struct message {
	struct fuse_out_header header;
	union {
		struct fuse_notify_inval_entry_out entry;
		struct fuse_notify_inval_inode_out inode;
		uint8_t bytes[512];
	};
};

/* The kernel is given attributes to keep, in answer to a question that nothing has crossed. */
static void keeps(struct told *told, uint64_t node, uint32_t mode)
{
	const struct client *client = told->client;
	const struct proto_attr attr = { .mode = mode, .nlink = 1 };
	const struct answer answer = { .since = clock_ns(), .events = held_now(client->held), .leased = true };

	assert_true(objects_keep(client->objects, client->validity, node, &attr, &answer) > 0);
	/* The kernel has taken it by now. */
	(void) usleep(TAKEN_US);
}

static void learn(struct told *told, uint64_t node, uint64_t parent, const char *name, uint32_t mode)
{
	const struct proto_entry entry = { .node = node, .attr = { .mode = mode, .nlink = 1 } };

	assert_int_equal(objects_learn(told->client->objects, parent, name, &entry, 1), 0);
	keeps(told, node, mode);
}

/* libfuse tells nothing before it has answered INIT. */
static void initialize(struct told *told)
{
	struct {
		struct fuse_in_header header;
		struct fuse_init_in init;
	} in = { .header = { .len = sizeof(in), .opcode = FUSE_INIT, .unique = 1 },
		 .init = { .major = FUSE_KERNEL_VERSION, .minor = FUSE_KERNEL_MINOR_VERSION } };
	struct fuse_buf buffer = { .size = sizeof(in), .mem = &in };
	uint8_t answer[512];

	fuse_session_process_buf(told->client->fuse, &buffer);
	assert_true(recv(told->kernel, answer, sizeof(answer), 0) > (ssize_t) sizeof(struct fuse_out_header));
}

static int set_up(void **state)
{
	struct told *told = calloc(1, sizeof(*told));
	int fds[2];

	assert_non_null(told);
	*state = told;
	told->options = (struct mount_options){ .leases = true, .lanes = 1 };
	told->client = parts_new(&told->options, &told->token);
	assert_non_null(told->client);
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds), 0);
	told->client->device = fds[0];
	told->kernel = fds[1];
	told->client->server->welcome.root.node = root;
	assert_int_equal(parts_complete(told->client), 0);
	told->client->validity->expires = true;
	assert_int_equal(lowlevel_new(told->client), 0);
	initialize(told);
	learn(told, directory, root, "directory", S_IFDIR);
	learn(told, file, directory, "file", S_IFREG);
	assert_int_equal(invalidator_start(told->client->invalidator), 0);
	return 0;
}

static int tear_down(void **state)
{
	struct told *told = *state;

	invalidator_stop(told->client->invalidator);
	parts_free(told->client);
	(void) close(told->kernel);
	free(told);
	return 0;
}

/* An INVALIDATE with the next sequence. */
static void take(struct told *told, uint32_t what, uint64_t at, uint64_t node, const char *name)
{
	struct proto_invalidate_request request = {
		.sequence = ++told->sequence, .what = what, .directory = at, .node = node
	};

	if (name != NULL)
		assert_int_equal(proto_name_set(&request.name, name), 0);
	invalidator_take(told->client->invalidator, &request);
}

static bool comes(struct told *told, int ms)
{
	struct pollfd kernel = { .fd = told->kernel, .events = POLLIN };

	return poll(&kernel, 1, ms) > 0;
}

static struct message next(struct told *told, int32_t code)
{
	struct message message = { .header.len = 0 };

	assert_true(comes(told, SOON_MS));
	assert_true(recv(told->kernel, &message, sizeof(message), 0) >= (ssize_t) sizeof(message.header));
	assert_int_equal(message.header.unique, 0);
	assert_int_equal(message.header.error, code);
	return message;
}

static void assert_name(struct told *told, uint64_t parent, const char *name, uint32_t flags)
{
	struct message message = next(told, FUSE_NOTIFY_INVAL_ENTRY);
	uint32_t got;

	memcpy(&got, (uint8_t *) &message.entry.namelen + sizeof(message.entry.namelen), sizeof(got));
	assert_int_equal(message.entry.parent, parent);
	assert_int_equal(message.entry.namelen, strlen(name));
	assert_string_equal((char *) &message.entry + sizeof(message.entry), name);
	assert_int_equal(got, flags);
}

/* The number is the kernel's: 1 for the root. */
static void assert_inode(struct told *told, uint64_t inode, bool contents)
{
	struct message message = next(told, FUSE_NOTIFY_INVAL_INODE);

	assert_int_equal(message.inode.ino, inode);
	assert_int_equal(message.inode.off, contents ? 0 : -1);
}

static uint64_t acknowledged(const struct told *told)
{
	return atomic_load(&told->client->server->acknowledged);
}

/* The server hears of it after the kernel, which is another thread's affair. */
static void assert_acknowledged(const struct told *told, uint64_t sequence)
{
	int64_t until = clock_ms() + SOON_MS;

	while (acknowledged(told) < sequence && clock_ms() < until)
		(void) usleep(1000);
	assert_int_equal(acknowledged(told), sequence);
}

static void assert_quiet(struct told *told)
{
	assert_false(comes(told, QUIET_MS));
}

static void attributes_of_a_file_go_and_its_pages_stay(void **state)
{
	struct client *client = ((struct told *) *state)->client;
	uint64_t before = held_now(client->held);

	objects_paged(client->objects, file);
	take(*state, PROTO_INVALIDATE_ATTRIBUTES, 0, file, NULL);
	/* At once, before the kernel hears of it: no answer that is on its way is kept. */
	assert_false(held_since(client->held, file, before));
	assert_true(held_since(client->held, new_file, before));
	assert_inode(*state, file, false);
	assert_acknowledged(*state, 1);
	assert_quiet(*state);
}

static void pages_of_a_file_go_with_its_contents(void **state)
{
	objects_paged(((struct told *) *state)->client->objects, file);
	take(*state, PROTO_INVALIDATE_ATTRIBUTES | PROTO_INVALIDATE_CONTENTS, 0, file, NULL);
	assert_inode(*state, file, true);
	assert_acknowledged(*state, 1);
	assert_quiet(*state);
}

static void of_what_the_kernel_was_not_given_to_keep_it_is_told_nothing(void **state)
{
	take(*state, PROTO_INVALIDATE_ATTRIBUTES, 0, file, NULL);
	assert_inode(*state, file, false);
	take(*state, PROTO_INVALIDATE_ATTRIBUTES | PROTO_INVALIDATE_CONTENTS, 0, file, NULL);
	assert_acknowledged(*state, 2);
	assert_quiet(*state);
}

static void a_file_that_the_kernel_asks_about_is_told_of_all_the_same_before_the_server_hears(void **state)
{
	struct told *told = *state;

	objects_asking(told->client->objects, file, 1);
	take(told, PROTO_INVALIDATE_ATTRIBUTES, 0, file, NULL);
	take(told, PROTO_INVALIDATE_NAME, directory, 0, "none");
	assert_name(told, directory, "none", 0);
	assert_inode(told, directory, true);
	assert_inode(told, file, false);
	assert_acknowledged(told, 2);
	objects_asking(told->client->objects, file, -1);
	assert_quiet(told);
}

static void a_name_that_was_missing_is_looked_up_again(void **state)
{
	struct told *told = *state;
	struct client *client = told->client;
	uint64_t before = held_now(client->held);

	take(told, PROTO_INVALIDATE_NAME, directory, 0, "none");
	assert_false(held_since(client->held, directory, before));
	assert_name(told, directory, "none", 0);
	assert_inode(told, directory, true);
	assert_acknowledged(told, 1);
	assert_quiet(told);
}

static void a_file_that_lost_its_name_is_told_of_after_the_name_and_before_the_server_hears(void **state)
{
	struct told *told = *state;

	take(told, PROTO_INVALIDATE_NAME, directory, 0, "file");
	assert_int_equal(objects_named(told->client->objects, directory, "file"), 0);
	assert_name(told, directory, "file", 0);
	assert_inode(told, directory, true);
	assert_inode(told, file, false);
	assert_acknowledged(told, 1);
	assert_quiet(told);
}

static void a_file_that_lost_its_name_is_told_of_also_when_the_next_one_is_known(void **state)
{
	struct told *told = *state;
	uint64_t before = held_now(told->client->held);

	learn(told, new_file, directory, "file", S_IFREG);
	take(told, PROTO_INVALIDATE_NAME, directory, 0, "file");
	assert_false(held_since(told->client->held, file, before));
	assert_false(held_since(told->client->held, new_file, before));
	assert_name(told, directory, "file", 0);
	assert_inode(told, file, false);
	assert_inode(told, directory, true);
	assert_inode(told, new_file, false);
	assert_acknowledged(told, 1);
	assert_quiet(told);
}

static void of_many_that_had_the_name_all_are_told(void **state)
{
	struct told *told = *state;
	bool seen[MANY] = { false };
	struct message message;

	for (unsigned i = 0; i < MANY; i++)
		learn(told, NODE(MANY_SLOT + i), directory, "many", S_IFREG);
	take(told, PROTO_INVALIDATE_NAME, directory, 0, "many");
	assert_acknowledged(told, 1);
	while (comes(told, QUIET_MS)) {
		assert_true(recv(told->kernel, &message, sizeof(message), 0) > 0);
		for (unsigned i = 0; i < MANY; i++)
			seen[i] |= message.header.error == FUSE_NOTIFY_INVAL_INODE &&
			           message.inode.ino == NODE(MANY_SLOT + i);
	}
	for (unsigned i = 0; i < MANY; i++)
		assert_true(seen[i]);
}

static void a_directory_keeps_what_is_mounted_in_it_and_is_told_of_again(void **state)
{
	struct told *told = *state;

	take(told, PROTO_INVALIDATE_NAME, root, 0, "directory");
	assert_int_equal(objects_named(told->client->objects, root, "directory"), directory);
	assert_name(told, FUSE_ROOT_ID, "directory", EXPIRE);
	assert_inode(told, directory, false);
	assert_inode(told, FUSE_ROOT_ID, true);
	assert_acknowledged(told, 1);
	assert_name(told, FUSE_ROOT_ID, "directory", EXPIRE);
	assert_name(told, FUSE_ROOT_ID, "directory", EXPIRE);
	assert_quiet(told);
}

static void a_kernel_that_cannot_expire_a_name_removes_it(void **state)
{
	struct told *told = *state;

	told->client->validity->expires = false;
	take(told, PROTO_INVALIDATE_NAME, root, 0, "directory");
	for (int i = 0; i < 3; i++) {
		assert_name(told, FUSE_ROOT_ID, "directory", 0);
		if (i == 0) {
			assert_inode(told, directory, false);
			assert_inode(told, FUSE_ROOT_ID, true);
		}
	}
	assert_quiet(told);
}

static void a_whole_directory_goes_with_what_is_in_it(void **state)
{
	struct told *told = *state;
	uint64_t before = held_now(told->client->held);

	objects_paged(told->client->objects, file);
	take(told, PROTO_INVALIDATE_DIRECTORY | PROTO_INVALIDATE_ATTRIBUTES | PROTO_INVALIDATE_CONTENTS, directory, 0,
	     NULL);
	assert_false(held_since(told->client->held, file, before));
	assert_name(told, directory, "file", EXPIRE);
	assert_inode(told, file, true);
	assert_inode(told, directory, true);
	assert_acknowledged(told, 1);
	assert_quiet(told);
}

static void everything_goes_with_all(void **state)
{
	struct told *told = *state;
	uint64_t before = held_now(told->client->held);

	take(told, PROTO_INVALIDATE_ALL, 0, 0, NULL);
	assert_false(held_since(told->client->held, new_file, before));
	/* In the order in which they were learned: the directory first. */
	assert_name(told, FUSE_ROOT_ID, "directory", EXPIRE);
	assert_inode(told, directory, true);
	assert_name(told, directory, "file", EXPIRE);
	assert_inode(told, file, false);
	assert_inode(told, FUSE_ROOT_ID, true);
	assert_acknowledged(told, 1);
	assert_quiet(told);
}

static void a_flood_becomes_one_message_that_stands_for_all(void **state)
{
	struct told *told = *state;
	enum { FLOOD = 20000 };
	int64_t until = clock_ms() + 4 * SOON_MS;
	unsigned count = 0;
	struct message message;
	bool all = false;

	/* The kernel is slow: nobody reads, and the socket is full soon. */
	for (int i = 0; i < FLOOD; i++)
		take(told, PROTO_INVALIDATE_ATTRIBUTES, 0, directory, NULL);
	assert_true(acknowledged(told) < FLOOD);
	while ((acknowledged(told) < FLOOD || comes(told, 0)) && clock_ms() < until) {
		if (!comes(told, 1))
			continue;
		assert_true(recv(told->kernel, &message, sizeof(message), 0) > 0);
		all |= message.header.error == FUSE_NOTIFY_INVAL_INODE && message.inode.ino == FUSE_ROOT_ID;
		count++;
	}
	assert_int_equal(acknowledged(told), FLOOD);
	assert_true(all && count < FLOOD);
}

static void a_name_that_is_to_be_looked_up_again_is_no_news_to_the_server(void **state)
{
	struct told *told = *state;
	const struct proto_name name = { .length = 4, .text = "file" };

	invalidator_expire(told->client->invalidator, directory, &name);
	assert_name(told, directory, "file", EXPIRE);
	assert_quiet(told);
	assert_int_equal(acknowledged(told), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(attributes_of_a_file_go_and_its_pages_stay, set_up, tear_down),
		cmocka_unit_test_setup_teardown(pages_of_a_file_go_with_its_contents, set_up, tear_down),
		cmocka_unit_test_setup_teardown(of_what_the_kernel_was_not_given_to_keep_it_is_told_nothing, set_up,
		                                tear_down),
		cmocka_unit_test_setup_teardown(
		        a_file_that_the_kernel_asks_about_is_told_of_all_the_same_before_the_server_hears, set_up,
		        tear_down),
		cmocka_unit_test_setup_teardown(a_name_that_was_missing_is_looked_up_again, set_up, tear_down),
		cmocka_unit_test_setup_teardown(
		        a_file_that_lost_its_name_is_told_of_after_the_name_and_before_the_server_hears, set_up,
		        tear_down),
		cmocka_unit_test_setup_teardown(a_file_that_lost_its_name_is_told_of_also_when_the_next_one_is_known,
		                                set_up, tear_down),
		cmocka_unit_test_setup_teardown(of_many_that_had_the_name_all_are_told, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_directory_keeps_what_is_mounted_in_it_and_is_told_of_again, set_up,
		                                tear_down),
		cmocka_unit_test_setup_teardown(a_kernel_that_cannot_expire_a_name_removes_it, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_whole_directory_goes_with_what_is_in_it, set_up, tear_down),
		cmocka_unit_test_setup_teardown(everything_goes_with_all, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_flood_becomes_one_message_that_stands_for_all, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_name_that_is_to_be_looked_up_again_is_no_news_to_the_server, set_up,
		                                tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
