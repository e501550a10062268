/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The handshake, HELLO to WELCOME: proof of the token for both sides, and the client's half.
 *
 * The token is 256 bits. Each side proves that it holds it by a keyed BLAKE2b-256 hash of a label, both nonces and the
 * message that opened the handshake (libsodium crypto_generichash). Without a token file the key is all zeros, and
 * admission rests on the protection of the socket alone.
 */
#pragma once

#include "address.h"
#include "channel.h"

enum {
	PROTO_TOKEN_SIZE = 32,
	PROTO_HANDSHAKE_MS = 2000, /* deadline of each step, both sides */
	PROTO_WELCOME_MS = 10000,  /* deadline of WELCOME, longer since a worker starts first */
};

struct proto_token {
	uint8_t key[PROTO_TOKEN_SIZE];
};

/*
 * Reads a token file: 64 hexadecimal digits, white space around them allowed. Its owner must be root or the caller, and
 * nobody else may read or write it. Returns 0; -EPERM: wrong owner, mode or type of file; -EINVAL: no token in it; or
 * an error of open(2); each with a message in error.
 */
int proto_token_read(const char *path, struct proto_token *ret_token, char *error, size_t error_size);

/*
 * Computes a proof. side: "client" or "server". opening, length: the payload of HELLO, ATTACH or FOLLOW. The caller
 * must have called sodium_init().
 */
void proto_proof(const struct proto_token *token, const char *side, const struct proto_bytes32 *client_nonce,
                 const struct proto_bytes32 *server_nonce, const void *opening, size_t length,
                 struct proto_bytes32 *ret_proof);

/* Compares in constant time. */
bool proto_proof_equal(const struct proto_bytes32 *left, const struct proto_bytes32 *right);

/* Why the server refused; code 0 when the error is not a refusal. */
struct proto_refusal {
	enum proto_refuse code;
	char text[PROTO_TEXT_MAX + 1];
};

/*
 * Client: runs the handshake on a connected channel, from HELLO (or ATTACH) to WELCOME. Fills in hello's magic,
 * versions and nonce. Returns 0; -EACCES: refused, see ret_refusal; -EKEYREJECTED: the server does not hold the token;
 * -ETIMEDOUT; -EPROTO: an invalid reply; or an error of the connection.
 */
int proto_hello(struct proto_channel *channel, const struct proto_token *token, struct proto_hello_request *hello,
                struct proto_proof_reply *ret_welcome, struct proto_refusal *ret_refusal);
int proto_attach(struct proto_channel *channel, const struct proto_token *token, uint64_t session,
                 struct proto_proof_reply *ret_welcome, struct proto_refusal *ret_refusal);

/* Client: the same from FOLLOW to the first CHANGED. */
int proto_follow(struct proto_channel *channel, const struct proto_token *token, struct proto_changed_request *ret_list,
                 struct proto_refusal *ret_refusal);
