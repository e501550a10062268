/* SPDX-License-Identifier: Apache-2.0 */
/* The client's handshake against a server of the test's on the other end of a socket pair; token files. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "protocol/cleanup.h"
#include "protocol/handshake.h"

enum { CAPACITY = 8192, STALL_MS = 1000 };

/* What the test's server does. */
struct server {
	struct proto_channel channel;
	struct proto_token token;
	bool refuse_hello, refuse_proof, wrong_version, garbage, silent;
	bool proof_was_right; /* what it saw */
};

static void reply(struct server *server, struct proto_header *header, const struct proto_writer *writer)
{
	header->flags = PROTO_FRAME_REPLY;
	(void) proto_channel_send(&server->channel, header, writer);
}

static void refuse(struct server *server)
{
	struct proto_refuse_request refusal = { .code = PROTO_REFUSE_NOT_SHARED };
	struct proto_header header = { .op = PROTO_REFUSE, .id = 1 };
	struct proto_writer writer;
	uint8_t bytes[2048];

	proto_text_set(&refusal.text, "not shared");
	proto_writer_init(&writer, bytes, sizeof(bytes));
	(void) proto_encode_refuse_request(&writer, &refusal);
	(void) proto_channel_send(&server->channel, &header, &writer);
}

static int challenge(struct server *server, struct proto_header *header, const uint8_t *opening,
                     struct proto_bytes32 *client_nonce, struct proto_bytes32 *server_nonce)
{
	struct proto_writer writer;
	struct proto_reader reader;
	uint8_t bytes[256];

	randombytes_buf(server_nonce, sizeof(*server_nonce));
	proto_writer_init(&writer, bytes, sizeof(bytes));
	proto_reader_init(&reader, opening, header->length, header->length);
	if (header->op == PROTO_HELLO) {
		struct proto_hello_request hello;
		struct proto_hello_reply answer = { .version = server->wrong_version ? 77 : 1, .nonce = *server_nonce };

		if (proto_decode_hello_request(&reader, &hello) < 0)
			return -1;
		*client_nonce = hello.nonce;
		proto_proof(&server->token, "server", client_nonce, server_nonce, opening, header->length,
		            &answer.proof);
		(void) proto_encode_hello_reply(&writer, &answer);
	} else {
		struct proto_attach_request attach;
		struct proto_attach_reply answer = { .nonce = *server_nonce };

		if (proto_decode_attach_request(&reader, &attach) < 0 || attach.session != 42)
			return -1;
		*client_nonce = attach.nonce;
		proto_proof(&server->token, "server", client_nonce, server_nonce, opening, header->length,
		            &answer.proof);
		(void) proto_encode_attach_reply(&writer, &answer);
	}
	reply(server, header, &writer);
	return 0;
}

static void welcome(struct server *server, struct proto_header *header)
{
	struct proto_proof_reply answer = { .session = 42, .lanes_max = 3, .root.node = PROTO_ID(1, 1) };
	struct proto_writer writer;
	uint8_t bytes[512];

	proto_writer_init(&writer, bytes, sizeof(bytes));
	(void) proto_encode_proof_reply(&writer, &answer);
	reply(server, header, &writer);
}

static void *serve(void *argument)
{
	struct server *server = argument;
	struct proto_bytes32 client_nonce, server_nonce, expected;
	struct proto_proof_request proof;
	struct proto_header header;
	struct proto_reader reader;
	uint8_t opening[8192];
	size_t length;

	if (proto_channel_next(&server->channel, &header, &reader) < 0)
		return NULL;
	length = header.length;
	memcpy(opening, reader.next, length);
	if (server->garbage)
		(void) !write(server->channel.fd, "HTTP/1.1 400 Bad Request\r\n\r\n", 28);
	else if (server->refuse_hello)
		refuse(server);
	if (server->silent || server->garbage || server->refuse_hello ||
	    challenge(server, &header, opening, &client_nonce, &server_nonce) < 0 ||
	    proto_channel_next(&server->channel, &header, &reader) < 0 ||
	    proto_decode_proof_request(&reader, &proof) < 0)
		return NULL;
	proto_proof(&server->token, "client", &client_nonce, &server_nonce, opening, length, &expected);
	server->proof_was_right = proto_proof_equal(&expected, &proof.proof);
	if (server->refuse_proof)
		refuse(server);
	else
		welcome(server, &header);
	return NULL;
}

struct outcome {
	int result;
	struct proto_proof_reply welcome;
	struct proto_refusal refusal;
};

/* Runs one handshake against the server; attach names session 42. */
static struct outcome shake(struct server *server, const struct proto_token *token, bool attach)
{
	struct outcome outcome = { 0 };
	struct proto_channel channel;
	pthread_t thread;
	int fds[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	assert_int_equal(proto_channel_init(&channel, fds[0], CAPACITY, STALL_MS), 0);
	assert_int_equal(proto_channel_init(&server->channel, fds[1], CAPACITY, STALL_MS), 0);
	assert_int_equal(pthread_create(&thread, NULL, serve, server), 0);
	if (attach) {
		outcome.result = proto_attach(&channel, token, 42, &outcome.welcome, &outcome.refusal);
	} else {
		struct proto_hello_request hello = { .share.path = "/home/me" };

		outcome.result = proto_hello(&channel, token, &hello, &outcome.welcome, &outcome.refusal);
	}
	proto_channel_kill(&channel);
	assert_int_equal(pthread_join(thread, NULL), 0);
	proto_channel_done(&channel);
	proto_channel_done(&server->channel);
	return outcome;
}

static const struct proto_token right = { { 1, 2, 3 } }, wrong = { { 1, 2, 4 } };

static void both_sides_prove_the_token_and_the_client_is_welcome(void **state)
{
	struct server server = { .token = right };
	struct outcome outcome = shake(&server, &right, false);

	assert_int_equal(outcome.result, 0);
	assert_true(server.proof_was_right);
	assert_int_equal(outcome.welcome.session, 42);
	assert_int_equal(outcome.welcome.lanes_max, 3);
}

static void a_lane_is_attached_in_the_same_way(void **state)
{
	struct server server = { .token = right };
	struct outcome outcome = shake(&server, &right, true);

	assert_int_equal(outcome.result, 0);
	assert_true(server.proof_was_right);
}

static void a_server_without_the_token_gets_no_proof(void **state)
{
	struct server server = { .token = wrong };

	assert_int_equal(shake(&server, &right, false).result, -EKEYREJECTED);
	assert_false(server.proof_was_right);
	assert_int_equal(shake(&server, &right, true).result, -EKEYREJECTED);
}

static void a_refusal_has_code_and_words_at_either_step(void **state)
{
	struct server at_hello = { .token = right, .refuse_hello = true };
	struct server at_proof = { .token = right, .refuse_proof = true };
	struct outcome outcome = shake(&at_hello, &right, false);

	assert_int_equal(outcome.result, -EACCES);
	assert_int_equal(outcome.refusal.code, PROTO_REFUSE_NOT_SHARED);
	assert_string_equal(outcome.refusal.text, "not shared");
	outcome = shake(&at_proof, &right, false);
	assert_int_equal(outcome.result, -EACCES);
	assert_string_equal(outcome.refusal.text, "not shared");
}

static void a_version_that_was_not_offered_and_garbage_are_no_protocol(void **state)
{
	struct server version = { .token = right, .wrong_version = true };
	struct server garbage = { .token = right, .garbage = true };

	assert_int_equal(shake(&version, &right, false).result, -EPROTO);
	assert_int_equal(shake(&garbage, &right, false).result, -EPROTO);
}

static void a_server_that_closes_ends_the_handshake_at_once(void **state)
{
	struct proto_hello_request hello = { .share.path = "/home/me" };
	struct proto_proof_reply answer;
	struct proto_refusal refusal;
	struct proto_channel channel;
	int fds[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	assert_int_equal(proto_channel_init(&channel, fds[0], CAPACITY, STALL_MS), 0);
	close_fd(fds[1]);
	assert_int_equal(proto_hello(&channel, &right, &hello, &answer, &refusal), -ENOTCONN);
	proto_channel_done(&channel);
}

static void a_server_that_is_silent_times_out(void **state)
{
	struct server server = { .token = right, .silent = true };

	assert_int_equal(shake(&server, &right, false).result, -ETIMEDOUT);
}

static void the_opening_and_the_proof_have_one_size_each(void **state)
{
	struct proto_hello_request short_hello = { .share.path = "/" }, long_hello = { .share.path = "/a/b/c" };
	struct proto_writer left, right_writer;
	uint8_t left_bytes[8192], right_bytes[8192];

	proto_writer_init(&left, left_bytes, sizeof(left_bytes));
	proto_writer_init(&right_writer, right_bytes, sizeof(right_bytes));
	assert_int_equal(proto_encode_hello_request(&left, &short_hello), 0);
	assert_int_equal(proto_encode_hello_request(&right_writer, &long_hello), 0);
	assert_int_equal(left.next - left.start, right_writer.next - right_writer.start);
}

static char token_path[] = "/tmp/bindshare-token-XXXXXX";

static void write_token(const char *text, mode_t mode)
{
	FILE *file;

	/* The one before may be read-only, which only root overlooks. */
	(void) unlink(token_path);
	file = fopen(token_path, "wxe");
	assert_non_null(file);
	assert_true(fputs(text, file) >= 0);
	assert_int_equal(fclose(file), 0);
	assert_int_equal(chmod(token_path, mode), 0);
}

static void token_is_refused(int expected, const char *words)
{
	struct proto_token token;
	char error[512] = "";

	assert_int_equal(proto_token_read(token_path, &token, error, sizeof(error)), expected);
	if (strstr(error, words) == NULL)
		fail_msg("said \"%s\" without \"%s\"", error, words);
}

#define HEX64 "00112233445566778899aAbBcCdDeEfF00112233445566778899aabbccddeeff"

static void a_token_file_holds_64_digits_and_belongs_to_one(void **state)
{
	struct proto_token token;
	char error[512];

	write_token("  " HEX64 "\n", 0600);
	assert_int_equal(proto_token_read(token_path, &token, error, sizeof(error)), 0);
	assert_int_equal(token.key[1], 0x11);
	assert_int_equal(token.key[31], 0xff);
	write_token(HEX64, 0400);
	assert_int_equal(proto_token_read(token_path, &token, error, sizeof(error)), 0);
	write_token(HEX64, 0640);
	token_is_refused(-EPERM, "chmod 600");
	write_token(HEX64, 0602);
	token_is_refused(-EPERM, "chmod 600");
	if (geteuid() == 0) {
		write_token(HEX64, 0600);
		assert_int_equal(chown(token_path, 1234, 0), 0);
		token_is_refused(-EPERM, "belongs to user 1234; it must belong to root or to user 0");
		assert_int_equal(chown(token_path, 0, 0), 0);
	}
	write_token("", 0600);
	token_is_refused(-EINVAL, "64 hexadecimal digits");
	write_token(HEX64 "0", 0600);
	token_is_refused(-EINVAL, "64 hexadecimal digits");
	write_token(HEX64 HEX64 HEX64 HEX64 HEX64, 0600);
	token_is_refused(-EINVAL, "64 hexadecimal digits");
	write_token("x0112233445566778899aabbccddeeff00112233445566778899aabbccddeeff", 0600);
	token_is_refused(-EINVAL, "64 hexadecimal digits");
}

static void a_token_file_is_a_regular_file_that_is_there(void **state)
{
	assert_int_equal(unlink(token_path), 0);
	token_is_refused(-ENOENT, "cannot open");
	assert_int_equal(mkfifo(token_path, 0600), 0);
	token_is_refused(-EPERM, "regular file");
}

static int set_up(void **state)
{
	int fd = mkstemp(token_path);

	if (fd < 0 || sodium_init() < 0)
		return -1;
	close_fd(fd);
	return 0;
}

static int tear_down(void **state)
{
	return unlink(token_path);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(both_sides_prove_the_token_and_the_client_is_welcome),
		cmocka_unit_test(a_lane_is_attached_in_the_same_way),
		cmocka_unit_test(a_server_without_the_token_gets_no_proof),
		cmocka_unit_test(a_refusal_has_code_and_words_at_either_step),
		cmocka_unit_test(a_version_that_was_not_offered_and_garbage_are_no_protocol),
		cmocka_unit_test(a_server_that_closes_ends_the_handshake_at_once),
		cmocka_unit_test(a_server_that_is_silent_times_out),
		cmocka_unit_test(the_opening_and_the_proof_have_one_size_each),
		cmocka_unit_test(a_token_file_holds_64_digits_and_belongs_to_one),
		cmocka_unit_test(a_token_file_is_a_regular_file_that_is_there),
	};

	return cmocka_run_group_tests_name("handshake", tests, set_up, tear_down);
}
