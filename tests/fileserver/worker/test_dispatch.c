/* SPDX-License-Identifier: Apache-2.0 */
/* From a frame to its handler and back: what ends the session, what is refused at once, and what is counted. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "fileserver/worker/leases/leases.h"
#include "tests/fileserver/worker/inside.h"

static int set_up_read_only(void **state)
{
	*state = share_new(PROTO_HELLO_READ_ONLY, 1000);
	return *state == NULL ? -1 : 0;
}

static void a_read_only_share_refuses_every_operation_that_changes_something(void **state)
{
	struct share *share = *state;
	struct proto_entry entry;
	struct proto_create_reply created;
	uint64_t handle;

	share_host_write(share, "a", "x");
	assert_int_equal(share_lookup(share, share->root, "a", &entry), 0);
	assert_int_equal(share_open(share, entry.node, PROTO_OPEN_WRITE, &handle), -EROFS);
	assert_int_equal(share_open(share, entry.node, PROTO_OPEN_READ | PROTO_OPEN_TRUNCATE, &handle), -EROFS);
	assert_int_equal(share_create(share, share->root, "b", PROTO_OPEN_READ, 0644, &created), -EROFS);
	assert_int_equal(share_open(share, entry.node, PROTO_OPEN_READ, &handle), 0);
	assert_int_equal(faccessat(share->host, "b", F_OK, 0), -1);
}

static void bytes_that_make_no_sense_end_the_session(void **state)
{
	struct share *share = *state;
	struct proto_header header = { .op = PROTO_LOOKUP, .id = 5, .length = 3 };

	assert_int_equal(raw_frame(&share->raw, &header, "abc", 3), 0);
	assert_true(raw_closed(&share->raw, 5000));
	assert_int_equal(raw_wait_goodbye(&share->event), PROTO_GOODBYE_PROTOCOL);
}

static void a_second_request_before_the_reply_ends_the_session(void **state)
{
	struct share *share = *state;
	struct proto_header header = { .op = PROTO_STATFS, .id = 5, .length = 8 };
	uint8_t bytes[2 * (PROTO_HEADER_SIZE + 8)] = { 0 };

	proto_header_encode(bytes, &header);
	proto_header_encode(bytes + PROTO_HEADER_SIZE + 8, &header);
	assert_int_equal(raw_bytes(&share->raw, bytes, sizeof(bytes)), 0);
	assert_int_equal(raw_wait_goodbye(&share->event), PROTO_GOODBYE_PROTOCOL);
	assert_true(raw_closed(&share->raw, 5000));
}

static void operations_on_the_wrong_lane_end_the_session(void **state)
{
	struct share *share = *state;
	struct proto_ping_reply pong;

	assert_int_equal(raw_ping(&share->event, &(struct proto_ping_request){ .sequence = 8 }, &pong), 0);
	assert_true(pong.sequence == 8);
	assert_true(raw_ping(&share->raw, &(struct proto_ping_request){ .sequence = 8 }, &pong) < 0);
	assert_int_equal(raw_wait_goodbye(&share->event), PROTO_GOODBYE_PROTOCOL);
}

static uint64_t counted(struct share *share, enum proto_op op)
{
	return proto_counter_get(&share->counters.ops[op].count);
}

static void requests_their_bytes_and_their_errors_are_counted(void **state)
{
	struct share *share = *state;
	const struct proto_counter *lookups = &share->counters.ops[PROTO_LOOKUP];
	struct proto_entry entry;
	struct proto_create_reply created;
	uint64_t handle;
	char bytes[8];

	assert_int_equal(share_lookup(share, share->root, "none", &entry), -ENOENT);
	assert_int_equal(counted(share, PROTO_LOOKUP), 1);
	/* That a name is not there is an answer like others. */
	assert_int_equal(proto_counter_get(&lookups->errors), 0);
	assert_int_equal(share_lookup(share, UINT64_MAX, "none", &entry), -ESTALE);
	assert_int_equal(counted(share, PROTO_LOOKUP), 2);
	assert_int_equal(proto_counter_get(&lookups->errors), 1);
	assert_int_equal(share_create(share, share->root, "a", PROTO_OPEN_READ | PROTO_OPEN_WRITE, 0644, &created), 0);
	assert_int_equal(share_write(share, created.handle, 0, "hello", 5, 0), 5);
	assert_true(proto_counter_get(&share->counters.ops[PROTO_WRITE].bytes) >= 5);
	assert_int_equal(share_read(share, created.handle, 0, bytes, sizeof(bytes)), 5);
	assert_int_equal(proto_counter_get(&share->counters.ops[PROTO_READ].count), 1);
	assert_int_equal(share_open(share, created.entry.node, PROTO_OPEN_READ, &handle), 0);
	assert_int_equal(counted(share, PROTO_OPEN), 1);
}

static void data_that_nobody_took_is_gone_before_the_next_request(void **state)
{
	static uint8_t bytes[PROTO_DATA_MAX];
	struct share *share = *state;
	struct proto_entry entry;

	/* refused before the handler has looked at its data, twice */
	assert_int_equal(share_write(share, UINT64_MAX, 0, bytes, sizeof(bytes), 0), -EBADF);
	assert_int_equal(share_write(share, UINT64_MAX, 0, bytes, sizeof(bytes), 0), -EBADF);
	assert_int_equal(share_lookup(share, share->root, "none", &entry), -ENOENT);
}

static int set_up_leased(void **state)
{
	share_features = PROTO_FEATURE_LEASES | PROTO_FEATURE_ATTR_FLAGS;
	*state = share_new(0, 1000);
	share_features = 0;
	return *state == NULL ? -1 : 0;
}

static uint32_t kept(struct share *share)
{
	return leases_kept_for(inside_session(share)->leases);
}

static void nothing_is_kept_without_a_lease_where_all_is_leased(void **state)
{
	struct share *share = *state;
	struct proto_getattr_reply attributes;
	struct proto_opendir_reply listed;
	struct proto_create_reply created;
	struct proto_entry entry;

	share_host_write(share, "file", "text");
	assert_int_equal(share_lookup(share, share->root, "file", &entry), 0);
	assert_true((entry.attr.flags & PROTO_ATTR_LEASED) != 0);
	assert_int_equal(raw_getattr(&share->raw, &(struct proto_getattr_request){ entry.node }, &attributes), 0);
	assert_int_equal(share_lookup(share, share->root, "missing", &entry), -ENOENT);
	assert_int_equal(raw_opendir(&share->raw, &(struct proto_opendir_request){ share->root, 65536 }, &listed), 0);
	assert_int_equal(share_create(share, share->root, "new", PROTO_OPEN_READ, 0644, &created), 0);
	assert_int_equal(kept(share), 0);
}

/* Each on a session of its own: what one keeps would hide what another does not. */
static void what_is_told_without_a_lease_is_known_to_be_kept(void **state)
{
	for (unsigned i = 0; i < 4; i++) {
		struct proto_getattr_reply attributes;
		struct proto_opendir_reply listed;
		struct proto_entry entry;
		struct share *share;
		uint64_t handle;

		assert_int_equal(set_up_leased((void **) &share), 0);
		share_host_write(share, "file", "text");
		assert_int_equal(share_lookup(share, share->root, "file", &entry), 0);
		assert_int_equal(kept(share), 0);
		assert_int_equal(linkat(share->host, "file", share->host, "second", 0), 0);
		switch (i) {
		case 0:
			assert_int_equal(share_lookup(share, share->root, "second", &entry), 0);
			break;
		case 1:
			assert_int_equal(
			        raw_getattr(&share->raw, &(struct proto_getattr_request){ entry.node }, &attributes),
			        0);
			break;
		case 2:
			assert_int_equal(raw_opendir(&share->raw, &(struct proto_opendir_request){ share->root, 65536 },
			                             &listed),
			                 0);
			break;
		default:
			assert_int_equal(share_open(share, entry.node, PROTO_OPEN_READ, &handle), 0);
		}
		assert_in_range(kept(share), 1, i < 3 ? PROTO_KEEP_MS : PROTO_KEEP_BRIEFLY_MS);
		share_free(share);
	}
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, inside_set_up, inside_tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_read_only_share_refuses_every_operation_that_changes_something,
		                                set_up_read_only, inside_tear_down),
		TEST(bytes_that_make_no_sense_end_the_session),
		TEST(a_second_request_before_the_reply_ends_the_session),
		TEST(operations_on_the_wrong_lane_end_the_session),
		TEST(requests_their_bytes_and_their_errors_are_counted),
		TEST(data_that_nobody_took_is_gone_before_the_next_request),
		cmocka_unit_test_setup_teardown(nothing_is_kept_without_a_lease_where_all_is_leased, set_up_leased,
		                                inside_tear_down),
		cmocka_unit_test(what_is_told_without_a_lease_is_known_to_be_kept),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
