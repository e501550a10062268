/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table of mounted shares, a worker process each: starts them, passes lanes to them, stops them when their share
 * is taken away, reaps them. A worker that dies takes nobody with it. All in the loop's thread.
 */
#pragma once

#include "fileserver/broker/allowlist.h"
#include "fileserver/broker/crashes.h"
#include "fileserver/broker/process.h"
#include "protocol/handshake.h"

enum { SUPERVISOR_WORKERS_MAX = 64, SUPERVISOR_STOP_MS = 3000 };

enum worker_state { WORKER_STATE_STARTING, WORKER_STATE_SERVING, WORKER_STATE_STOPPING };

struct worker {
	struct supervisor *supervisor;
	struct worker *prev, *next;
	struct process process;
	uv_poll_t poll;
	uv_timer_t timer; /* while STOPPING: when to kill; while STARTING: when to give up */
	unsigned handles; /* open ones of these three */
	int connection;   /* while STARTING, to refuse on when the worker fails; else -EBADF */
	uint64_t session;
	char *requested, *path; /* as the client asked, and canonical */
	bool read_only, wants_read_only;
	bool crashed;
	enum worker_state state;
	time_t since;
};

struct supervisor {
	uv_loop_t *loop;
	const char *executable;
	struct worker_config config; /* limits; what differs from share to share is filled in */
	unsigned workers_max;
	const struct allowlist *allowlist;
	/* Takes fd: tells the client no, after the worker of its HELLO failed. */
	void (*refuse)(void *context, int fd, enum proto_refuse code, const char *text);
	/* After supervisor_stop_all(): the last worker is gone. */
	void (*all_gone)(void *context);
	void *context;

	struct worker *workers; /* kept by supervisor.c */
	unsigned count;
	bool stopping;
	struct crashes crashes;
	struct proto_counters past; /* sums over the workers that are gone */
};

/* The two that admission hands proven peers to; context is the supervisor. See admission.h. */
int supervisor_open(void *context, int fd, const struct proto_hello_request *hello, uint64_t id,
                    struct proto_refusal *ret_refusal);
int supervisor_attach(void *context, int fd, uint64_t session, uint64_t id, struct proto_refusal *ret_refusal);

/* The allowlist has changed: stops the workers whose share is no longer allowed, or no longer for writing. */
void supervisor_reconsider(struct supervisor *supervisor);

/* Stops all, then calls all_gone(): at once when there is none, after SUPERVISOR_STOP_MS at the latest. */
void supervisor_stop_all(struct supervisor *supervisor);
