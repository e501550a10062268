/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One lane: a thread, a clone of /dev/fuse and a connection to the server. The thread reads a request of the kernel's
 * from its own descriptor, asks the server over its own connection, and answers on that same descriptor.
 *
 * Locks: use before state. use is held by whoever sends or receives on the connection: the lane's thread, or the keeper
 * when it finds the lane idle. state guards what other threads look at.
 */
#pragma once

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/types.h>

#include "protocol/channel.h"
#include "protocol/messages.h"

enum {
	LANE_DATA_AT = 4096, /* data of READ and of directories is received behind the request's fields */
	LANE_BUFFER_SIZE = LANE_DATA_AT + PROTO_DATA_MAX,
	LANE_STALL_MS = 10000,
};

struct client;
struct fuse_in_header;

struct lane {
	struct client *client;
	int device;             /* O_NONBLOCK */
	struct proto_spin spin; /* for the kernel's requests */
	uint8_t *buffer; /* LANE_BUFFER_SIZE bytes: the kernel's request, of request_size bytes; then data for the reply
	                  */
	size_t request_size;

	pthread_mutex_t use;
	struct proto_channel channel; /* when connected */
	uint8_t *out;                 /* the fields of the request to the server: PROTO_SMALL_MAX bytes */
	uint32_t number;              /* the server's name for this lane */
	uint64_t next_id;
	int64_t held_since; /* clock_ns() of the first message that lane_send() kept */
	int64_t retry_at;   /* clock_ns(): no attempt to connect before */

	pthread_mutex_t state;
	bool connected;
	uint64_t unique; /* the kernel's request that is being served; 0: none */
	uint32_t opcode;
	pid_t pid;             /* the thread that waits for it; 0: one of another pid namespace, or none */
	bool interrupted;      /* a signal arrived for that thread */
	bool answered;         /* the kernel has the answer already */
	bool anew;             /* the lane's thread: what the server is asked now carries PROTO_FRAME_ANEW */
	_Atomic uint64_t rpc;  /* id of the request that the server has not answered; 0: none */
	_Atomic int64_t since; /* clock_ns() when the kernel's request came */
};

/* 0 or a negative errno. The lane is not connected yet. */
int lane_new(struct client *client, struct lane **ret_lane);
void lane_free(struct lane *lane);

/* Connects the lane to its session. 0 or a negative errno; with use held, or before other threads know the lane. */
int lane_attach(struct lane *lane);
/* Any thread: the server's name for the lane. */
uint32_t lane_number(struct lane *lane);
/* Any thread: whoever waits for the server on this lane stops waiting. */
void lane_kill(struct lane *lane);

/* The calling thread's lane, or NULL: a thread that serves no requests. */
struct lane *lane_current(void);
void lane_set_current(struct lane *lane);

/* The request that the lane's thread works on, as the kernel sent it. */
const struct fuse_in_header *lane_request(const struct lane *lane);
/* What follows the header. */
const void *lane_argument(const struct lane *lane);

/* For how many seconds the kernel may keep what the server says in answer to this request (client_keep()). */
double lane_keep(const struct lane *lane);

/* Begin and end of the work on a request. */
void lane_begin(struct lane *lane);
void lane_end(struct lane *lane);
/* True: nobody has answered this request yet, and the caller now does. */
bool lane_answer(struct lane *lane, uint64_t unique);

/*
 * The lane's thread: one request to the server and its reply. writer: the request's fields, or NULL. 0 and the reply's
 * payload, valid until the next call; the server's error; or -EIO or the session's error when the connection broke.
 */
int lane_exchange(struct lane *lane, enum proto_op op, const struct proto_writer *writer,
                  struct proto_reader *ret_reader);
/*
 * The same for replies that end in data: fixed as proto_channel_receive_data() has it; the data, at most size bytes,
 * lies at lane->buffer + LANE_DATA_AT.
 */
int lane_exchange_data(struct lane *lane, enum proto_op op, const struct proto_writer *writer, void *fixed,
                       size_t fixed_size, size_t size, size_t *ret_length);
/* A request that has no reply: it goes with the next one, or with lane_flush(). */
int lane_send(struct lane *lane, enum proto_op op, const struct proto_writer *writer);

/* The lane's thread: what lane_send() kept for longer than age, in ns, goes to the server. 0: before the thread sleeps.
 */
void lane_flush(struct lane *lane, int64_t age);

/* What the server answered makes no sense: the connection is of no use any more. Returns -EIO. */
int lane_broken(struct lane *lane, enum proto_op op, const char *what);

/* The lane's thread gives back what forgets gathered, when it is many. */
void lane_forget_many(struct lane *lane);
/* The keeper: gives everything back over this lane if it is idle and connected. True: done. */
bool lane_try_forget(struct lane *lane);
