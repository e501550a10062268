/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A real file server on a temporary share, run as an ordinary user, and raw sessions with it. BINDSHARE_BUILD names the
 * folder of the programs.
 */
#pragma once

#include <sys/types.h>

#include "protocol/handshake.h"
#include "tests/support/raw.h"

struct served {
	char directory[64]; /* holds share, canary, socket */
	char share[96], canary[96], socket[96];
	pid_t broker;
};

struct served_session {
	struct raw event, raw; /* event lane; one data lane */
	uint64_t session, root;
};

/* Starts the server; extra: further arguments, NULL-terminated, or NULL. NULL: it did not start. */
struct served *served_start(const char *const *extra);
/* Ends the server, removes everything. Returns its exit code, -1 when it crashed. */
int served_stop(struct served *served);

/* A connected channel on which nothing was said yet. */
int served_connect(struct served *served, struct raw *ret_raw);
/* HELLO to WELCOME for the share, and one data lane. 0 or a negative errno; ret_refusal may be NULL. */
int served_session(struct served *served, const char *path, struct served_session *ret_session,
                   struct proto_refusal *ret_refusal);
void served_session_done(struct served_session *session);
int served_lane(struct served *served, uint64_t session, struct raw *ret_raw);

/* Open descriptors and resident memory (kB) of the server and its workers together, and how many processes they are. */
struct served_usage {
	long descriptors, memory_kb, processes;
};
struct served_usage served_usage(const struct served *served);
/* Waits until the server has no worker and no open connection, at most 10 s. */
bool served_quiet(const struct served *served, long descriptors);
