/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table of mounted shares, a worker process each: starts them, passes lanes to them, stops them when their share
 * is taken away, reaps them. A worker that dies takes nobody with it. All in the loop's thread.
 */
#pragma once

#include "fileserver/broker/allowlist.h"
#include "fileserver/broker/crashes.h"
#include "fileserver/broker/events.h"
#include "fileserver/broker/identity.h"
#include "fileserver/broker/peers.h"
#include "fileserver/broker/process.h"
#include "fileserver/broker/steering.h"
#include "fileserver/broker/uptake.h"
#include "protocol/handshake.h"
#include "protocol/log.h"

enum { SUPERVISOR_WORKERS_MAX = 64, SUPERVISOR_STOP_MS = 3000 };

enum worker_state { WORKER_STATE_STARTING, WORKER_STATE_SERVING, WORKER_STATE_STOPPING };

struct worker {
	struct supervisor *supervisor;
	struct worker *prev, *next;
	struct process process;
	uv_poll_t poll;
	/* STARTING: when to give up; unsettled, STOPPING: when to kill. */
	uv_timer_t timer;
	unsigned handles; /* open ones of these three */
	int connection;   /* while STARTING, to refuse on when the worker fails; else -EBADF */
	uint64_t session;
	struct proto_token token;      /* that the client held at HELLO, and holds at each ATTACH */
	char *requested, *path, *peer; /* as the client asked, and canonical; who the client is */
	struct identity root;
	bool read_only, wants_read_only;
	bool crashed;
	bool blames;                    /* its guest, for how it ended */
	uint64_t peer_key, machine_key; /* peers.h */
	/* budget.h */
	uint32_t nodes_limit, descriptors_limit;
	bool wants_nodes, wants_descriptors;
	uint64_t lanes_sent;
	/* uptake.h: the newest ticket when it was started; to be asked, asked and answered last */
	uint64_t born, sync_wanted, sync_asked, synced;
	bool unsettled; /* was told to stop, or to refuse changes, and may still be at what it had begun */
	enum worker_state state;
	time_t since;
};

struct supervisor {
	uv_loop_t *loop;
	const char *executable;
	struct worker_config config; /* limits, of known files and descriptors those of all; the rest is filled in */
	unsigned workers_max;
	const struct allowlist *allowlist;
	const struct proto_token *token; /* the current one */
	struct events *events;           /* NULL: nobody is told */
	const struct steering *steering; /* NULL: nothing is protected */
	struct peers *peers;             /* NULL: nobody counts who misbehaves */
	/* Takes fd: tells the client no, after the worker of its HELLO failed. */
	void (*refuse)(void *context, int fd, enum proto_refuse code, const char *text);
	/* After supervisor_stop_all(): the last worker is gone. */
	void (*all_gone)(void *context);
	/* NULL, or: the last unsettled worker has settled or is gone. */
	void (*settled)(void *context);
	/* NULL, or: an uptake (uptake.h) may wait for one worker less. */
	void (*uptake_changed)(void *context);
	void *context;

	struct worker *workers; /* kept by supervisor.c */
	struct uptake *uptakes; /* kept by uptake.c */
	uint64_t tickets;       /* the last one */
	unsigned count, unsettled;
	bool stopping;
	struct crashes crashes;
	struct log_limit event_limit;  /* of events that a guest can cause without a mount */
	struct log_limit worker_limit; /* of workers that may log what a guest causes */
	uint64_t changes_refused;      /* of what the server is steered by; seconds in which there were some */
	struct proto_counters past;    /* sums over the workers that are gone */
};

/* The two that admission hands proven peers to; context is the supervisor. See admission.h. */
int supervisor_open(void *context, int fd, const struct proto_hello_request *hello, uint64_t id,
                    struct proto_refusal *ret_refusal);
int supervisor_attach(void *context, int fd, uint64_t session, uint64_t id, struct proto_refusal *ret_refusal);

/* The token of a session that is there, else the current one; for admission.h. */
const struct proto_token *supervisor_token(void *context, uint64_t session);

/*
 * The allowlist, or what is at a share's path, has changed. A worker whose share is not allowed any more, or whose
 * directory is not at its path any more, is stopped; one that was writable and may not be is told to refuse every
 * change. A worker never gains a right. When settled() is called the former have ended and the latter have said that
 * nothing is written any more: within WORKER_SETTLE_MS and the time that a kill takes. Returns how many have not
 * settled yet.
 */
unsigned supervisor_reconsider(struct supervisor *supervisor);

/* Ends every mount as if its share had been removed; see supervisor_reconsider(). */
unsigned supervisor_end_mounts(struct supervisor *supervisor, const char *why);

/* The list of what is protected has changed: every worker gets it. */
void supervisor_protect(struct supervisor *supervisor);

/* Every worker logs to fd from now on; fd stays the caller's. */
void supervisor_change_log(struct supervisor *supervisor, int fd);

/* Stops all, then calls all_gone(): at once when there is none, after SUPERVISOR_STOP_MS at the latest. */
void supervisor_stop_all(struct supervisor *supervisor);
