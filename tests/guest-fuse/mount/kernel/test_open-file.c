/* SPDX-License-Identifier: Apache-2.0 */
/* Open files: flags as the server takes them, and what is noted of an object while it is open. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "guest-fuse/mount/kernel/client.h"
#include "guest-fuse/mount/kernel/open-file.h"
#include "guest-fuse/mount/known/objects.h"
#include "protocol/messages.h"

#define ROOT PROTO_ID(1, 1)
#define NODE PROTO_ID(1, 2)

static void flags_that_the_server_does_not_know_are_left_out(void **state)
{
	static const struct {
		int flags;
		uint32_t wanted;
	} cases[] = {
		{ O_RDONLY, PROTO_OPEN_READ },
		{ O_WRONLY, PROTO_OPEN_WRITE },
		{ O_RDWR | O_TRUNC, PROTO_OPEN_READ | PROTO_OPEN_WRITE | PROTO_OPEN_TRUNCATE },
		/* Writes always say where, also under O_APPEND; the page cache is this kernel's. */
		{ O_WRONLY | O_APPEND | O_DIRECT | O_NONBLOCK, PROTO_OPEN_WRITE },
		/* O_EXCL without O_CREAT means nothing for a file. */
		{ O_RDONLY | O_EXCL, PROTO_OPEN_READ },
		{ O_WRONLY | O_CREAT | O_EXCL, PROTO_OPEN_WRITE | PROTO_OPEN_EXCLUSIVE },
		/* O_SYNC has the bits of O_DSYNC in it. */
		{ O_WRONLY | O_SYNC, PROTO_OPEN_WRITE | PROTO_OPEN_SYNC },
		{ O_WRONLY | O_DSYNC, PROTO_OPEN_WRITE | PROTO_OPEN_DSYNC },
		{ O_RDONLY | O_NOATIME, PROTO_OPEN_READ | PROTO_OPEN_NOATIME },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		assert_int_equal(open_file_flags(cases[i].flags), cases[i].wanted);
}

static int set_up(void **state)
{
	static struct client client;
	struct proto_entry entry = { .node = NODE, .attr = { .mode = S_IFREG | 0644, .size = 10 } };

	client = (struct client){ .root = ROOT };
	*state = &client;
	return objects_new(ROOT, &client.objects) == 0 ? objects_learn(client.objects, ROOT, "name", &entry, 1) : -1;
}

static int tear_down(void **state)
{
	objects_free(((struct client *) *state)->objects);
	return 0;
}

static struct open_file *opened(struct client *client, int flags)
{
	struct open_file *file = open_file_new();

	assert_non_null(file);
	open_file_begin(client, file, NODE, PROTO_ID(9, 9), flags);
	return file;
}

static void an_object_is_in_use_as_long_as_it_is_open(void **state)
{
	struct client *client = *state;
	struct open_file *first = opened(client, O_RDONLY), *second = opened(client, O_RDWR | O_DIRECT);
	uint64_t id;

	assert_false(first->writable);
	assert_true(second->writable);
	assert_int_equal(objects_oldest(client->objects, true, &id, 1), 0);
	assert_true(objects_read_buffered(client->objects, NODE));
	assert_true(objects_may_be_mapped(client->objects, NODE));
	open_file_end(client, first);
	assert_false(objects_read_buffered(client->objects, NODE));
	assert_int_equal(objects_oldest(client->objects, true, &id, 1), 0);
	open_file_end(client, second);
	assert_false(objects_may_be_mapped(client->objects, NODE));
	assert_int_equal(objects_oldest(client->objects, true, &id, 1), 1);
	assert_int_equal(id, NODE);
}

/* The kernel drops its pages in the thread that opens: the first request with the handle shows that it has. */
static void pages_are_dropped_when_the_file_is_used(void **state)
{
	struct proto_attr other = { .mode = S_IFREG | 0644, .size = 20, .mtime = { 5, 0 } };
	struct client *client = *state;
	struct open_file *file = opened(client, O_RDONLY);
	struct objects_opened state_found;

	assert_int_equal(objects_opened(client->objects, NODE, &other, &state_found), 0);
	other.mtime.seconds++;
	assert_int_equal(objects_opened(client->objects, NODE, &other, &state_found), 0);
	assert_false(state_found.keep_cache);
	file->drop = state_found.drop;
	assert_int_equal(objects_opened(client->objects, NODE, &other, &state_found), 0);
	assert_false(state_found.keep_cache);
	open_file_used(client, file);
	assert_int_equal(file->drop, 0);
	assert_int_equal(objects_opened(client->objects, NODE, &other, &state_found), 0);
	assert_true(state_found.keep_cache);
	open_file_end(client, file);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(flags_that_the_server_does_not_know_are_left_out),
		cmocka_unit_test_setup_teardown(an_object_is_in_use_as_long_as_it_is_open, set_up, tear_down),
		cmocka_unit_test_setup_teardown(pages_are_dropped_when_the_file_is_used, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
