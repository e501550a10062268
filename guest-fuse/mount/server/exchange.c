/* SPDX-License-Identifier: Apache-2.0 */
/* One message to the server on behalf of a kernel's request, and the reply to it. */
#include "guest-fuse/mount/server/exchange.h"

#include <assert.h>
#include <errno.h>

#include "guest-fuse/mount/server/connection.h"
#include "guest-fuse/mount/server/request.h"
#include "guest-fuse/mount/server/server.h"
#include "guest-fuse/mount/server/stale.h"
#include "protocol/clock.h"
#include "protocol/lock.h"
#include "protocol/log.h"

enum {
	SOON_US = 100,     /* wait for a reply, before another thread is woken to read a request that waits, too */
	PATIENCE_US = 300, /* and before one is woken in any case, to wait for the kernel's requests */
	ERRNO_LIMIT = 512, /* the kernel accepts only smaller error numbers from a file system (fs/fuse/dev.c) */
};

int exchange_broken(struct request *request, enum proto_op op, const char *what)
{
	struct connection *connection = request->connection;

	request->unsure = true;
	log_peer_warning("the server's reply to %s makes no sense (%s)", proto_ops[op].name, what);
	lock_take(&connection->use);
	connection_disconnect(connection);
	lock_give(&connection->use);
	return -EIO;
}

/* The server can answer with any error; after some of them the kernel would never send such a request again. */
static int server_error(int32_t status)
{
	if (status == ENOSYS)
		return -EOPNOTSUPP;
	return status >= ERRNO_LIMIT || status == EINTR ? -EIO : -status;
}

/*
 * Called before this thread sleeps until the reply comes. To wake another thread for each request would cost more than
 * most replies take, so that this is done only after a while.
 */
static void await_reply(const struct request *request, bool into)
{
	struct connection *connection = request->connection;
	const struct server_threads *threads = &connection->server->threads;
	/* Requests of a ring are taken on its CPU, by a thread that waits there. */
	int rival = request->entry == NULL ? request->device : -EBADF;

	if (!threads->are_reading(threads->data)) {
		unsigned others = threads->others(threads->data);

		if (proto_channel_await(&connection->channel, into, others, SOON_US, -EBADF) ||
		    proto_channel_await(&connection->channel, into, others + 1, PATIENCE_US - SOON_US, rival))
			return;
		threads->grow(threads->data);
	}
	server_stir(connection->server);
}

static int receive(struct connection *connection, enum proto_op op, uint64_t id, struct proto_header *ret_header,
                   struct proto_reader *ret_reader) LOCK_HELD(connection->use);
/* The reply's header, checked against the request. */
static int receive(struct connection *connection, enum proto_op op, uint64_t id, struct proto_header *ret_header,
                   struct proto_reader *ret_reader)
{
	int r;

	do
		r = proto_channel_next(&connection->channel, ret_header, ret_reader);
	while (r == -EAGAIN && atomic_load(&connection->server->dead) == 0);
	if (r < 0)
		return r;
	return ret_header->op != op || ret_header->id != id ||
	                       (ret_header->flags & ~PROTO_FRAME_LEASED) != PROTO_FRAME_REPLY
	               ? -EBADMSG
	               : 0;
}

static int nothing_left(const struct connection *connection) LOCK_HELD(connection->use);
/* No bytes may follow a reply: one request is under way at a time. */
static int nothing_left(const struct connection *connection)
{
	return connection->channel.start != connection->channel.end ? -EBADMSG : 0;
}

static int begin(struct connection *connection, struct request *request, enum proto_op op,
                 const struct proto_writer *writer, uint64_t *ret_id) LOCK_HELD(connection->use);
/* What both forms of an exchange begin and end with. */
static int begin(struct connection *connection, struct request *request, enum proto_op op,
                 const struct proto_writer *writer, uint64_t *ret_id)
{
	int r = connection_ready(connection);

	if (r < 0)
		return r;
	atomic_store(&request->rpc, connection->next_id + 1);
	/* The server may be slow to take so much, and other requests must not wait for that. */
	if (writer->tail_length > CONNECTION_SOCKET_BUFFER / 4)
		server_grow(connection->server);
	r = connection_send(connection, op, request->anew ? PROTO_FRAME_ANEW : 0, writer, ret_id);
	if (r < 0) {
		atomic_store(&request->rpc, 0);
		request->unsure = true;
		r = connection_lost(connection, op, r);
	}
	return r;
}

static int end(struct connection *connection, struct request *request, enum proto_op op, int result, int32_t status)
        LOCK_HELD(connection->use);
static int end(struct connection *connection, struct request *request, enum proto_op op, int result, int32_t status)
{
	atomic_store(&request->rpc, 0);
	if (result == 0)
		result = nothing_left(connection);
	if (result < 0) {
		request->unsure = true;
		return connection_lost(connection, op, result);
	}
	return status == 0 ? 0 : server_error(status);
}

static int exchange(struct request *request, enum proto_op op, const struct proto_writer *writer,
                    struct proto_reader *ret_reader)
{
	struct connection *connection = request->connection;
	int64_t started = clock_ns();
	struct proto_header header;
	uint64_t id;
	int r;

	request->leased = false;
	lock_take(&connection->use);
	r = begin(connection, request, op, writer, &id);
	if (r == 0) {
		await_reply(request, true);
		r = receive(connection, op, id, &header, ret_reader);
		request->leased = r == 0 && (header.flags & PROTO_FRAME_LEASED) != 0;
		r = end(connection, request, op, r, r < 0 ? 0 : header.status);
	}
	lock_give(&connection->use);
	server_count(connection->server, op, r, started, writer->tail_length);
	return r;
}

/* The object itself is meant, and the kernel will not ask again (stale.h). */
static int again(struct request *request, enum proto_op op, const struct proto_writer *writer,
                 struct proto_reader *ret_reader)
{
	int r;

	request->anew = true;
	r = exchange(request, op, writer, ret_reader);
	request->anew = false;
	return r;
}

int exchange_fields(struct request *request, enum proto_op op, const struct proto_writer *writer,
                    struct proto_reader *ret_reader)
{
	struct stale *stale = request->connection->server->stale;
	int r = exchange(request, op, writer, ret_reader);

	/* WRITE goes to a handle, and is not about a name. */
	if (r != -ESTALE || writer->tail_length > 0)
		return r;
	if (proto_ops[op].changes == PROTO_CHANGES_NO)
		stale_note(stale, request_header(request));
	else if (!stale_tell(stale, request_header(request)) && !request->anew)
		return again(request, op, writer, ret_reader);
	return r;
}

int exchange_data(struct request *request, enum proto_op op, const struct proto_writer *writer, void *fixed,
                  size_t fixed_size, size_t size, size_t *ret_length)
{
	struct connection *connection = request->connection;
	int64_t started = clock_ns();
	struct proto_header header;
	uint64_t id;
	int r;

	assert(size <= PROTO_DATA_MAX);
	*ret_length = 0;
	request->leased = false;
	lock_take(&connection->use);
	r = begin(connection, request, op, writer, &id);
	if (r == 0) {
		await_reply(request, false);
		r = proto_channel_receive_data(&connection->channel, op, id, fixed, fixed_size, request_data(request),
		                               size, ret_length, &header);
		request->leased = r == 0 && (header.flags & PROTO_FRAME_LEASED) != 0;
		r = end(connection, request, op, r, r < 0 ? 0 : header.status);
	}
	lock_give(&connection->use);
	server_count(connection->server, op, r, started, *ret_length);
	return r;
}

int exchange_send(struct request *request, enum proto_op op, const struct proto_writer *writer)
{
	struct connection *connection = request->connection;
	int64_t started = clock_ns();
	int r;

	lock_take(&connection->use);
	r = connection_ready(connection);
	if (r == 0) {
		r = connection_hold(connection, op, writer, started);
		if (r < 0)
			r = connection_lost(connection, op, r);
	}
	lock_give(&connection->use);
	server_count(connection->server, op, r, started, 0);
	return r;
}
