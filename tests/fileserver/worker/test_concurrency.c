/* SPDX-License-Identifier: Apache-2.0 */
/* Many lanes on one tree at once: the table of nodes stays sound, and is empty again when everything was given back. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/support/share.h"

enum { LANES = 6, ROUNDS = 400, NAMES = 8 };

struct worker_thread {
	struct share *share;
	struct raw raw;
	unsigned seed;
	uint64_t held[4096]; /* a node for each reference that was given */
	int count;
};

static void hold(struct worker_thread *thread, uint64_t node)
{
	assert_true(thread->count < 4096);
	thread->held[thread->count++] = node;
}

static void name_of(struct worker_thread *thread, struct proto_name *ret_name)
{
	char text[16];

	snprintf(text, sizeof(text), "n%d", rand_r(&thread->seed) % NAMES);
	*ret_name = raw_name(text);
}

static void create_write_read(struct worker_thread *thread, const struct proto_name *name)
{
	struct proto_create_request create = {
		.parent = thread->share->root, .name = *name, .flags = PROTO_OPEN_READ | PROTO_OPEN_WRITE, .mode = 0644
	};
	struct proto_write_request write = { .data = { .length = 5, .available = 5, .bytes = "hello" } };
	struct proto_create_reply created;
	struct proto_write_reply written;
	struct proto_read_reply bytes;
	int r = raw_create(&thread->raw, &create, &created);

	if (r < 0) {
		assert_true(r == -EISDIR || r == -ENOENT || r == -ESTALE);
		return;
	}
	hold(thread, created.entry.node);
	write.handle = created.handle;
	assert_int_equal(raw_write(&thread->raw, &write, &written), 0);
	assert_int_equal(raw_read(&thread->raw, &(struct proto_read_request){ created.handle, 0, 5 }, &bytes), 0);
	assert_int_equal(bytes.data.length, 5);
	assert_memory_equal(bytes.data.bytes, "hello", 5);
	(void) raw_release(&thread->raw, &(struct proto_release_request){ created.handle },
	                   &(struct proto_release_reply){});
}

static void look_below(struct worker_thread *thread, const struct proto_name *name)
{
	struct proto_lookup_request lookup = { .parent = thread->share->root, .name = *name };
	struct proto_lookup_reply found;
	struct proto_getattr_reply attr;

	if (raw_lookup(&thread->raw, &lookup, &found) < 0)
		return;
	hold(thread, found.entry.node);
	(void) raw_getattr(&thread->raw, &(struct proto_getattr_request){ .node = found.entry.node }, &attr);
	if (S_ISDIR(found.entry.attr.mode)) {
		lookup.parent = found.entry.node;
		if (raw_lookup(&thread->raw, &lookup, &found) == 0)
			hold(thread, found.entry.node);
	}
}

static void list(struct worker_thread *thread)
{
	struct proto_opendir_reply opened;
	struct proto_dirent entry;
	struct proto_reader reader;

	if (raw_opendir(&thread->raw, &(struct proto_opendir_request){ thread->share->root, 65536 }, &opened) < 0)
		return;
	proto_reader_init(&reader, opened.entries.bytes, opened.entries.length, opened.entries.length);
	while (reader.next < reader.end) {
		proto_get_dirent(&reader, &entry);
		assert_int_equal(reader.error, 0);
		if (entry.node != 0)
			hold(thread, entry.node);
	}
	(void) raw_release(&thread->raw, &(struct proto_release_request){ opened.handle },
	                   &(struct proto_release_reply){});
}

static void change_names(struct worker_thread *thread, const struct proto_name *name)
{
	struct proto_rename_request rename = { .parent = thread->share->root,
		                               .name = *name,
		                               .new_parent = thread->share->root };
	struct proto_mkdir_reply made;

	switch (rand_r(&thread->seed) % 4) {
	case 0:
		if (raw_mkdir(
		            &thread->raw,
		            &(struct proto_mkdir_request){ .parent = thread->share->root, .name = *name, .mode = 0755 },
		            &made) == 0)
			hold(thread, made.entry.node);
		break;
	case 1:
		(void) raw_rmdir(&thread->raw, &(struct proto_rmdir_request){ thread->share->root, *name },
		                 &(struct proto_rmdir_reply){});
		break;
	case 2:
		(void) raw_unlink(&thread->raw, &(struct proto_unlink_request){ thread->share->root, *name },
		                  &(struct proto_unlink_reply){});
		break;
	default:
		name_of(thread, &rename.new_name);
		rename.flags = (uint32_t) rand_r(&thread->seed) % 3;
		(void) raw_rename(&thread->raw, &rename, &(struct proto_rename_reply){});
	}
}

static void give_back(struct worker_thread *thread)
{
	uint8_t pairs[PROTO_FORGETS_MAX * 16];
	uint64_t one = 1;

	while (thread->count > 0) {
		struct proto_forget_request request = { .forgets = { .bytes = pairs } };
		struct proto_writer writer;

		proto_writer_init(&writer, pairs, sizeof(pairs));
		while (thread->count > 0 && request.forgets.count < PROTO_FORGETS_MAX) {
			proto_put_node(&writer, &thread->held[--thread->count]);
			proto_put_u64(&writer, &one);
			request.forgets.count++;
		}
		(void) raw_forget(&thread->raw, &request, &(struct proto_forget_reply){});
	}
}

static void *run(void *argument)
{
	struct worker_thread *thread = argument;

	for (int round = 0; round < ROUNDS; round++) {
		struct proto_name name;

		name_of(thread, &name);
		switch (rand_r(&thread->seed) % 4) {
		case 0:
			create_write_read(thread, &name);
			break;
		case 1:
			look_below(thread, &name);
			break;
		case 2:
			change_names(thread, &name);
			break;
		default:
			if (round % 16 == 0)
				list(thread);
		}
	}
	give_back(thread);
	return NULL;
}

static void many_lanes_on_one_tree(uint32_t descriptors)
{
	struct share *share = share_new(0, descriptors);
	static struct worker_thread threads[LANES];
	pthread_t ids[LANES];

	assert_non_null(share);
	for (int i = 0; i < LANES; i++) {
		threads[i].share = share;
		threads[i].seed = (unsigned) i + 1;
		threads[i].count = 0;
		assert_int_equal(share_add_lane(share, &threads[i].raw), 0);
	}
	for (int i = 0; i < LANES; i++)
		assert_int_equal(pthread_create(&ids[i], NULL, run, &threads[i]), 0);
	for (int i = 0; i < LANES; i++)
		pthread_join(ids[i], NULL);
	/* FORGET has no reply: wait for the last one to be worked on. */
	for (int i = 0; i < 500 && proto_counter_get(&share->counters.nodes) > 1; i++)
		usleep(10000);
	assert_int_equal(proto_counter_get(&share->counters.nodes), 1);
	assert_int_equal(proto_counter_get(&share->counters.handles), 0);
	assert_int_equal(proto_counter_get(&share->counters.descriptors), 0);
	for (int i = 0; i < LANES; i++)
		raw_done(&threads[i].raw);
	share_free(share);
}

static void many_lanes_work_on_one_tree_and_leave_an_empty_table(void **state)
{
	many_lanes_on_one_tree(1000);
}

static void so_they_do_when_hardly_a_descriptor_can_be_kept(void **state)
{
	many_lanes_on_one_tree(LANES + 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(many_lanes_work_on_one_tree_and_leave_an_empty_table),
		cmocka_unit_test(so_they_do_when_hardly_a_descriptor_can_be_kept),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
