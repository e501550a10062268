/* SPDX-License-Identifier: Apache-2.0 */
/* Handshakes over socket pairs with a real loop: right ones, every kind of wrong one, slow ones, too many. */
#include <errno.h>
#include <setjmp.h>
#include <sodium.h>
#include <stdarg.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "fileserver/broker/admission.h"
#include "protocol/cleanup.h"

enum { HELLO_SIZE = 4160 };

/* What came through. */
static struct {
	unsigned opened, attached, rooms;
	int fd;
	struct proto_hello_request hello;
	uint64_t session, id;
	bool refuse;
} seen;

static uv_loop_t loop;
static struct admission admission;

static int take(int fd, uint64_t id, struct proto_refusal *refusal)
{
	seen.id = id;
	if (seen.refuse) {
		*refusal = (struct proto_refusal){ .code = PROTO_REFUSE_NOT_SHARED, .text = "not shared" };
		return -EACCES;
	}
	seen.fd = fd;
	return 0;
}

static int on_open(void *context, int fd, const struct proto_hello_request *hello, uint64_t id,
                   struct proto_refusal *refusal)
{
	seen.opened++;
	seen.hello = *hello;
	return take(fd, id, refusal);
}

static int on_attach(void *context, int fd, uint64_t session, uint64_t id, struct proto_refusal *refusal)
{
	seen.attached++;
	seen.session = session;
	return take(fd, id, refusal);
}

static void on_room(void *context)
{
	seen.rooms++;
}

static int set_up(void **state)
{
	memset(&seen, 0, sizeof(seen));
	seen.fd = -EBADF;
	admission = (struct admission){
		.loop = &loop,
		.token.key = { 1, 2, 3 },
		.kind = PROTO_ADDRESS_UNIX,
		.check_credentials = true,
		.open = on_open,
		.attach = on_attach,
		.has_room = on_room,
	};
	return sodium_init() < 0 ? -1 : uv_loop_init(&loop);
}

static int tear_down(void **state)
{
	admission_close(&admission);
	close_fd(seen.fd);
	(void) uv_run(&loop, UV_RUN_DEFAULT);
	return uv_loop_close(&loop);
}

/* Lets the loop do what there is to do now. */
static void turn(void)
{
	for (unsigned i = 0; i < 8; i++)
		(void) uv_run(&loop, UV_RUN_NOWAIT);
}

/* A connection whose other end is in admission. */
static int begin(void)
{
	int fds[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds), 0);
	admission_begin(&admission, fds[1]);
	turn();
	return fds[0];
}

static size_t make_hello(uint8_t *bytes, uint32_t least, uint32_t most, const char *path)
{
	struct proto_hello_request hello = { .magic = PROTO_MAGIC, .version_min = least, .version_max = most };
	struct proto_header header = { .op = PROTO_HELLO, .id = 5 };
	struct proto_writer writer;

	strcpy(hello.share.path, path);
	memset(hello.nonce.bytes, 7, sizeof(hello.nonce.bytes));
	proto_writer_init(&writer, bytes + PROTO_HEADER_SIZE, HELLO_SIZE + 64);
	assert_int_equal(proto_encode_hello_request(&writer, &hello), 0);
	header.length = (uint32_t) (writer.next - writer.start);
	assert_int_equal(header.length, HELLO_SIZE);
	proto_header_encode(bytes, &header);
	return PROTO_HEADER_SIZE + header.length;
}

static size_t make_attach(uint8_t *bytes, uint32_t version)
{
	struct proto_attach_request attach = { .magic = PROTO_MAGIC, .version = version, .session = 42 };
	struct proto_header header = { .op = PROTO_ATTACH, .id = 6 };
	struct proto_writer writer;

	memset(attach.nonce.bytes, 7, sizeof(attach.nonce.bytes));
	proto_writer_init(&writer, bytes + PROTO_HEADER_SIZE, 256);
	assert_int_equal(proto_encode_attach_request(&writer, &attach), 0);
	header.length = (uint32_t) (writer.next - writer.start);
	proto_header_encode(bytes, &header);
	return PROTO_HEADER_SIZE + header.length;
}

static void send_bytes(int fd, const void *bytes, size_t size)
{
	assert_int_equal(send(fd, bytes, size, MSG_NOSIGNAL), size);
	turn();
}

/* Reads what the server said: the header, and its payload. */
static struct proto_header answer(int fd, uint8_t *payload)
{
	struct proto_header header = { 0 };
	uint8_t bytes[PROTO_HEADER_SIZE];

	assert_int_equal(recv(fd, bytes, sizeof(bytes), 0), sizeof(bytes));
	assert_int_equal(proto_header_decode(bytes, &header), 0);
	assert_int_equal(recv(fd, payload, header.length, 0), header.length);
	return header;
}

static void is_refused(int fd, enum proto_refuse code, const char *words)
{
	struct proto_refuse_request refusal;
	struct proto_reader reader;
	uint8_t payload[4096];
	struct proto_header header = answer(fd, payload);

	assert_int_equal(header.op, PROTO_REFUSE);
	proto_reader_init(&reader, payload, header.length, header.length);
	assert_int_equal(proto_decode_refuse_request(&reader, &refusal), 0);
	assert_int_equal(refusal.code, code);
	if (strstr(refusal.text.text, words) == NULL)
		fail_msg("said \"%s\" without \"%s\"", refusal.text.text, words);
	assert_int_equal(recv(fd, payload, 1, 0), -1);
	assert_int_equal(errno, EAGAIN);
	close_fd(fd);
	turn();
	assert_int_equal(admission.refused, 0);
	assert_int_equal(admission.pending, 0);
}

/* Checks the server's proof in its answer to opening, and makes PROOF. */
static size_t make_proof(int fd, const uint8_t *opening, size_t length, bool right, uint8_t *bytes)
{
	struct proto_header header = { .op = PROTO_PROOF, .id = 9, .length = 32 };
	struct proto_bytes32 client_nonce, server_nonce, expected, proof;
	struct proto_reader reader;
	uint8_t payload[4096];
	struct proto_header reply = answer(fd, payload);

	memset(client_nonce.bytes, 7, sizeof(client_nonce.bytes));
	assert_int_equal(reply.flags, PROTO_FRAME_REPLY);
	proto_reader_init(&reader, payload, reply.length, reply.length);
	if (reply.op == PROTO_HELLO) {
		struct proto_hello_reply challenge;

		assert_int_equal(proto_decode_hello_reply(&reader, &challenge), 0);
		server_nonce = challenge.nonce;
		proof = challenge.proof;
		assert_int_equal(challenge.version, 1);
	} else {
		struct proto_attach_reply challenge;

		assert_int_equal(proto_decode_attach_reply(&reader, &challenge), 0);
		server_nonce = challenge.nonce;
		proof = challenge.proof;
	}
	opening += PROTO_HEADER_SIZE;
	length -= PROTO_HEADER_SIZE;
	proto_proof(&admission.token, "server", &client_nonce, &server_nonce, opening, length, &expected);
	assert_true(proto_proof_equal(&expected, &proof));
	proto_proof(&admission.token, "client", &client_nonce, &server_nonce, opening, length, &proof);
	if (!right)
		proof.bytes[31] ^= 1;
	proto_header_encode(bytes, &header);
	memcpy(bytes + PROTO_HEADER_SIZE, proof.bytes, sizeof(proof.bytes));
	return PROTO_HEADER_SIZE + sizeof(proof.bytes);
}

static void a_proven_hello_comes_through_with_its_connection(void **state)
{
	uint8_t hello[8192], proof[128], byte;
	size_t length = make_hello(hello, 1, 3, "/home/me"), proof_length;
	int fd = begin();

	send_bytes(fd, hello, length);
	proof_length = make_proof(fd, hello, length, true, proof);
	/* What a client sends behind PROOF is the worker's. */
	proof[proof_length] = 'x';
	send_bytes(fd, proof, proof_length + 1);
	assert_int_equal(seen.opened, 1);
	assert_int_equal(seen.id, 9);
	assert_string_equal(seen.hello.share.path, "/home/me");
	assert_int_equal(admission.pending, 0);
	assert_int_equal(seen.rooms, 1);
	assert_int_equal(recv(seen.fd, &byte, 1, 0), 1);
	assert_int_equal(byte, 'x');
	close_fd(fd);
}

static void a_proven_attach_comes_through_byte_by_byte(void **state)
{
	uint8_t attach[512], proof[128];
	size_t length = make_attach(attach, 1), proof_length;
	int fd = begin();

	for (size_t i = 0; i < length; i++)
		send_bytes(fd, attach + i, 1);
	proof_length = make_proof(fd, attach, length, true, proof);
	for (size_t i = 0; i < proof_length; i++)
		send_bytes(fd, proof + i, 1);
	assert_int_equal(seen.attached, 1);
	assert_int_equal(seen.session, 42);
	close_fd(fd);
}

static void a_wrong_proof_is_refused(void **state)
{
	uint8_t hello[8192], proof[128];
	size_t length = make_hello(hello, 1, 1, "/home/me");
	int fd = begin();

	send_bytes(fd, hello, length);
	send_bytes(fd, proof, make_proof(fd, hello, length, false, proof));
	assert_int_equal(seen.opened, 0);
	is_refused(fd, PROTO_REFUSE_PROOF, "token");
}

static void a_proof_is_worth_nothing_in_another_handshake(void **state)
{
	uint8_t hello[8192], proof[128], ignored[128];
	size_t length = make_hello(hello, 1, 1, "/home/me"), proof_length;
	int first = begin(), second = begin();

	send_bytes(first, hello, length);
	proof_length = make_proof(first, hello, length, true, proof);
	close_fd(first);
	turn();
	send_bytes(second, hello, length);
	(void) make_proof(second, hello, length, true, ignored);
	send_bytes(second, proof, proof_length);
	is_refused(second, PROTO_REFUSE_PROOF, "token");
}

static void what_the_supervisor_refuses_is_told(void **state)
{
	uint8_t hello[8192], proof[128];
	size_t length = make_hello(hello, 1, 1, "/etc");
	int fd = begin();

	seen.refuse = true;
	send_bytes(fd, hello, length);
	send_bytes(fd, proof, make_proof(fd, hello, length, true, proof));
	assert_int_equal(seen.opened, 1);
	is_refused(fd, PROTO_REFUSE_NOT_SHARED, "not shared");
}

static void an_unknown_version_is_told_which_side_to_upgrade(void **state)
{
	uint8_t bytes[8192];
	size_t length = make_hello(bytes, 2, 3, "/home/me");
	int fd = begin();

	send_bytes(fd, bytes, length);
	is_refused(fd, PROTO_REFUSE_VERSION, "Upgrade bindshare-fileserver on the host");
	length = make_hello(bytes, 0, 0, "/home/me");
	fd = begin();
	send_bytes(fd, bytes, length);
	is_refused(fd, PROTO_REFUSE_VERSION, "Upgrade bindshare-mount in the guest");
	length = make_attach(bytes, 2);
	fd = begin();
	send_bytes(fd, bytes, length);
	is_refused(fd, PROTO_REFUSE_VERSION, "Upgrade bindshare-fileserver on the host");
}

static void a_hello_of_another_versions_size_is_told_so_too(void **state)
{
	uint8_t bytes[8192] = { 0 };
	struct proto_header header = { .op = PROTO_HELLO, .id = 5, .length = 6000 };
	int fd = begin();

	(void) make_hello(bytes, 2, 2, "/home/me");
	proto_header_encode(bytes, &header);
	send_bytes(fd, bytes, PROTO_HEADER_SIZE + 6000);
	is_refused(fd, PROTO_REFUSE_VERSION, "Upgrade bindshare-fileserver");
	(void) make_hello(bytes, 1, 1, "/home/me");
	proto_header_encode(bytes, &header);
	fd = begin();
	send_bytes(fd, bytes, PROTO_HEADER_SIZE + 6000);
	is_refused(fd, PROTO_REFUSE_PROTOCOL, "no sense");
}

static void refuses_header(struct proto_header header)
{
	uint8_t bytes[PROTO_HEADER_SIZE];
	int fd = begin();

	proto_header_encode(bytes, &header);
	send_bytes(fd, bytes, sizeof(bytes));
	is_refused(fd, PROTO_REFUSE_PROTOCOL, "no sense");
}

static void what_is_no_handshake_is_refused_before_its_payload_comes(void **state)
{
	refuses_header((struct proto_header){ .op = PROTO_LOOKUP, .id = 1, .length = 20 });
	refuses_header((struct proto_header){ .op = PROTO_PROOF, .id = 1, .length = 32 });
	refuses_header((struct proto_header){ .op = PROTO_PING, .id = 1, .length = 8 });
	refuses_header((struct proto_header){ .op = PROTO_REFUSE, .id = 1, .length = 8 });
	refuses_header((struct proto_header){ .op = PROTO_HELLO, .id = 0, .length = HELLO_SIZE });
	refuses_header((struct proto_header){ .op = PROTO_HELLO, .id = 1, .length = UINT32_MAX });
	refuses_header((struct proto_header){ .op = PROTO_HELLO, .id = 1, .length = 0 });
	refuses_header((struct proto_header){ .op = PROTO_HELLO, .id = 1, .length = HELLO_SIZE, .reserved = 1 });
	refuses_header((struct proto_header){ .op = PROTO_HELLO, .id = 1, .length = HELLO_SIZE, .flags = 1 });
	refuses_header((struct proto_header){ .op = PROTO_ATTACH, .id = 1, .length = 47 });
	refuses_header((struct proto_header){ .op = 60000, .id = 1, .length = 48 });
}

static void garbage_and_bad_values_are_refused(void **state)
{
	uint8_t bytes[8192];
	size_t length;
	int fd = begin();

	send_bytes(fd, "GET / HTTP/1.1\r\nHost: me\r\n\r\n", 28);
	is_refused(fd, PROTO_REFUSE_PROTOCOL, "no sense");
	length = make_hello(bytes, 1, 1, "/home/me");
	bytes[PROTO_HEADER_SIZE] ^= 1; /* magic */
	fd = begin();
	send_bytes(fd, bytes, length);
	is_refused(fd, PROTO_REFUSE_PROTOCOL, "no sense");
	length = make_hello(bytes, 1, 1, "/home/me");
	bytes[PROTO_HEADER_SIZE + 12] = 0x80; /* unknown flag */
	fd = begin();
	send_bytes(fd, bytes, length);
	is_refused(fd, PROTO_REFUSE_PROTOCOL, "no sense");
	length = make_hello(bytes, 1, 1, "/home/me");
	bytes[length - 1] = 'x'; /* padding of the path */
	fd = begin();
	send_bytes(fd, bytes, length);
	is_refused(fd, PROTO_REFUSE_PROTOCOL, "no sense");
	length = make_hello(bytes, 1, 1, "/home/me");
	memcpy(bytes + length - PROTO_SHARE_SIZE, "/h/../x", 7);
	fd = begin();
	send_bytes(fd, bytes, length);
	is_refused(fd, PROTO_REFUSE_PROTOCOL, "no sense");
}

static void a_peer_that_closes_in_between_frees_its_place(void **state)
{
	uint8_t bytes[8192];
	size_t length = make_hello(bytes, 1, 1, "/home/me");

	for (size_t cut = 0; cut < length; cut += 97) {
		int fd = begin();

		if (cut > 0)
			send_bytes(fd, bytes, cut);
		assert_int_equal(admission.pending, 1);
		close_fd(fd);
		turn();
		assert_int_equal(admission.pending, 0);
	}
	assert_int_equal(seen.opened, 0);
}

static void four_at_a_time_and_each_has_its_deadline(void **state)
{
	int fds[4];
	uint64_t start;
	char byte;

	for (unsigned i = 0; i < 4; i++) {
		assert_false(admission_is_full(&admission));
		fds[i] = begin();
	}
	assert_true(admission_is_full(&admission));
	start = uv_now(&loop);
	while (admission.pending > 0)
		(void) uv_run(&loop, UV_RUN_ONCE);
	assert_in_range(uv_now(&loop) - start, 1900, 2600);
	assert_int_equal(seen.rooms, 4);
	for (unsigned i = 0; i < 4; i++) {
		assert_int_equal(recv(fds[i], &byte, 1, 0), 0);
		close_fd(fds[i]);
	}
}

static void a_refused_peer_that_does_not_close_is_closed(void **state)
{
	int fd = begin();
	uint8_t payload[4096];

	send_bytes(fd, "GET / HTTP/1.1\r\nHost: me\r\n\r\n", 28);
	(void) answer(fd, payload);
	assert_int_equal(admission.pending, 0);
	assert_int_equal(admission.refused, 1);
	while (admission.refused > 0)
		(void) uv_run(&loop, UV_RUN_ONCE);
	assert_int_equal(recv(fd, payload, 1, 0), 0);
	close_fd(fd);
}

static void only_trusted_cids_and_privileged_ports_are_let_in(void **state)
{
	struct admission vsock = { .cids = { 3, 77 }, .cid_count = 2 };

	assert_true(admission_trusts(&vsock, 3, 1023));
	assert_true(admission_trusts(&vsock, 77, 1));
	assert_false(admission_trusts(&vsock, 3, 1024));
	assert_false(admission_trusts(&vsock, 4, 1023));
	assert_false(admission_trusts(&vsock, 2, 1023));
	assert_false(admission_trusts(&vsock, UINT32_MAX, 1));
}

static void a_peer_that_is_no_vsock_peer_is_not_trusted_as_one(void **state)
{
	admission.kind = PROTO_ADDRESS_VSOCK;
	is_refused(begin(), PROTO_REFUSE_PROOF, "no vsock address");
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(a_proven_hello_comes_through_with_its_connection),
		CASE(a_proven_attach_comes_through_byte_by_byte),
		CASE(a_wrong_proof_is_refused),
		CASE(a_proof_is_worth_nothing_in_another_handshake),
		CASE(what_the_supervisor_refuses_is_told),
		CASE(an_unknown_version_is_told_which_side_to_upgrade),
		CASE(a_hello_of_another_versions_size_is_told_so_too),
		CASE(what_is_no_handshake_is_refused_before_its_payload_comes),
		CASE(garbage_and_bad_values_are_refused),
		CASE(a_peer_that_closes_in_between_frees_its_place),
		CASE(four_at_a_time_and_each_has_its_deadline),
		CASE(a_refused_peer_that_does_not_close_is_closed),
		CASE(only_trusted_cids_and_privileged_ports_are_let_in),
		CASE(a_peer_that_is_no_vsock_peer_is_not_trusted_as_one),
	};

	log_init("test", LOG_LEVEL_ERROR);
	return cmocka_run_group_tests_name("admission", tests, NULL, NULL);
}
