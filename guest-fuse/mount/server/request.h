/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A request of the kernel's, from when it was read until it is answered, with the message that the server is sent for
 * it. It outlives the connection that it is sent over: when that breaks, the request, its message, and where the answer
 * goes are still here. Each thread that serves the kernel has one of these, for one request after the other.
 */
#pragma once

#include <linux/fuse.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "guest-fuse/mount/known/validity.h"
#include "protocol/messages.h"
#include "protocol/lock.h"

enum {
	REQUEST_DATA_AT = 4096, /* data of READ and of directories is received behind the kernel's fields */
	REQUEST_BUFFER_SIZE = REQUEST_DATA_AT + PROTO_DATA_MAX,
	REQUEST_CHANGED = 2,
};

struct connection;
struct uring_entry;

struct request {
	/* The serving thread's. */
	int device;                    /* where the answer goes: the descriptor that the request was read from */
	struct uring_entry *entry;     /* or, if not NULL, what the request came with by io_uring (kernel/uring.h) */
	struct connection *connection; /* that the server is asked over */
	uint8_t *buffer; /* REQUEST_BUFFER_SIZE bytes: the kernel's words, size of them; then data for the answer */
	size_t size;
	uint8_t *message;                  /* the fields of what the server is asked: PROTO_SMALL_MAX bytes */
	bool leased;                       /* the answer to the last message said so (PROTO_FRAME_LEASED) */
	uint64_t events;                   /* held_now() when the request came */
	bool anew;                         /* what the server is asked now carries PROTO_FRAME_ANEW */
	bool unsure;                       /* the server may have done what it was asked, and has not said so */
	uint64_t changed[REQUEST_CHANGED]; /* objects that were changed from here by it; 0: none */

	_Atomic uint64_t rpc;  /* id of the message that the server has not answered; 0: none */
	_Atomic int64_t since; /* clock_ns() when the request came */

	struct lock lock; /* guards what follows, which other threads look at */
	uint64_t unique;  /* the kernel's number for the request; 0: none is being served */
	pid_t pid;        /* the thread that waits for it; 0: one of another pid namespace, or none */
	bool interrupted; /* a signal arrived for that thread */
	bool answered;    /* the kernel has the answer already */
	bool given_up;    /* it was EINTR, and the server's answer came, or comes, afterwards */
};

/* 0 or -ENOMEM; request_done() accepts what is half made. */
int request_init(struct request *request, int device, struct connection *connection);
void request_done(struct request *request);

/* As the kernel sent it. */
static inline const struct fuse_in_header *request_header(const struct request *request)
{
	return (const void *) request->buffer;
}

/* What follows the header. */
static inline const void *request_argument(const struct request *request)
{
	return request->buffer + sizeof(struct fuse_in_header);
}

/* Where data for the answer is gathered: PROTO_DATA_MAX bytes. */
static inline uint8_t *request_data(const struct request *request)
{
	return request->buffer + REQUEST_DATA_AT;
}

/* When it came, clock_ns(); for the serving thread. */
static inline int64_t request_since(const struct request *request)
{
	return atomic_load_explicit(&request->since, memory_order_relaxed);
}

/* About the answer to the last message; for the serving thread. */
static inline struct answer request_told(const struct request *request)
{
	return (struct answer){ .since = request_since(request), .events = request->events, .leased = request->leased };
}

/* Begin and end of the work on what was read into the buffer. */
void request_begin(struct request *request);
/* False: the kernel does not know, or not for sure, what the server has done for it. */
bool request_end(struct request *request);
/* An object was changed by it. */
void request_changes(struct request *request, uint64_t node);
/* Any thread. True: nobody has answered this request yet, and the caller now does. */
bool request_answer(struct request *request, uint64_t unique);
/* The same when that is to be EINTR, for a process that does not live to see what the server answers. */
bool request_give_up(struct request *request, uint64_t unique);
/* Any thread: a signal arrived for whoever waits. True: it is this request. */
bool request_interrupt(struct request *request, uint64_t unique);
