/* SPDX-License-Identifier: Apache-2.0 */
/* The handshake: the token, its proof, and the client's half. */
#include "protocol/handshake.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sodium.h>
#include <string.h>
#include <sys/stat.h>

#include "protocol/cleanup.h"
#include "protocol/words.h"

enum { TOKEN_FILE_MAX = 256, OPENING_MAX = 4608 };

/* Parses 64 hexadecimal digits with white space around them. */
static bool parse_token(const char *text, size_t length, struct proto_token *ret_token)
{
	static const char white[] = " \t\r\n";
	struct proto_token token;
	size_t decoded;
	bool ok;

	while (length > 0 && strchr(white, text[length - 1]) != NULL && text[length - 1] != '\0')
		length--;
	while (length > 0 && strchr(white, text[0]) != NULL && text[0] != '\0') {
		text++;
		length--;
	}
	ok = length == 2 * PROTO_TOKEN_SIZE &&
	     sodium_hex2bin(token.key, sizeof(token.key), text, length, NULL, &decoded, NULL) == 0 &&
	     decoded == sizeof(token.key);
	if (ok)
		*ret_token = token;
	sodium_memzero(&token, sizeof(token));
	return ok;
}

int proto_token_read(const char *path, struct proto_token *ret_token, char *error, size_t error_size)
{
	/* O_NONBLOCK: the path may name a FIFO. */
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	char text[TOKEN_FILE_MAX + 1];
	struct stat st;
	ssize_t length;
	bool ok;

	if (fd < 0 || fstat(fd, &st) < 0) {
		int saved = errno;

		return words_refuse(-saved, error, error_size, "cannot open the token file %s: %s", path,
		                    strerror(saved));
	}
	if (!S_ISREG(st.st_mode))
		return words_refuse(-EPERM, error, error_size, "the token file %s is not a regular file", path);
	if (st.st_uid != 0 && st.st_uid != geteuid())
		return words_refuse(-EPERM, error, error_size,
		                    "the token file %s belongs to user %u; it must belong to root or to user %u", path,
		                    (unsigned) st.st_uid, (unsigned) geteuid());
	if ((st.st_mode & 066) != 0)
		return words_refuse(-EPERM, error, error_size,
		                    "others may read or write the token file %s (mode %04o); run: chmod 600 %s", path,
		                    (unsigned) st.st_mode & 07777, path);
	length = read(fd, text, sizeof(text));
	if (length < 0) {
		int saved = errno;

		return words_refuse(-saved, error, error_size, "cannot read the token file %s: %s", path,
		                    strerror(saved));
	}
	ok = parse_token(text, (size_t) length, ret_token);
	sodium_memzero(text, sizeof(text));
	if (!ok)
		return words_refuse(-EINVAL, error, error_size,
		                    "the token file %s does not hold 64 hexadecimal digits; make one with: "
		                    "openssl rand -hex 32",
		                    path);
	return 0;
}

void proto_proof(const struct proto_token *token, const char *side, const struct proto_bytes32 *client_nonce,
                 const struct proto_bytes32 *server_nonce, const void *opening, size_t length,
                 struct proto_bytes32 *ret_proof)
{
	crypto_generichash_state state;
	char label[32];
	int label_length = snprintf(label, sizeof(label), "bindshare %s 1", side);

	assert(label_length > 0 && (size_t) label_length < sizeof(label));
	crypto_generichash_init(&state, token->key, sizeof(token->key), sizeof(ret_proof->bytes));
	crypto_generichash_update(&state, (const unsigned char *) label, (unsigned long long) label_length);
	crypto_generichash_update(&state, client_nonce->bytes, sizeof(client_nonce->bytes));
	crypto_generichash_update(&state, server_nonce->bytes, sizeof(server_nonce->bytes));
	crypto_generichash_update(&state, opening, length);
	crypto_generichash_final(&state, ret_proof->bytes, sizeof(ret_proof->bytes));
	sodium_memzero(&state, sizeof(state));
}

bool proto_proof_equal(const struct proto_bytes32 *left, const struct proto_bytes32 *right)
{
	return sodium_memcmp(left->bytes, right->bytes, sizeof(left->bytes)) == 0;
}

static void take_refusal(struct proto_reader *reader, struct proto_refusal *refusal)
{
	struct proto_refuse_request message;

	memset(refusal, 0, sizeof(*refusal));
	refusal->code = PROTO_REFUSE_INTERNAL;
	if (proto_decode_refuse_request(reader, &message) < 0)
		return;
	if (message.code >= PROTO_REFUSE_VERSION && message.code <= PROTO_REFUSE_INTERNAL)
		refusal->code = message.code;
	memcpy(refusal->text, message.text.text, message.text.length);
}

/*
 * Sends a request and waits timeout_ms for the answer to begin: a reply of the same operation, or the message answer
 * that the server sends in its place. Returns 0 and the answer's payload; -EACCES and the refusal; -EPROTO; -ETIMEDOUT;
 * or an error of the connection.
 */
static int ask_for(struct proto_channel *channel, enum proto_op op, const struct proto_writer *writer, int timeout_ms,
                   enum proto_op answer, struct proto_reader *ret_reader, struct proto_refusal *ret_refusal)
{
	struct proto_header header = { .op = (uint16_t) op, .id = op };
	struct pollfd poller = { .fd = channel->fd, .events = POLLIN };
	int r = proto_channel_send(channel, &header, writer);

	/* A server that refuses at once may close before our bytes arrive: its refusal is still to be read. */
	if (r < 0 && r != -EPIPE && r != -ECONNRESET)
		return r;
	if (channel->start == channel->end) {
		int ready;

		do
			ready = poll(&poller, 1, timeout_ms);
		while (ready < 0 && errno == EINTR);
		if (ready <= 0)
			return ready == 0 ? -ETIMEDOUT : -errno;
	}
	r = proto_channel_next(channel, &header, ret_reader);
	if (r < 0)
		return r == -EAGAIN ? -ETIMEDOUT : r == -EBADMSG ? -EPROTO : r;
	if (header.op == PROTO_REFUSE) {
		take_refusal(ret_reader, ret_refusal);
		return -EACCES;
	}
	if (header.op != answer || header.status != 0)
		return -EPROTO;
	if (answer == op && (header.id != (uint64_t) op || header.flags != PROTO_FRAME_REPLY))
		return -EPROTO;
	return answer != op && header.flags != 0 ? -EPROTO : 0;
}

static int ask(struct proto_channel *channel, enum proto_op op, const struct proto_writer *writer,
               struct proto_reader *ret_reader, struct proto_refusal *ret_refusal)
{
	return ask_for(channel, op, writer, PROTO_HANDSHAKE_MS, op, ret_reader, ret_refusal);
}

/* What is needed to check the server's challenge and to compute PROOF. */
struct challenge {
	const struct proto_token *token;
	const struct proto_writer *opening;
	const struct proto_bytes32 *client_nonce, *server_nonce, *server_proof;
};

/* Checks the server's proof, sends ours and waits for the message that accepts it. Errors as of ask_for(). */
static int prove(struct proto_channel *channel, const struct challenge *challenge, enum proto_op answer,
                 struct proto_reader *ret_reader, struct proto_refusal *ret_refusal)
{
	const struct proto_writer *opening = challenge->opening;
	size_t length = (size_t) (opening->next - opening->start);
	struct proto_proof_request request;
	struct proto_bytes32 expected;
	struct proto_writer writer;
	uint8_t bytes[64];
	int r;

	proto_proof(challenge->token, "server", challenge->client_nonce, challenge->server_nonce, opening->start,
	            length, &expected);
	if (!proto_proof_equal(&expected, challenge->server_proof))
		return -EKEYREJECTED;
	proto_proof(challenge->token, "client", challenge->client_nonce, challenge->server_nonce, opening->start,
	            length, &request.proof);
	proto_writer_init(&writer, bytes, sizeof(bytes));
	r = proto_encode_proof_request(&writer, &request);
	return r < 0 ? r : ask_for(channel, PROTO_PROOF, &writer, PROTO_WELCOME_MS, answer, ret_reader, ret_refusal);
}

/* The same for a session: reads WELCOME. */
static int prove_to_worker(struct proto_channel *channel, const struct challenge *challenge,
                           struct proto_proof_reply *ret_welcome, struct proto_refusal *ret_refusal)
{
	struct proto_reader reader;
	int r = prove(channel, challenge, PROTO_PROOF, &reader, ret_refusal);

	if (r < 0)
		return r;
	return proto_decode_proof_reply(&reader, ret_welcome) < 0 ? -EPROTO : 0;
}

int proto_hello(struct proto_channel *channel, const struct proto_token *token, struct proto_hello_request *hello,
                struct proto_proof_reply *ret_welcome, struct proto_refusal *ret_refusal)
{
	uint8_t bytes[OPENING_MAX];
	struct proto_writer writer;
	struct proto_reader reader;
	struct proto_hello_reply challenge;
	int r;

	hello->magic = PROTO_MAGIC;
	hello->version_min = PROTO_VERSION_MIN;
	hello->version_max = PROTO_VERSION_MAX;
	randombytes_buf(hello->nonce.bytes, sizeof(hello->nonce.bytes));
	memset(ret_refusal, 0, sizeof(*ret_refusal));
	proto_writer_init(&writer, bytes, sizeof(bytes));
	r = proto_encode_hello_request(&writer, hello);
	if (r == 0)
		r = ask(channel, PROTO_HELLO, &writer, &reader, ret_refusal);
	if (r < 0)
		return r;
	if (proto_decode_hello_reply(&reader, &challenge) < 0 || challenge.version < PROTO_VERSION_MIN ||
	    challenge.version > PROTO_VERSION_MAX)
		return -EPROTO;
	return prove_to_worker(channel,
	                       &(struct challenge){ token, &writer, &hello->nonce, &challenge.nonce, &challenge.proof },
	                       ret_welcome, ret_refusal);
}

int proto_attach(struct proto_channel *channel, const struct proto_token *token, uint64_t session,
                 struct proto_proof_reply *ret_welcome, struct proto_refusal *ret_refusal)
{
	struct proto_attach_request attach = { .magic = PROTO_MAGIC, .version = PROTO_VERSION_MAX, .session = session };
	struct proto_attach_reply challenge;
	uint8_t bytes[128];
	struct proto_writer writer;
	struct proto_reader reader;
	int r;

	randombytes_buf(attach.nonce.bytes, sizeof(attach.nonce.bytes));
	memset(ret_refusal, 0, sizeof(*ret_refusal));
	proto_writer_init(&writer, bytes, sizeof(bytes));
	r = proto_encode_attach_request(&writer, &attach);
	if (r == 0)
		r = ask(channel, PROTO_ATTACH, &writer, &reader, ret_refusal);
	if (r < 0)
		return r;
	if (proto_decode_attach_reply(&reader, &challenge) < 0)
		return -EPROTO;
	return prove_to_worker(channel,
	                       &(struct challenge){ token, &writer, &attach.nonce, &challenge.nonce, &challenge.proof },
	                       ret_welcome, ret_refusal);
}

int proto_follow(struct proto_channel *channel, const struct proto_token *token, struct proto_changed_request *ret_list,
                 struct proto_refusal *ret_refusal)
{
	struct proto_follow_request follow = {
		.magic = PROTO_MAGIC,
		.version_min = PROTO_VERSION_MIN,
		.version_max = PROTO_VERSION_MAX,
	};
	struct proto_follow_reply challenge;
	uint8_t bytes[128];
	struct proto_writer writer;
	struct proto_reader reader;
	int r;

	randombytes_buf(follow.nonce.bytes, sizeof(follow.nonce.bytes));
	memset(ret_refusal, 0, sizeof(*ret_refusal));
	proto_writer_init(&writer, bytes, sizeof(bytes));
	r = proto_encode_follow_request(&writer, &follow);
	if (r == 0)
		r = ask(channel, PROTO_FOLLOW, &writer, &reader, ret_refusal);
	if (r < 0)
		return r;
	if (proto_decode_follow_reply(&reader, &challenge) < 0 || challenge.version < PROTO_VERSION_MIN ||
	    challenge.version > PROTO_VERSION_MAX)
		return -EPROTO;
	r = prove(channel, &(struct challenge){ token, &writer, &follow.nonce, &challenge.nonce, &challenge.proof },
	          PROTO_CHANGED, &reader, ret_refusal);
	if (r < 0)
		return r;
	return proto_decode_changed_request(&reader, ret_list) < 0 ? -EPROTO : 0;
}
