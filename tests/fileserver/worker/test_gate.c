/* SPDX-License-Identifier: Apache-2.0 */
/* What the gate lets through for each need of each kind, what it answers otherwise, and that it puts everything back.
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "fileserver/worker/gate.h"
#include "fileserver/worker/nodes/stamps.h"
#include "tests/fileserver/worker/inside.h"

static uint64_t file, directory, symlink_, fifo;
static uint64_t reading, writing, both, listing;

static int set_up_with(void **state, uint32_t flags)
{
	struct share *share = share_new(flags, 1000);
	struct proto_opendir_reply opened;

	*state = share;
	if (share == NULL)
		return -1;
	share_host_write(share, "file", "content");
	assert_int_equal(mkdirat(share->host, "directory", 0755), 0);
	assert_int_equal(symlinkat("file", share->host, "link"), 0);
	assert_int_equal(mkfifoat(share->host, "fifo", 0600), 0);
	file = inside_look_up(share, share->root, "file");
	directory = inside_look_up(share, share->root, "directory");
	symlink_ = inside_look_up(share, share->root, "link");
	fifo = inside_look_up(share, share->root, "fifo");
	reading = inside_open(share, file, PROTO_OPEN_READ);
	if (flags == 0) {
		writing = inside_open(share, file, PROTO_OPEN_WRITE);
		both = inside_open(share, file, PROTO_OPEN_READ | PROTO_OPEN_WRITE);
	}
	assert_int_equal(
	        raw_opendir(&share->raw, &(struct proto_opendir_request){ .node = directory, .size = 65536 }, &opened),
	        0);
	listing = opened.handle;
	return 0;
}

static int set_up(void **state)
{
	return set_up_with(state, 0);
}

static int set_up_read_only(void **state)
{
	return set_up_with(state, PROTO_HELLO_READ_ONLY);
}

static struct call call_of(struct share *share, enum proto_op op)
{
	return (struct call){ .session = inside_session(share), .op = op };
}

/* What the gate says of one node, and that it is put back. */
static int ask_node(struct share *share, enum gate_need need, uint64_t id)
{
	struct call call = call_of(share, PROTO_GETATTR);
	struct pinned *pinned;
	int r = gate_node(&call, need, id, &pinned);

	if (r == 0)
		assert_true(nodes_id(pinned->node) == id);
	gate_leave(&call);
	inside_is_idle(share);
	return r;
}

static int ask_handle(struct share *share, enum gate_need need, uint64_t id)
{
	struct call call = call_of(share, PROTO_FSYNC);
	struct handle *handle;
	int r = gate_handle(&call, need, id, &handle);

	if (r == 0 && id != 0)
		assert_true(handle->id == id);
	if (id == 0)
		assert_null(handle);
	gate_leave(&call);
	inside_is_idle(share);
	return r;
}

static void a_node_is_taken_by_the_needs_of_its_kind_and_refused_by_the_others(void **state)
{
	static const struct {
		enum gate_need need;
		int file, directory, symlink_, fifo;
	} rows[] = {
		{ GATE_node_any, 0, 0, 0, 0 },
		{ GATE_node_symlink, -EINVAL, -EINVAL, 0, -EINVAL },
		{ GATE_node_file, 0, -EISDIR, 0, 0 }, /* opening says what is no regular file */
		{ GATE_node_directory, -ENOTDIR, 0, -ENOTDIR, -ENOTDIR },
		{ GATE_node_change, 0, 0, 0, 0 },
		{ GATE_node_link, 0, -EPERM, 0, 0 },
		{ GATE_node_names, -ENOTDIR, 0, -ENOTDIR, -ENOTDIR },
		{ GATE_node_make, -ENOTDIR, 0, -ENOTDIR, -ENOTDIR },
	};
	struct share *share = *state;

	assert_int_equal(sizeof(rows) / sizeof(rows[0]), GATE_handle_any - GATE_node_any);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		assert_int_equal(ask_node(share, rows[i].need, file), rows[i].file);
		assert_int_equal(ask_node(share, rows[i].need, directory), rows[i].directory);
		assert_int_equal(ask_node(share, rows[i].need, symlink_), rows[i].symlink_);
		assert_int_equal(ask_node(share, rows[i].need, fifo), rows[i].fifo);
		assert_int_equal(ask_node(share, rows[i].need, 0), -ESTALE);
		assert_int_equal(ask_node(share, rows[i].need, file ^ (UINT64_C(1) << 40)), -ESTALE);
	}
}

static void a_handle_is_taken_for_what_it_was_opened_for(void **state)
{
	static const struct {
		enum gate_need need;
		int reading, writing, both, listing, none;
	} rows[] = {
		{ GATE_handle_any, 0, 0, 0, 0, -EBADF },
		{ GATE_handle_file, 0, 0, 0, -EBADF, -EBADF },
		{ GATE_handle_directory, -EBADF, -EBADF, -EBADF, 0, -EBADF },
		{ GATE_handle_read, 0, -EBADF, 0, -EBADF, -EBADF },
		{ GATE_handle_write, -EBADF, 0, 0, -EBADF, -EBADF },
		{ GATE_handle_write_or_none, -EBADF, 0, 0, -EBADF, 0 },
	};
	struct share *share = *state;

	assert_int_equal(sizeof(rows) / sizeof(rows[0]), GATE_name_lookup - GATE_handle_any);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		assert_int_equal(ask_handle(share, rows[i].need, reading), rows[i].reading);
		assert_int_equal(ask_handle(share, rows[i].need, writing), rows[i].writing);
		assert_int_equal(ask_handle(share, rows[i].need, both), rows[i].both);
		assert_int_equal(ask_handle(share, rows[i].need, listing), rows[i].listing);
		assert_int_equal(ask_handle(share, rows[i].need, 0), rows[i].none);
		assert_int_equal(ask_handle(share, rows[i].need, writing ^ (UINT64_C(1) << 40)), -EBADF);
	}
}

static void a_node_and_a_handle_of_one_request_are_of_one_object(void **state)
{
	struct share *share = *state;
	struct pinned *pinned;
	struct handle *handle;

	for (int other = 0; other < 2; other++) {
		struct call call = call_of(share, PROTO_SETATTR);

		assert_int_equal(gate_node(&call, GATE_node_change, other ? fifo : file, &pinned), 0);
		assert_int_equal(gate_handle(&call, GATE_handle_write_or_none, writing, &handle), other ? -EBADF : 0);
		gate_leave(&call);
		inside_is_idle(share);
	}
}

static void a_name_belongs_to_the_node_before_it(void **state)
{
	struct share *share = *state;
	struct call call = call_of(share, PROTO_RENAME);
	struct proto_name old = raw_name("old"), new = raw_name("new");
	struct proto_reader reader = { 0 };
	struct pinned *from, *to;
	const char *name;

	assert_int_equal(gate_node(&call, GATE_node_names, share->root, &from), 0);
	assert_int_equal(gate_name(&call, GATE_name_remove, &old, &name), 0);
	assert_string_equal(name, "old");
	assert_int_equal(gate_node(&call, GATE_node_names, directory, &to), 0);
	assert_int_equal(gate_name(&call, GATE_name_create, &new, &name), 0);
	assert_string_equal(name, "new");
	assert_ptr_equal(&call.names[0].directory->pinned, from);
	assert_ptr_equal(&call.names[1].directory->pinned, to);
	assert_int_equal(gate_pass(&call, &reader), 0);
	/* now each has a descriptor of its own object */
	assert_true(faccessat(from->fd.fd, "directory", F_OK, 0) == 0);
	assert_true(faccessat(to->fd.fd, "directory", F_OK, 0) < 0);
	gate_leave(&call);
	inside_is_idle(share);
}

/* The same for a share on which everything may be changed. */
static void check_mode(struct share *share, int refused)
{
	for (unsigned op = 0; op < PROTO_OP_LIMIT; op++) {
		const struct proto_op_info *info = proto_op_info(op);
		struct call call = call_of(share, (enum proto_op) op);
		struct proto_reader reads = { 0 }, changes = { .wants_change = true };

		if (info == NULL || info->lane != PROTO_LANE_DATA)
			continue;
		assert_int_equal(gate_enter(&call, &reads), info->changes == PROTO_CHANGES_YES ? refused : 0);
		assert_int_equal(gate_enter(&call, &changes), info->changes == PROTO_CHANGES_NO ? 0 : refused);
	}
}

static void a_read_only_share_refuses_the_rows_that_change_something(void **state)
{
	check_mode(*state, -EROFS);
}

static void a_share_that_may_be_changed_refuses_no_row(void **state)
{
	check_mode(*state, 0);
	atomic_store(&inside_session(*state)->read_only, true);
	check_mode(*state, -EROFS);
}

static void the_table_alone_decides_what_a_read_only_share_refuses(void **state)
{
	struct share *share = *state;

	for (unsigned op = 0; op < PROTO_OP_LIMIT; op++) {
		const struct proto_op_info *info = proto_op_info(op);
		struct proto_header header = { .op = (uint16_t) op, .id = 99 }, reply;
		struct proto_writer writer;
		struct proto_reader reader;
		uint8_t memory[8192];
		int r = -1;

		if (info == NULL || info->changes != PROTO_CHANGES_YES)
			continue;
		proto_writer_init(&writer, memory, sizeof(memory));
		switch (op) {
#define OP(SYMBOL, op_, number, lane, from, changes, replay, doc) case number:
#define REQUEST(op_)                                                                                                   \
	{                                                                                                              \
		struct proto_##op_##_request request;                                                                  \
		memset(&request, 0, sizeof(request));                                                                  \
		r = proto_encode_##op_##_request(&writer, &request);
#define REPLY(op_)                                                                                                     \
	break;                                                                                                         \
	}
#include "protocol/ops.def"
		}
		/* Names of zeros are refused when they are encoded; that row has its handler's test above. */
		if (r != 0)
			continue;
		assert_int_equal(proto_channel_send(&share->raw.channel, &header, &writer), 0);
		assert_int_equal(proto_channel_next(&share->raw.channel, &reply, &reader), 0);
		if (reply.status != EROFS && reply.status != EINVAL)
			fail_msg("%s answered %d", info->name, reply.status);
	}
}

/* What the gate says of a row that changes something and names this node, and a name in it when it is not NULL. */
static int change(struct share *share, enum gate_need need, uint64_t id, enum gate_need name_need, const char *text)
{
	struct call call = call_of(share, PROTO_UNLINK);
	struct proto_reader reader = { .wants_change = true };
	struct proto_name name = raw_name(text == NULL ? "" : text);
	struct pinned *pinned;
	const char *taken;
	int r = gate_node(&call, need, id, &pinned);

	if (r == 0 && text != NULL)
		r = gate_name(&call, name_need, &name, &taken);
	if (r == 0)
		r = gate_pass(&call, &reader);
	gate_leave(&call);
	inside_is_idle(share);
	return r;
}

static void a_change_of_nothing_that_can_be_asked_about_is_refused(void **state)
{
	struct share *share = *state;
	struct call none = call_of(share, PROTO_UNLINK);
	struct proto_reader reader = { 0 };

	assert_int_equal(gate_pass(&none, &reader), -EPERM);
	assert_int_equal(change(share, GATE_node_any, file, 0, NULL), -EPERM);
	assert_int_equal(change(share, GATE_node_symlink, symlink_, 0, NULL), -EPERM);
	assert_int_equal(change(share, GATE_node_directory, directory, 0, NULL), -EPERM);
	assert_int_equal(change(share, GATE_node_names, directory, 0, NULL), -EPERM);
	assert_int_equal(change(share, GATE_node_directory, directory, GATE_name_lookup, "a"), -EPERM);
	/* and these are asked about */
	assert_int_equal(change(share, GATE_node_file, file, 0, NULL), 0);
	assert_int_equal(change(share, GATE_node_change, file, 0, NULL), 0);
	assert_int_equal(change(share, GATE_node_link, file, 0, NULL), 0);
	assert_int_equal(change(share, GATE_node_make, directory, 0, NULL), 0);
	assert_int_equal(change(share, GATE_node_names, directory, GATE_name_create, "a"), 0);
	assert_int_equal(change(share, GATE_node_names, directory, GATE_name_remove, "a"), 0);
}

static void a_handle_that_is_written_is_asked_about_and_one_that_is_read_is_not(void **state)
{
	static const enum gate_need needs[] = { GATE_handle_any, GATE_handle_file, GATE_handle_read,
		                                GATE_handle_write };
	struct share *share = *state;

	for (size_t i = 0; i < 4; i++) {
		struct call call = call_of(share, PROTO_WRITE);
		struct proto_reader reader = { 0 };
		struct handle *handle;

		assert_int_equal(gate_handle(&call, needs[i], both, &handle), 0);
		assert_int_equal(gate_pass(&call, &reader), needs[i] == GATE_handle_write ? 0 : -EPERM);
		gate_leave(&call);
		inside_is_idle(share);
	}
}

/* Whether what the guest was told of the file still counts after an operation that needs it so. */
static bool still_counts(struct share *share, enum proto_op op, enum gate_need need, bool done)
{
	bool handle = need == GATE_handle_read || need == GATE_handle_write || need == GATE_handle_write_or_none;
	struct call call = call_of(share, op);
	struct proto_reader reader = { .wants_change = true };
	struct pinned *pinned, told;
	struct handle *opened;
	struct statx stx;
	uint32_t stamp;
	bool same;

	inside_take(share, file, &told);
	assert_int_equal(statx(told.fd.fd, "", AT_EMPTY_PATH, NODES_STATX, &stx), 0);
	stamps_keep(told.node, &stx);
	stamp = stamps_of(told.node);
	if (handle)
		assert_int_equal(gate_handle(&call, need, both, &opened), 0);
	else
		assert_int_equal(gate_node(&call, need, file, &pinned), 0);
	(void) gate_pass(&call, &reader);
	if (done)
		gate_done(&call);
	gate_leave(&call);
	same = stamps_of(told.node) == stamp;
	inside_put(share, &told);
	inside_is_idle(share);
	return same;
}

static void what_was_told_of_an_object_does_not_count_after_a_change(void **state)
{
	struct share *share = *state;

	assert_false(still_counts(share, PROTO_SETATTR, GATE_node_change, true));
	assert_false(still_counts(share, PROTO_WRITE, GATE_handle_write, true));
	assert_false(still_counts(share, PROTO_SETATTR, GATE_handle_write_or_none, true));
	/* It failed. */
	assert_true(still_counts(share, PROTO_SETATTR, GATE_node_change, false));
	assert_true(still_counts(share, PROTO_WRITE, GATE_handle_write, false));
	/* It was opened for writing, it is only read from, the guest's kernel asks for ctime alone. */
	assert_true(still_counts(share, PROTO_OPEN, GATE_node_file, true));
	assert_true(still_counts(share, PROTO_COPY_RANGE, GATE_handle_read, true));
	assert_true(still_counts(share, PROTO_SETXATTR, GATE_node_change, true));
	assert_true(still_counts(share, PROTO_LINK, GATE_node_link, true));
}

static void what_reads_is_let_through_with_a_descriptor(void **state)
{
	struct share *share = *state;
	struct call call = call_of(share, PROTO_GETATTR);
	struct proto_reader reader = { 0 };
	struct pinned *pinned;
	struct stat found, wanted = inside_stat(share, "fifo");

	assert_int_equal(gate_node(&call, GATE_node_any, fifo, &pinned), 0);
	assert_true(pinned->fd.fd < 0);
	assert_int_equal(gate_pass(&call, &reader), 0);
	assert_int_equal(fstat(pinned->fd.fd, &found), 0);
	assert_true(found.st_ino == wanted.st_ino);
	gate_leave(&call);
	inside_is_idle(share);
}

/* The host puts another file at the name of one that is open, so that its descriptor still leads to it. */
static int meant(struct share *share, enum gate_need need, bool anew, uint64_t handle_id)
{
	struct call call = call_of(share, PROTO_SETATTR);
	struct proto_reader reader = { 0 };
	struct pinned *pinned;
	struct handle *handle;
	int r;

	call.anew = anew;
	r = gate_node(&call, need, file, &pinned);
	if (r == 0 && handle_id != 0)
		r = gate_handle(&call, GATE_handle_write_or_none, handle_id, &handle);
	if (r == 0)
		r = gate_pass(&call, &reader);
	gate_leave(&call);
	inside_is_idle(share);
	return r;
}

static void a_name_that_leads_elsewhere_is_stale_unless_it_was_looked_up_anew(void **state)
{
	struct share *share = *state;

	assert_int_equal(meant(share, GATE_node_change, false, 0), 0);
	share_host_write(share, "other", "other");
	assert_int_equal(renameat(share->host, "other", share->host, "file"), 0);
	assert_int_equal(meant(share, GATE_node_change, false, 0), -ESTALE);
	assert_int_equal(meant(share, GATE_node_change, true, 0), 0);
	assert_int_equal(meant(share, GATE_node_link, false, 0), -ESTALE);
	assert_int_equal(meant(share, GATE_node_link, true, 0), 0);
	/* What goes by a handle is meant wherever it is. */
	assert_int_equal(meant(share, GATE_node_change, false, writing), 0);
}

static void a_directory_in_which_names_change_is_stale_when_it_was_moved(void **state)
{
	struct share *share = *state;

	assert_int_equal(renameat(share->host, "directory", share->host, "elsewhere"), 0);
	assert_int_equal(change(share, GATE_node_names, directory, GATE_name_remove, "a"), -ESTALE);
	assert_int_equal(change(share, GATE_node_make, directory, GATE_name_create, "a"), -ESTALE);
	assert_int_equal(ask_node(share, GATE_node_directory, directory), 0);
}

static void where_something_is_made_there_must_be_room(void **state)
{
	struct share *share = *state;
	struct call call = call_of(share, PROTO_MKDIR);
	struct proto_reader reader = { 0 };
	struct proto_name name = raw_name("a");
	struct pinned *pinned;
	const char *text;

	inside_fill_disk(share);
	assert_int_equal(gate_node(&call, GATE_node_make, directory, &pinned), 0);
	assert_int_equal(gate_name(&call, GATE_name_create, &name, &text), 0);
	assert_int_equal(gate_pass(&call, &reader), -ENOSPC);
	gate_leave(&call);
	inside_empty_disk(share);
	assert_int_equal(change(share, GATE_node_names, directory, GATE_name_remove, "a"), 0);
	inside_session(share)->space.reserve = 1;
	call = call_of(share, PROTO_MKDIR);
	assert_int_equal(gate_node(&call, GATE_node_make, directory, &pinned), 0);
	assert_int_equal(gate_name(&call, GATE_name_create, &name, &text), 0);
	assert_int_equal(gate_pass(&call, &reader), 0);
	assert_non_null(pinned->claim.disk);
	assert_int_equal(pinned->claim.files, 1);
	gate_leave(&call);
	inside_is_idle(share);
}

static void what_was_taken_before_something_failed_is_put_back(void **state)
{
	struct share *share = *state;
	struct call call = call_of(share, PROTO_LINK);
	struct pinned *pinned;
	struct handle *handle;

	/* the second node is not there; is there and of another kind; the second handle is not there */
	assert_int_equal(gate_node(&call, GATE_node_link, file, &pinned), 0);
	assert_int_equal(gate_node(&call, GATE_node_make, UINT64_MAX, &pinned), -ESTALE);
	gate_leave(&call);
	inside_is_idle(share);
	assert_int_equal(gate_node(&call, GATE_node_link, file, &pinned), 0);
	assert_int_equal(gate_node(&call, GATE_node_make, fifo, &pinned), -ENOTDIR);
	gate_leave(&call);
	inside_is_idle(share);
	call = call_of(share, PROTO_COPY_RANGE);
	assert_int_equal(gate_handle(&call, GATE_handle_read, reading, &handle), 0);
	assert_int_equal(gate_handle(&call, GATE_handle_write, UINT64_MAX, &handle), -EBADF);
	gate_leave(&call);
	inside_is_idle(share);
	assert_int_equal(gate_handle(&call, GATE_handle_read, reading, &handle), 0);
	assert_int_equal(gate_handle(&call, GATE_handle_write, reading, &handle), -EBADF);
	gate_leave(&call);
	inside_is_idle(share);
	/* leaving twice puts back once */
	gate_leave(&call);
	inside_is_idle(share);
}

#define TEST(name)           cmocka_unit_test_setup_teardown(name, set_up, inside_tear_down)
#define TEST_READ_ONLY(name) cmocka_unit_test_setup_teardown(name, set_up_read_only, inside_tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_node_is_taken_by_the_needs_of_its_kind_and_refused_by_the_others),
		TEST(a_handle_is_taken_for_what_it_was_opened_for),
		TEST(a_node_and_a_handle_of_one_request_are_of_one_object),
		TEST(a_name_belongs_to_the_node_before_it),
		TEST_READ_ONLY(a_read_only_share_refuses_the_rows_that_change_something),
		TEST(a_share_that_may_be_changed_refuses_no_row),
		TEST_READ_ONLY(the_table_alone_decides_what_a_read_only_share_refuses),
		TEST(a_change_of_nothing_that_can_be_asked_about_is_refused),
		TEST(a_handle_that_is_written_is_asked_about_and_one_that_is_read_is_not),
		TEST(what_was_told_of_an_object_does_not_count_after_a_change),
		TEST(what_reads_is_let_through_with_a_descriptor),
		TEST(a_name_that_leads_elsewhere_is_stale_unless_it_was_looked_up_anew),
		TEST(a_directory_in_which_names_change_is_stale_when_it_was_moved),
		TEST(where_something_is_made_there_must_be_room),
		TEST(what_was_taken_before_something_failed_is_put_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
