/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the broker hands over to a worker, and the messages between them. A worker is a fresh exec of
 * "bindshare-fileserver --worker" with exactly stdin, stdout (/dev/null), stderr and the descriptors below.
 */
#pragma once

#include "protocol/counters.h"

enum {
	WORKER_FD_CONNECTION = 3, /* event lane: the guest's connection, after PROOF, before WELCOME */
	WORKER_FD_ROOT = 4,       /* O_PATH|O_DIRECTORY: the mounted directory */
	WORKER_FD_BROKER = 5,     /* AF_UNIX SOCK_SEQPACKET pair: one whole struct worker_message in each packet */
	WORKER_FD_COUNTERS = 6,   /* memfd with a struct proto_counters, sealed against shrinking and growing */
};

struct worker_config {
	uint64_t session;  /* random, never 0 */
	uint64_t proof_id; /* id of the PROOF request that WELCOME answers */
	uint32_t flags;    /* PROTO_HELLO_*; READ_ONLY as the broker decided it, not as the guest asked for it */
	uint32_t view_uid, view_gid;
	uint64_t features;        /* PROTO_FEATURE_* that client and server both know */
	uint32_t lanes_max;       /* data lanes, 1 to 64 */
	uint32_t heartbeat_ms;    /* the session ends after three of these without PING */
	uint32_t nodes_max;       /* limits; WORKER_LIMITS may change this and the next */
	uint32_t descriptors_max; /* open descriptors of nodes and handles together */
	uint32_t watches_max;     /* directories and files that are watched; 0: a quarter of what the user may have */
	uint32_t stall_ms;        /* longest pause within a frame */
	uint64_t disk_reserve;    /* bytes; writes that would leave less (or less than 2 %) free are refused */
	uint32_t log_level, log_format;
};

enum worker_message_type {
	WORKER_CONFIG = 1, /* broker to worker, first packet */
	WORKER_LANE,       /* broker to worker, with one descriptor: a lane's connection, after PROOF, before WELCOME */
	WORKER_STOP,       /* broker to worker: send GOODBYE and exit */
	WORKER_READ_ONLY,  /* broker to worker: refuse every change from now on */
	WORKER_LOG,        /* broker to worker, with one descriptor: the new log file */
	WORKER_PROTECT,    /* broker to worker, second packet and later, with one descriptor: see protect-list.h */
	WORKER_LIMITS,     /* broker to worker: the mount's part of the budget from now on */
	WORKER_SYNC,       /* broker to worker: say when the guest has taken in every change made before */
	WORKER_READY,      /* worker to broker: the sandbox is entered, WELCOME is sent next */
	WORKER_BLAMES,     /* worker to broker: the session ends because the guest broke the protocol */
	WORKER_FAILED,     /* worker to broker: cannot serve; text says why; exits */
	WORKER_SETTLED,    /* worker to broker: after READ_ONLY: every earlier request has ended */
	WORKER_WANTS,      /* worker to broker: most of its part of the budget is used */
	WORKER_REFUSED,    /* worker to broker: the guest tried to change something on the protect list */
	WORKER_SYNCED,     /* worker to broker: after SYNC: it has, but for what it may keep without a lease */
};

struct worker_message {
	uint32_t type;    /* enum worker_message_type */
	uint32_t goodbye; /* STOP: enum proto_goodbye */
	union {
		struct worker_config config;
		uint64_t proof_id; /* LANE: id of the PROOF request that WELCOME answers */
		uint32_t subject;  /* REFUSED: subject of the entry (protect-list.h) */
		struct {
			uint64_t ticket;  /* grows */
			uint32_t kept_ms; /* SYNCED: for so long, PROTO_KEEP_MS at most */
		} sync;                   /* SYNC, SYNCED */
		struct {
			uint32_t nodes_max, descriptors_max;
		} limits;       /* LIMITS */
		char text[512]; /* FAILED, STOP */
	};
};

/* How long, in ms, a worker may take to exit or to settle when its share is removed; then the broker kills it. */
enum { WORKER_SETTLE_MS = 500 };
