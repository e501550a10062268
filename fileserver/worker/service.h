/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Serves a session: its threads, its lanes, its end.
 *
 * The main thread waits for the broker's messages, one thread serves the event lane (events.h), one each data lane
 * (lanes.h). A handler runs on its lane's thread and may block there as long as the host does.
 */
#pragma once

#include "fileserver/worker/session/session.h"
#include "protocol/channel.h"
#include "protocol/lock.h"

enum { SERVICE_LANES_MAX = 64 };

struct service;

/* A data lane; lanes.c serves it. */
struct lane {
	struct service *service;
	uint32_t number;
	struct proto_channel channel;
	uint64_t proof_id;     /* id of the PROOF that WELCOME answers */
	_Atomic uint64_t last; /* id of the request that was received last */
	/*
	 * 1 while a request is served. Set before the request looks at the share's mode: lanes_make_read_only() relies
	 * on it.
	 */
	_Atomic uint32_t busy;
	uint8_t *fields; /* memory for a reply's fields, PROTO_SMALL_MAX */
};

struct service {
	struct session session;
	struct proto_channel event; /* the event lane */
	struct lock event_lock;     /* guards sending on it */
	int end_fd;                 /* eventfd: readable once the session has ended */
	/*
	 * After service_sync(): the guest has taken in every change made before it was called with this ticket or an
	 * earlier one, but for what it may keep so many ms more without a lease. NULL: there is no broker.
	 */
	void (*synced)(uint64_t ticket, uint32_t kept_ms);
	_Atomic bool ended;
	_Atomic bool blamed; /* the guest broke the protocol, or left before WELCOME */
	struct lock lock;
	pthread_cond_t thread_ended;
	/* The lock guards these two. */
	unsigned threads;
	struct lane *lanes[SERVICE_LANES_MAX + 1]; /* by number, from 1 */
	_Atomic unsigned working;                  /* lanes that serve a request */
};

/* Makes a service that serves nothing yet. Takes over root and event on success. Returns 0 or a negative errno. */
int service_new(const struct worker_config *config, int root, int event, struct proto_counters *counters,
                struct service **ret_service);
/* Frees a service whose threads have ended or were never started, with its event lane. NULL is allowed. */
void service_free(struct service *service);

/* Starts a thread, which must call service_thread_ended() last. Returns 0 or a negative errno. */
int service_run(struct service *service, void *(*run)(void *), void *argument) LOCK_HELD(service->lock);
void service_thread_ended(struct service *service);

/* Sends WELCOME on the lane of this number (0: the event lane). */
int service_welcome(struct service *service, struct proto_channel *channel, uint64_t proof_id, uint32_t number);
/* Sends a frame on the event lane. Any thread may call it. */
int service_send_event(struct service *service, struct proto_header *header, const struct proto_writer *writer);

/* Sees to it that synced() is called, unless the session ends before. Tickets grow, from 1. Any thread. */
void service_sync(struct service *service, uint64_t ticket);

/* Ends the session: sends GOODBYE, kills every lane. Any thread may call it; the first call's code and text count. */
void service_end(struct service *service, enum proto_goodbye code, const char *text);
/* Ends the session because the guest broke the protocol. */
void service_broken(struct service *service, const char *what);
/*
 * Ends the session and waits for its threads. After GOODBYE the guest has 2 s to close, since bytes sent just before a
 * close are lost on some transports. Returns false when a thread is still blocked in the host; it ends with the
 * process.
 */
bool service_stop(struct service *service);
