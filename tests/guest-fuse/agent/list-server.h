/* SPDX-License-Identifier: Apache-2.0 */
/* The server's end of guestd's connection, played in a thread as a case wants it. */
#pragma once

#include <pthread.h>

#include "protocol/handshake.h"

enum { LIST_SERVER_SHARES = 8 };

struct list_server {
	int fd; /* the connected socket; taken */
	struct proto_token token;
	const char *shares[LIST_SERVER_SHARES]; /* their paths */
	unsigned count;
	uint32_t count_told;  /* in place of count, if not 0 */
	bool refuses;         /* the proof */
	bool closes;          /* after the handshake */
	bool lies;            /* answers SHARE with another operation's answer */
	unsigned busy;        /* so many RESOLVE are answered with EBUSY */
	unsigned change_at;   /* the SHARE of this number (from 1) finds another list: one path more, "/late" */
	const char *leads_to; /* what RESOLVE answers; NULL: EACCES */

	/* Seen. */
	unsigned asked_shares, asked_paths, pings;
	char refused[64]; /* the path of the last BIND_REFUSED */

	pthread_t thread;
	struct proto_channel channel;
	uint64_t generation;
};

/* On one end of a new socket pair, or on fd if that is one. Returns the other end; -1 for a given fd. */
int list_server_start(struct list_server *server, int fd);
/* Waits for the end of the connection. */
void list_server_end(struct list_server *server);
