/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A client that breaks the protocol, against a real server run as an ordinary user. After each case: the server is
 * alive, another session goes on, descriptors and memory are back where they were.
 */
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "protocol/handshake.h"
#include "tests/support/served.h"

enum { MEMORY_SLACK_KB = 24 * 1024 }; /* the allocators' of a sanitizer, too */

static struct served *served;
static struct served_usage before;

static int set_up_group(void **state)
{
	signal(SIGPIPE, SIG_IGN);
	served = served_start(NULL);
	return served == NULL ? -1 : 0;
}

static int tear_down_group(void **state)
{
	return served_stop(served) == 0 ? 0 : -1;
}

static int set_up(void **state)
{
	struct served_session session;

	/* Once through, so that what is allocated once is there. */
	if (served_session(served, served->share, &session, NULL) < 0)
		return -1;
	served_session_done(&session);
	usleep(50000);
	for (int i = 0; i < 200 && served_usage(served).processes > 1; i++)
		usleep(20000);
	before = served_usage(served);
	return 0;
}

static int tear_down(void **state)
{
	struct served_usage after;

	if (!served_quiet(served, before.descriptors)) {
		after = served_usage(served);
		print_error("%ld processes, %ld descriptors; before %ld and %ld\n", after.processes, after.descriptors,
		            before.processes, before.descriptors);
		return -1;
	}
	after = served_usage(served);
	if (after.memory_kb > before.memory_kb + MEMORY_SLACK_KB) {
		print_error("memory grew from %ld to %ld kB\n", before.memory_kb, after.memory_kb);
		return -1;
	}
	return 0;
}

/* A well-behaved session that must go on whatever the others do. */
static void session_works(struct served_session *session)
{
	struct proto_lookup_request request = { .parent = session->root, .name = raw_name("nothing") };
	struct proto_lookup_reply reply;

	assert_int_equal(raw_lookup(&session->raw, &request, &reply), -ENOENT);
}

static void rubbish_instead_of_hello_is_closed_and_the_server_goes_on(void **state)
{
	struct served_session good;
	static uint8_t bytes[5000];
	struct raw raw;

	assert_int_equal(served_session(served, served->share, &good, NULL), 0);
	for (int round = 0; round < 20; round++) {
		for (size_t i = 0; i < sizeof(bytes); i++)
			bytes[i] = (uint8_t) (i * 7919 + (size_t) round * 104729);
		assert_int_equal(served_connect(served, &raw), 0);
		(void) raw_bytes(&raw, bytes, sizeof(bytes));
		assert_true(raw_closed(&raw, 5000));
		raw_done(&raw);
	}
	session_works(&good);
	served_session_done(&good);
}

static size_t hello_frame(uint8_t *bytes, size_t size, uint32_t version)
{
	struct proto_hello_request hello = { .magic = PROTO_MAGIC, .version_min = version, .version_max = version };
	struct proto_header header = { .op = PROTO_HELLO, .id = 1 };
	struct proto_writer writer;

	snprintf(hello.share.path, sizeof(hello.share.path), "%s", served->share);
	proto_writer_init(&writer, bytes + PROTO_HEADER_SIZE, size - PROTO_HEADER_SIZE);
	assert_int_equal(proto_encode_hello_request(&writer, &hello), 0);
	header.length = (uint32_t) (writer.next - writer.start);
	proto_header_encode(bytes, &header);
	return PROTO_HEADER_SIZE + header.length;
}

static void hello_cut_at_any_place_is_given_up(void **state)
{
	static uint8_t bytes[8192];
	size_t size = hello_frame(bytes, sizeof(bytes), PROTO_VERSION_MAX);

	for (size_t cut = 1; cut < size; cut += cut < 64 ? 9 : 700) {
		struct raw raw;

		assert_int_equal(served_connect(served, &raw), 0);
		assert_int_equal(raw_bytes(&raw, bytes, cut), 0);
		raw_done(&raw);
	}
}

static void a_hello_that_never_ends_is_closed_after_its_deadline(void **state)
{
	static uint8_t bytes[8192];
	struct raw raw;

	(void) hello_frame(bytes, sizeof(bytes), PROTO_VERSION_MAX);
	assert_int_equal(served_connect(served, &raw), 0);
	assert_int_equal(raw_bytes(&raw, bytes, 100), 0);
	assert_true(raw_closed(&raw, 3 * PROTO_HANDSHAKE_MS));
	raw_done(&raw);
}

/* The words of the refusal that comes instead of a challenge. */
static void refusal_of(struct raw *raw, struct proto_refuse_request *ret_refuse)
{
	struct proto_header header;
	struct proto_reader reader;

	assert_int_equal(proto_channel_next(&raw->channel, &header, &reader), 0);
	assert_int_equal(header.op, PROTO_REFUSE);
	assert_int_equal(proto_decode_refuse_request(&reader, ret_refuse), 0);
}

static void an_unknown_version_is_told_which_side_to_upgrade(void **state)
{
	static const struct {
		uint32_t version;
		const char *words;
	} rows[] = { { 0, "bindshare-mount" }, { PROTO_VERSION_MAX + 1, "bindshare-fileserver" } };
	static uint8_t bytes[8192];

	for (size_t i = 0; i < 2; i++) {
		struct proto_refuse_request refuse;
		struct raw raw;
		size_t size = hello_frame(bytes, sizeof(bytes), rows[i].version);

		assert_int_equal(served_connect(served, &raw), 0);
		assert_int_equal(raw_bytes(&raw, bytes, size), 0);
		refusal_of(&raw, &refuse);
		assert_int_equal(refuse.code, PROTO_REFUSE_VERSION);
		assert_non_null(strstr(refuse.text.text, "pgrade"));
		assert_non_null(strstr(strstr(refuse.text.text, "pgrade"), rows[i].words));
		raw_done(&raw);
	}
}

static void operations_before_hello_are_closed(void **state)
{
	static const enum proto_op ops[] = { PROTO_PING, PROTO_LOOKUP, PROTO_PROOF, PROTO_WRITE, PROTO_GOODBYE };

	for (size_t i = 0; i < sizeof(ops) / sizeof(ops[0]); i++) {
		struct proto_header header = { .op = (uint16_t) ops[i], .id = 1, .length = 32 };
		uint8_t payload[32] = { 0 };
		struct raw raw;

		assert_int_equal(served_connect(served, &raw), 0);
		(void) raw_frame(&raw, &header, payload, sizeof(payload));
		assert_true(raw_closed(&raw, 5000));
		raw_done(&raw);
	}
}

static void a_wrong_proof_is_refused(void **state)
{
	static uint8_t bytes[8192];
	size_t size = hello_frame(bytes, sizeof(bytes), PROTO_VERSION_MAX);
	struct proto_header header = { .op = PROTO_PROOF, .id = 2, .length = 32 }, got;
	struct proto_refuse_request refuse;
	struct proto_reader reader;
	uint8_t proof[32] = { 1, 2, 3 };
	struct raw raw;

	assert_int_equal(served_connect(served, &raw), 0);
	assert_int_equal(raw_bytes(&raw, bytes, size), 0);
	assert_int_equal(proto_channel_next(&raw.channel, &got, &reader), 0);
	assert_int_equal(got.op, PROTO_HELLO);
	assert_int_equal(raw_frame(&raw, &header, proof, sizeof(proof)), 0);
	refusal_of(&raw, &refuse);
	assert_int_equal(refuse.code, PROTO_REFUSE_PROOF);
	raw_done(&raw);
}

static void attaching_to_a_session_that_is_not_there_is_refused(void **state)
{
	struct served_session session;
	struct raw raw;

	assert_int_equal(served_session(served, served->share, &session, NULL), 0);
	for (uint64_t wrong = 1; wrong < 5; wrong++)
		assert_true(served_lane(served, session.session ^ wrong, &raw) < 0);
	assert_true(served_lane(served, 0, &raw) < 0);
	session_works(&session);
	served_session_done(&session);
	assert_true(served_quiet(served, before.descriptors));
	assert_true(served_lane(served, session.session, &raw) < 0);
}

static void a_session_that_breaks_the_protocol_ends_and_the_others_go_on(void **state)
{
	static const struct proto_header bad[] = {
		{ .op = PROTO_LOOKUP, .id = 1, .length = UINT32_MAX },
		{ .op = PROTO_LOOKUP, .id = 1, .length = PROTO_SMALL_MAX + 1 },
		{ .op = PROTO_LOOKUP, .id = 0, .length = 0 },
		{ .op = 63, .id = 1 },
		{ .op = PROTO_GETATTR, .id = 1, .length = 16, .reserved = 7 },
		{ .op = PROTO_GETATTR, .id = 1, .length = 16, .status = 1 },
		{ .op = PROTO_GETATTR, .id = 1, .length = 16, .flags = 0x80 },
		{ .op = PROTO_GETATTR, .id = 1, .length = 16, .flags = PROTO_FRAME_REPLY },
		{ .op = PROTO_GETATTR, .id = 1, .length = 15 },
		{ .op = PROTO_HELLO, .id = 1, .length = 16 },
		{ .op = PROTO_FORGET, .id = 1, .length = 4 },
	};
	struct served_session good;
	uint8_t payload[64];

	assert_int_equal(served_session(served, served->share, &good, NULL), 0);
	memset(payload, 0xff, sizeof(payload));
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct served_session session;

		assert_int_equal(served_session(served, served->share, &session, NULL), 0);
		session_works(&session);
		(void) raw_frame(&session.raw, &bad[i], payload, bad[i].length < 64 ? bad[i].length : 64);
		assert_int_equal(raw_wait_goodbye(&session.event), PROTO_GOODBYE_PROTOCOL);
		assert_true(raw_closed(&session.raw, 5000));
		served_session_done(&session);
		session_works(&good);
	}
	served_session_done(&good);
}

/* More often than a share whose worker crashes is tried. */
enum { OFTEN = 8 };

static void what_comes_after_goodbye_is_thrown_away(void **state)
{
	static uint8_t bytes[PROTO_SMALL_MAX];
	struct served_session session;

	for (int i = 0; i < OFTEN; i++) {
		const struct proto_header bad = { .op = 63, .id = 1 };
		const struct proto_header large = { .op = PROTO_WRITE, .id = 2, .length = PROTO_DATA_MAX };

		assert_int_equal(served_session(served, served->share, &session, NULL), 0);
		(void) raw_frame(&session.raw, &bad, NULL, 0);
		assert_int_equal(raw_wait_goodbye(&session.event), PROTO_GOODBYE_PROTOCOL);
		/* Frames whose payload nobody takes, one after the other. */
		for (int k = 0; k < 4; k++)
			(void) raw_frame(&session.event, &large, bytes, sizeof(bytes));
		usleep(20000);
		served_session_done(&session);
	}
	assert_true(served_quiet(served, before.descriptors));
	/* It was the guest's doing: nobody else is refused the share. */
	assert_int_equal(served_session(served, served->share, &session, NULL), 0);
	session_works(&session);
	served_session_done(&session);
}

/* HELLO and the right PROOF, and away before WELCOME. */
static void leave_early(void)
{
	static uint8_t bytes[8192];
	size_t size = hello_frame(bytes, sizeof(bytes), PROTO_VERSION_MAX);
	const struct proto_token token = { 0 };
	struct proto_header header = { .op = PROTO_PROOF, .id = 2, .length = 32 }, got;
	struct proto_bytes32 nonce = { 0 }, proof;
	struct proto_hello_reply reply;
	struct proto_reader reader;
	struct raw raw;

	assert_int_equal(served_connect(served, &raw), 0);
	assert_int_equal(raw_bytes(&raw, bytes, size), 0);
	assert_int_equal(proto_channel_next(&raw.channel, &got, &reader), 0);
	assert_int_equal(proto_decode_hello_reply(&reader, &reply), 0);
	proto_proof(&token, "client", &nonce, &reply.nonce, bytes + PROTO_HEADER_SIZE, size - PROTO_HEADER_SIZE,
	            &proof);
	assert_int_equal(raw_frame(&raw, &header, proof.bytes, sizeof(proof.bytes)), 0);
	raw_done(&raw);
}

static void who_leaves_before_welcome_is_no_crash(void **state)
{
	struct served_session session;

	for (int i = 0; i < OFTEN; i++)
		leave_early();
	assert_true(served_quiet(served, before.descriptors));
	assert_int_equal(served_session(served, served->share, &session, NULL), 0);
	session_works(&session);
	served_session_done(&session);
}

static void who_misbehaves_too_often_is_refused_and_nobody_else(void **state)
{
	pid_t child = fork();
	int status;

	if (child == 0) {
		struct served_session session;
		struct proto_refusal refusal = { 0 };

		for (int i = 0; i < 40; i++)
			leave_early();
		if (!served_quiet(served, before.descriptors))
			_exit(2);
		_exit(served_session(served, served->share, &session, &refusal) == -EACCES &&
		                      refusal.code == PROTO_REFUSE_LIMIT && strstr(refusal.text, "too often") != NULL
		              ? 0
		              : 1);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
	for (int i = 0; i < 3; i++) {
		struct served_session session;

		assert_int_equal(served_session(served, served->share, &session, NULL), 0);
		served_session_done(&session);
	}
}

static void requests_cut_off_at_any_byte_only_end_their_lane(void **state)
{
	struct proto_header header = { .op = PROTO_LOOKUP, .id = 1, .length = 20 };
	uint8_t bytes[PROTO_HEADER_SIZE + 20] = { 0 };
	struct served_session session;

	proto_header_encode(bytes, &header);
	assert_int_equal(served_session(served, served->share, &session, NULL), 0);
	for (size_t cut = 0; cut < sizeof(bytes); cut++) {
		struct raw raw;

		assert_int_equal(served_lane(served, session.session, &raw), 0);
		assert_int_equal(raw_bytes(&raw, bytes, cut), 0);
		raw_done(&raw);
		session_works(&session);
	}
	served_session_done(&session);
}

static void a_flood_of_connections_that_say_nothing_stops_nobody_for_long(void **state)
{
	struct served_session good;
	static struct raw raws[64];
	int connected = 0;

	assert_int_equal(served_session(served, served->share, &good, NULL), 0);
	for (int i = 0; i < 64; i++)
		if (served_connect(served, &raws[connected]) == 0)
			connected++;
	session_works(&good);
	for (int i = 0; i < connected; i++)
		raw_done(&raws[i]);
	served_session_done(&good);
	assert_int_equal(served_session(served, served->share, &good, NULL), 0);
	session_works(&good);
	served_session_done(&good);
}

/* Bytes that have arrived and nobody has read. */
static int unread(const struct raw *raw)
{
	int bytes = 0;

	assert_int_equal(ioctl(raw->channel.fd, FIONREAD, &bytes), 0);
	return bytes;
}

static void a_client_that_reads_no_replies_keeps_only_its_own_lane(void **state)
{
	struct served_session session;
	struct proto_mkdir_reply made;
	struct raw lazy;
	struct proto_header header = { .op = PROTO_STATFS, .id = 1, .length = 8 };
	uint8_t frame[PROTO_HEADER_SIZE + 8];

	assert_int_equal(served_session(served, served->share, &session, NULL), 0);
	assert_int_equal(served_lane(served, session.session, &lazy), 0);
	proto_header_encode(frame, &header);
	memcpy(frame + PROTO_HEADER_SIZE, &session.root, 8);
	/* A second request before the first is answered would end the session. */
	for (int i = 0; i < 3; i++) {
		int had = unread(&lazy);

		assert_int_equal(raw_bytes(&lazy, frame, sizeof(frame)), 0);
		for (int waited = 0; unread(&lazy) == had && waited < 5000; waited++)
			usleep(1000);
		assert_true(unread(&lazy) > had);
	}
	assert_int_equal(raw_mkdir(&session.raw,
	                           &(struct proto_mkdir_request){
	                                   .parent = session.root, .name = raw_name("made"), .mode = 0755 },
	                           &made),
	                 0);
	raw_done(&lazy);
	served_session_done(&session);
}

static void a_hundred_sessions_leave_nothing_behind(void **state)
{
	for (int i = 0; i < 100; i++) {
		struct served_session session;

		assert_int_equal(served_session(served, served->share, &session, NULL), 0);
		served_session_done(&session);
	}
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(rubbish_instead_of_hello_is_closed_and_the_server_goes_on),
		TEST(hello_cut_at_any_place_is_given_up),
		TEST(a_hello_that_never_ends_is_closed_after_its_deadline),
		TEST(an_unknown_version_is_told_which_side_to_upgrade),
		TEST(operations_before_hello_are_closed),
		TEST(a_wrong_proof_is_refused),
		TEST(attaching_to_a_session_that_is_not_there_is_refused),
		TEST(a_session_that_breaks_the_protocol_ends_and_the_others_go_on),
		TEST(what_comes_after_goodbye_is_thrown_away),
		TEST(who_leaves_before_welcome_is_no_crash),
		TEST(who_misbehaves_too_often_is_refused_and_nobody_else),
		TEST(requests_cut_off_at_any_byte_only_end_their_lane),
		TEST(a_flood_of_connections_that_say_nothing_stops_nobody_for_long),
		TEST(a_client_that_reads_no_replies_keeps_only_its_own_lane),
		TEST(a_hundred_sessions_leave_nothing_behind),
	};

	return cmocka_run_group_tests(tests, set_up_group, tear_down_group);
}
