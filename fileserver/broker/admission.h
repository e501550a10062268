/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who may come in: from an accepted connection to a proven HELLO, ATTACH or FOLLOW, which is handed on.
 *
 * Everything that is read here comes from a peer that is not trusted yet: messages have one size each, buffers are
 * fixed, each step has PROTO_HANDSHAKE_MS, and at most ADMISSION_PENDING_MAX peers are in between at a time. Not one
 * byte beyond PROOF is read, so that the worker finds the lane at the first request.
 */
#pragma once

#include <uv.h>

#include "protocol/handshake.h"
#include "protocol/log.h"

enum { ADMISSION_PENDING_MAX = 4, ADMISSION_REFUSED_MAX = 16, ADMISSION_CIDS_MAX = 64 };

struct admission {
	uv_loop_t *loop;
	struct proto_token token;
	enum proto_address_kind kind;
	bool check_credentials; /* unix, not hybrid: the peer's uid must be the caller's or 0 */
	uint32_t cids[ADMISSION_CIDS_MAX];
	size_t cid_count;

	/*
	 * They take fd when they return 0, and have filled ret_refusal when they return a negative errno. id: of the
	 * PROOF request, which WELCOME answers.
	 */
	int (*open)(void *context, int fd, const struct proto_hello_request *hello, uint64_t id,
	            struct proto_refusal *ret_refusal);
	int (*attach)(void *context, int fd, uint64_t session, uint64_t id, struct proto_refusal *ret_refusal);
	int (*follow)(void *context, int fd, struct proto_refusal *ret_refusal);
	/* The token that an ATTACH to this session is to be proven with; NULL: always the one above. */
	const struct proto_token *(*token_of)(void *context, uint64_t session);
	/* One of ADMISSION_PENDING_MAX places has become free. */
	void (*has_room)(void *context);
	void *context;

	unsigned pending, refused; /* kept by admission.c */
	struct admission_peer *peers;
	bool closed;
};

/* Takes fd: begins a handshake. Not to be called while admission_is_full(). */
void admission_begin(struct admission *admission, int fd);
bool admission_is_full(const struct admission *admission);

/* Takes fd: sends REFUSE, waits for the peer to close, PROTO_HANDSHAKE_MS at most. */
void admission_refuse(struct admission *admission, int fd, enum proto_refuse code, const char *text);

/* True: a vsock peer with this address is one of those that are trusted. */
bool admission_trusts(const struct admission *admission, uint32_t cid, uint32_t port);

/* Ends all handshakes. The memory must live until the loop has run once more. */
void admission_close(struct admission *admission);
