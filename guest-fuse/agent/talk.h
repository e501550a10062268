/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What guestd and the file server say to each other on the connection of link.h: the list of shares, where paths lead,
 * and which were refused. Blocks; one thread's.
 */
#pragma once

#include "guest-fuse/agent/share-list.h"
#include "protocol/handshake.h"

struct talk {
	struct proto_channel channel;
	struct proto_changed_request current; /* the newest list that the server told of */
	bool outdated;                        /* it has not been read */
	uint64_t next_id;
};

/* FOLLOW on a connected socket, which it takes. 0, or a negative errno of proto_follow(); talk_end() after 0 only. */
int talk_begin(struct talk *talk, int fd, const struct proto_token *token, struct proto_refusal *ret_refusal);
void talk_end(struct talk *talk);

/* Bytes have come that talk_take_news() takes without waiting for more: poll(2) does not tell of them. */
bool talk_has_read(const struct talk *talk);
/* The server has something to say: CHANGED, and the list is stale. 0 or a negative errno. */
int talk_take_news(struct talk *talk);
/*
 * Reads the list until it holds still. 0 and the caller's list; -E2BIG: the server tells of more than are believed; or
 * a negative errno. The connection is of no use after an error.
 */
int talk_read_list(struct talk *talk, struct share_list *ret_list);
/* Where a path leads. 0; the server's positive errno (EBUSY: it has too much to do); or a negative errno, as above. */
int talk_resolve(struct talk *talk, const char *path, struct proto_resolve_reply *ret_reply);
/* 0 or a negative errno. */
int talk_tell_refused(struct talk *talk, const struct proto_bind_refused_request *request);
/* Asks for a sign of life. 0 or a negative errno. */
int talk_ping(struct talk *talk);

/* What an error of connecting or of talk_begin() means, for people. token_file: NULL for none. */
void talk_explain(int error, const struct proto_refusal *refusal, const char *token_file, char *text, size_t size);
