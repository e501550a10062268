/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the broker and a worker agree on: the worker is a fresh exec of "bindshare-fileserver --worker" with exactly
 * stdin, stdout (/dev/null), stderr and the descriptors below.
 */
#pragma once

#include "protocol/counters.h"

enum {
	WORKER_FD_CONNECTION = 3, /* event lane: the guest's connection, HELLO to PROOF done, WELCOME not yet sent */
	WORKER_FD_ROOT = 4,       /* O_PATH|O_DIRECTORY: the directory that is mounted */
	WORKER_FD_BROKER = 5,     /* AF_UNIX SOCK_SEQPACKET pair: struct worker_message, whole in each packet */
	WORKER_FD_COUNTERS = 6,   /* memfd of struct proto_counters, sealed against shrinking and growing */
};

struct worker_config {
	uint64_t session;  /* random, never 0 */
	uint64_t proof_id; /* id of the PROOF request that WELCOME answers */
	uint32_t flags;    /* PROTO_HELLO_*: READ_ONLY as the broker decided it, not as the guest asked */
	uint32_t view_uid, view_gid;
	uint64_t features;        /* PROTO_FEATURE_*: those of the client that the server knows */
	uint32_t lanes_max;       /* data lanes, 1 to 64 */
	uint32_t heartbeat_ms;    /* the session ends after three of these without a PING */
	uint32_t nodes_max;       /* this and the next may change: WORKER_LIMITS */
	uint32_t descriptors_max; /* live descriptors: nodes and handles together */
	uint32_t stall_ms;        /* a frame that has begun must go on within this */
	uint64_t disk_reserve;    /* writes are refused when less is free, in bytes; and below 2 % */
	uint32_t log_level, log_format;
};

enum worker_message_type {
	WORKER_CONFIG = 1, /* broker to worker, first packet */
	WORKER_LANE,       /* broker to worker, with one descriptor: an attached connection, WELCOME not yet sent */
	WORKER_STOP,       /* broker to worker: say GOODBYE and exit */
	WORKER_READ_ONLY,  /* broker to worker: refuse every change from now on */
	WORKER_LOG,        /* broker to worker, with one descriptor: the log's new file */
	WORKER_PROTECT,    /* broker to worker, second packet and later, with one descriptor: see protect-list.h */
	WORKER_LIMITS,     /* broker to worker: its part of the budget from now on */
	WORKER_READY,      /* worker to broker: locked down, WELCOME goes out */
	WORKER_BLAMES,     /* worker to broker: the session ends by the guest's fault */
	WORKER_FAILED,     /* worker to broker: cannot serve; text says why; exits */
	WORKER_SETTLED,    /* worker to broker: after READ_ONLY: what was begun before has ended */
	WORKER_WANTS,      /* worker to broker: little of its part is left */
	WORKER_REFUSED,    /* worker to broker: the guest tried to change what the server is steered by */
};

struct worker_message {
	uint32_t type;    /* enum worker_message_type */
	uint32_t goodbye; /* STOP: enum proto_goodbye */
	union {
		struct worker_config config;
		uint64_t proof_id; /* LANE: id of the PROOF request that WELCOME answers */
		uint32_t subject;  /* REFUSED: of protect-list.h */
		struct {
			uint32_t nodes_max, descriptors_max;
		} limits;       /* LIMITS */
		char text[512]; /* FAILED, STOP */
	};
};

/* How long a worker may take to end when its share is taken away, or to settle; then the broker kills it. */
enum { WORKER_SETTLE_MS = 500 };
