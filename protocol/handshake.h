/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HELLO to WELCOME: proof of the token for both sides, and the client's half of the handshake.
 *
 * The token is 256 bits. Each side shows that it holds it by keyed BLAKE2b-256 over a label, both nonces and the
 * message that opened the handshake (libsodium crypto_generichash); without a token file the key is all zero
 * and admission rests on the socket's own protection.
 */
#pragma once

#include "address.h"
#include "channel.h"

enum {
	PROTO_TOKEN_SIZE = 32,
	PROTO_HANDSHAKE_MS = 2000, /* deadline of each step, both sides */
	PROTO_WELCOME_MS = 10000,  /* deadline of WELCOME: the worker starts meanwhile */
};

struct proto_token {
	uint8_t key[PROTO_TOKEN_SIZE];
};

/*
 * Reads a token file: 64 hexadecimal digits, white space around them allowed. Its owner must be root or the caller, and
 * nobody else may read or write it. 0; -EPERM: others may read it, or it is not a regular file, or foreign; -EINVAL: no
 * token in it; or what open says. *ret_error says it in words (static or within error's size).
 */
int proto_token_read(const char *path, struct proto_token *ret_token, char *error, size_t error_size);

/* side: "client" or "server". opening, length: the payload of HELLO or ATTACH. Needs sodium_init() once. */
void proto_proof(const struct proto_token *token, const char *side, const struct proto_bytes32 *client_nonce,
                 const struct proto_bytes32 *server_nonce, const void *opening, size_t length,
                 struct proto_bytes32 *ret_proof);

/* Compares in constant time. */
bool proto_proof_equal(const struct proto_bytes32 *left, const struct proto_bytes32 *right);

/* What the server said no with; code 0 when the error is not the server's. */
struct proto_refusal {
	enum proto_refuse code;
	char text[PROTO_TEXT_MAX + 1];
};

/*
 * Client: on a connected channel, HELLO (or ATTACH) to WELCOME. hello's magic, versions, nonce are filled in.
 * 0; -EACCES: refused, see ret_refusal; -EKEYREJECTED: the server does not hold the token; -ETIMEDOUT; -EPROTO: the
 * server's answer makes no sense; or the connection's error.
 */
int proto_hello(struct proto_channel *channel, const struct proto_token *token, struct proto_hello_request *hello,
                struct proto_proof_reply *ret_welcome, struct proto_refusal *ret_refusal);
int proto_attach(struct proto_channel *channel, const struct proto_token *token, uint64_t session,
                 struct proto_proof_reply *ret_welcome, struct proto_refusal *ret_refusal);

/* Client: on a connected channel, FOLLOW to the first CHANGED; errors as above. */
int proto_follow(struct proto_channel *channel, const struct proto_token *token, struct proto_changed_request *ret_list,
                 struct proto_refusal *ret_refusal);
