/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One mounted share in a worker: its lanes, its table of nodes, its end.
 *
 * Threads: the main one waits for the broker, one serves the event lane, one serves each data lane. A handler runs on
 * its lane's thread and may block there as long as the host does.
 */
#pragma once

#include <pthread.h>
#include <stdatomic.h>

#include "fileserver/common/handover.h"
#include "fileserver/worker/inodes.h"
#include "fileserver/worker/nodes.h"
#include "fileserver/worker/protect.h"
#include "fileserver/worker/space.h"
#include "fileserver/worker/sync.h"
#include "protocol/channel.h"
#include "protocol/log.h"

enum { SESSION_LANES_MAX = 64 };

struct lane {
	struct session *session;
	uint32_t number;
	struct proto_channel channel;
	uint64_t proof_id; /* of the PROOF that WELCOME answers */
	uint64_t id;       /* of the request that is worked on */
	bool anew;         /* it says PROTO_FRAME_ANEW */
	_Atomic uint64_t last;
	_Atomic uint32_t
	        busy; /* written before a request looks at the share's mode: session_make_read_only() relies on it */
	/*
	 * Memory for a reply's fields (PROTO_SMALL_MAX). A reply's data is built in the channel's buffer: the request
	 * has been decoded out of it, and nothing may follow a request before its reply.
	 */
	uint8_t *reply;
};

struct session {
	struct worker_config config;
	_Atomic bool read_only; /* once true it stays so */
	struct nodes *nodes;
	uid_t uid;
	bool sync_at_close; /* PROTO_WELCOME_SYNC_AT_CLOSE */
	struct protect protect;
	struct sync sync;
	_Atomic uint32_t nodes_limit, descriptors_limit; /* allotment.h */
	_Atomic int64_t wanted_at;
	void (*wants)(void); /* NULL: nobody gives more */
	struct proto_counters *counters;
	bool may_lift;              /* lift.h */
	pthread_mutex_t links_lock; /* links.h: who changes a directory's record of them */
	struct space space;
	struct inodes inodes;
	pthread_mutex_t lock; /* lanes, threads */
	pthread_cond_t thread_ended;
	unsigned threads;
	int end_fd; /* eventfd: readable once the session has ended */
	struct lane *lanes[SESSION_LANES_MAX + 1];
	struct proto_channel event;
	pthread_mutex_t event_lock; /* sending on the event lane */
	_Atomic unsigned working;   /* lanes that serve a request */
	_Atomic bool ended;
	_Atomic bool blamed; /* the guest broke the protocol, or left before it was welcomed */
};

/* Takes root and event on success. Serves nothing yet. 0 or a negative errno. */
int session_new(const struct worker_config *config, int root, int event, struct proto_counters *counters,
                struct session **ret_session);
/* Sends WELCOME on the event lane and serves it in a thread of its own. */
int session_start(struct session *session);
/* Takes fd: a new data lane with a thread of its own; at most lanes_max (the fd is told REFUSE and closed). */
int session_add_lane(struct session *session, int fd, uint64_t proof_id);
/* Ends the session: GOODBYE, then every lane. Any thread; the first call counts. */
void session_end(struct session *session, enum proto_goodbye code, const char *text);
/*
 * Ends the session and its threads. The guest closes after GOODBYE and has 2 s for it, since bytes sent just before a
 * close are lost on some transports. False: a thread is still blocked in the host, and ends with the process.
 */
bool session_stop(struct session *session);
/* After session_stop() returned true. Frees the nodes and closes the event lane. */
void session_free(struct session *session);

bool session_is_read_only(const struct session *session);
/*
 * Refuses every change from now on and waits until the requests that were let through before have ended. False: one
 * has not within timeout_ms, since the host blocks it.
 */
bool session_make_read_only(struct session *session, int timeout_ms);

/* One frame of a reply that comes in several: exactly PROTO_CHUNK bytes of data at the tail of what was encoded. */
int lane_send_part(struct lane *lane, enum proto_op op, const struct proto_writer *writer);
