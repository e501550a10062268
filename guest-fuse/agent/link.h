/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The connection to the file server on which the guest learns what is shared. A thread of its own speaks with the
 * server and blocks; what it learns is taken in the loop's thread. When the connection breaks it connects again, with
 * back-off, for as long as the process lives.
 */
#pragma once

#include <pthread.h>
#include <uv.h>

#include "guest-fuse/agent/share-list.h"
#include "guest-fuse/binds/config.h"
#include "protocol/handshake.h"

enum link_state { LINK_CONNECTING, LINK_CONNECTED, LINK_REFUSED };
enum { LINK_ERROR_SIZE = PROTO_TEXT_MAX + 256 };

struct link_status {
	enum link_state state;
	time_t since;
	char error[LINK_ERROR_SIZE]; /* of the last attempt, "" when connected */
};

struct link_question; /* both of link.c */
struct link_refusal;

struct link {
	const struct guest_config *config;
	struct proto_token token;
	/* In the loop's thread: there is another list, or another status. */
	void (*changed)(void *context);
	void *context;

	uv_async_t async; /* kept by link.c from here on */
	pthread_t thread;
	pthread_mutex_t lock;
	int wake;
	bool stopping, has_list;
	struct share_list list;
	struct link_status status;
	struct link_question *questions, *answers;
	struct link_refusal *refusals;
	unsigned refusal_count;
};

/* Starts the thread. 0 or a negative errno. */
int link_start(struct link *link, uv_loop_t *loop);
/* Ends the thread and closes its handle; every open question is answered before. */
void link_stop(struct link *link);

/* True: a list that was not taken before, the caller's. */
bool link_take(struct link *link, struct share_list *ret_list);
void link_get_status(struct link *link, struct link_status *ret_status);

/*
 * Asks the server where a path leads. answered() comes in the loop's thread: path is "" when it leads into nothing that
 * is shared, and NULL when the server could not be asked. 0 or -ENOMEM.
 */
int link_resolve(struct link *link, const char *path, void (*answered)(void *context, const char *path), void *context);

/*
 * Tells the server that a container was refused a path, PROTO_BIND_* why: its user may want to share it. Nobody is told
 * when there is no connection, or when many wait to be told.
 */
void link_tell_refused(struct link *link, const char *path, uint32_t reason);
