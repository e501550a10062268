/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The client's end of a lane: one connection to the server for each thread that serves the kernel. When it breaks, the
 * next request makes a new one.
 *
 * Locks, in this order: use is held by whoever sends or receives on the connection, which is its thread, or the keeper
 * when it finds the connection idle. state guards what other threads look at.
 */
#pragma once

#include <stdbool.h>

#include "protocol/channel.h"
#include "protocol/messages.h"
#include "protocol/lock.h"

enum {
	CONNECTION_SOCKET_BUFFER = 1024 * 1024, /* bytes that the system is asked to take at once */
	CONNECTION_STALL_MS = 10000,
};

struct server;

struct connection {
	struct server *server;

	struct lock use;
	struct proto_channel channel; /* when connected */
	uint32_t number;              /* the server's name for this lane */
	uint64_t next_id;
	int64_t held_since; /* clock_ns() of the first message that connection_hold() kept */
	int64_t retry_at;   /* clock_ns(): no attempt to connect before */

	struct lock state;
	bool connected;
};

/* Does not connect. */
void connection_init(struct connection *connection, struct server *server);
void connection_done(struct connection *connection);

/* Adds a lane to the session. 0 or a negative errno; with use held, or before other threads know the connection. */
int connection_attach(struct connection *connection);

/* Any thread. */
bool connection_is_up(struct connection *connection);
/* Any thread: the server's name for the lane. */
uint32_t connection_number(struct connection *connection);
/* Any thread: whoever waits for the server on this connection stops waiting. */
void connection_kill(struct connection *connection);

/* Connects again if need be. 0; or -EIO or the session's error. */
int connection_ready(struct connection *connection) LOCK_HELD(connection->use);
/* The connection broke with error during op. Returns the error that the operation gets. */
int connection_lost(struct connection *connection, enum proto_op op, int error) LOCK_HELD(connection->use);
/* Sends one message. */
int connection_send(struct connection *connection, enum proto_op op, uint16_t flags, const struct proto_writer *writer,
                    uint64_t *ret_id) LOCK_HELD(connection->use);
/* Keeps a message, which goes along with the next one or with connection_flush(). now: clock_ns(). */
int connection_hold(struct connection *connection, enum proto_op op, const struct proto_writer *writer, int64_t now)
        LOCK_HELD(connection->use);
/* Gives the connection up, until the next request makes a new one. */
void connection_disconnect(struct connection *connection) LOCK_HELD(connection->use);

/*
 * The connection's thread: sends what connection_hold() has kept for longer than age, in ns. age 0, which sends
 * everything, is for a thread that is about to sleep.
 */
void connection_flush(struct connection *connection, int64_t age);

/* The connection's thread: gives back what forgets.h gathered, if that is FORGETS_MANY or more. */
void connection_forget_many(struct connection *connection);
/* The same, however much that is. */
void connection_forget(struct connection *connection);
/* The keeper: gives it all back over this connection if it is idle and up. True: done. */
bool connection_try_forget(struct connection *connection);
