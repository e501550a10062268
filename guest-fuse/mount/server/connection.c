/* SPDX-License-Identifier: Apache-2.0 */
/* The client's end of a lane. */
#include "guest-fuse/mount/server/connection.h"

#include <assert.h>
#include <errno.h>
#include <linux/vm_sockets.h>
#include <string.h>
#include <sys/socket.h>

#include "guest-fuse/mount/mount-options.h"
#include "guest-fuse/mount/server/forgets.h"
#include "guest-fuse/mount/server/server.h"
#include "protocol/cleanup.h"
#include "protocol/clock.h"
#include "protocol/lock.h"
#include "protocol/log.h"

enum { RETRY_NS = 1000000000 };

void connection_init(struct connection *connection, struct server *server)
{
	*connection = (struct connection){ .server = server, .channel.fd = -EBADF };
	lock_init(&connection->use);
	lock_init(&connection->state);
}

void connection_done(struct connection *connection)
{
	proto_channel_done(&connection->channel);
	lock_done(&connection->use);
	lock_done(&connection->state);
}

/* Room for a whole request or reply, as far as the system allows. */
static void enlarge_buffers(const struct proto_address *address, int fd)
{
	uint64_t vsock = CONNECTION_SOCKET_BUFFER;
	int size = CONNECTION_SOCKET_BUFFER;

	if (address->kind == PROTO_ADDRESS_VSOCK) {
		(void) setsockopt(fd, AF_VSOCK, SO_VM_SOCKETS_BUFFER_MAX_SIZE, &vsock, sizeof(vsock));
		(void) setsockopt(fd, AF_VSOCK, SO_VM_SOCKETS_BUFFER_SIZE, &vsock, sizeof(vsock));
	} else if (setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof(size)) < 0) {
		(void) setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	}
}

int connection_attach(struct connection *connection)
{
	struct server *server = connection->server;
	struct proto_proof_reply welcome;
	struct proto_refusal refusal;
	struct proto_channel channel;
	int fd = proto_address_connect(&server->options->address, PROTO_HANDSHAKE_MS), r;

	if (fd < 0)
		return fd;
	enlarge_buffers(&server->options->address, fd);
	r = proto_channel_init(&channel, fd, PROTO_SMALL_MAX + PROTO_HEADER_SIZE, CONNECTION_STALL_MS);
	if (r < 0) {
		close_fd(fd);
		return r;
	}
	r = proto_attach(&channel, server->token, server->welcome.session, &welcome, &refusal);
	if (r == 0 && (welcome.lane == 0 || welcome.session != server->welcome.session || channel.start != channel.end))
		r = -EPROTO;
	if (r < 0) {
		if (r == -EACCES)
			log_debug("the server refuses a lane: %s", refusal.text);
		proto_channel_done(&channel);
		return r;
	}
	lock_take(&connection->state);
	connection->channel = channel;
	connection->number = welcome.lane;
	connection->connected = true;
	/* If the session ended meanwhile, this connection was not seen and not broken. */
	if (atomic_load(&server->dead) != 0)
		proto_channel_kill(&connection->channel);
	lock_give(&connection->state);
	return 0;
}

bool connection_is_up(struct connection *connection)
{
	bool connected;

	lock_take(&connection->state);
	connected = connection->connected;
	lock_give(&connection->state);
	return connected;
}

void connection_kill(struct connection *connection)
{
	lock_take(&connection->state);
	if (connection->connected)
		proto_channel_kill(&connection->channel);
	lock_give(&connection->state);
}

uint32_t connection_number(struct connection *connection)
{
	uint32_t number;

	lock_take(&connection->state);
	number = connection->number;
	lock_give(&connection->state);
	return number;
}

void connection_disconnect(struct connection *connection)
{
	lock_take(&connection->state);
	if (connection->connected)
		proto_channel_done(&connection->channel);
	connection->connected = false;
	lock_give(&connection->state);
}

int connection_ready(struct connection *connection)
{
	int r, dead = atomic_load(&connection->server->dead);

	if (dead != 0)
		return -dead;
	if (connection->connected)
		return 0;
	if (clock_ns() < connection->retry_at)
		return -EIO;
	server_grow(connection->server);
	r = connection_attach(connection);
	if (r == 0)
		return 0;
	connection->retry_at = clock_ns() + RETRY_NS;
	log_peer_warning("cannot connect a lane to the server again: %s", strerror(-r));
	return -EIO;
}

int connection_lost(struct connection *connection, enum proto_op op, int error)
{
	int dead;

	connection_disconnect(connection);
	dead = atomic_load(&connection->server->dead);
	if (dead != 0)
		return -dead;
	log_peer_warning("lane %u broke during %s: %s", connection->number, proto_ops[op].name, strerror(-error));
	return -EIO;
}

int connection_send(struct connection *connection, enum proto_op op, uint16_t flags, const struct proto_writer *writer,
                    uint64_t *ret_id)
{
	struct proto_header header = { .op = (uint16_t) op, .flags = flags, .id = ++connection->next_id };

	*ret_id = header.id;
	return proto_channel_send(&connection->channel, &header, writer);
}

int connection_hold(struct connection *connection, enum proto_op op, const struct proto_writer *writer, int64_t now)
{
	struct proto_header header = { .op = (uint16_t) op, .id = ++connection->next_id };

	if (connection->channel.held == 0)
		connection->held_since = now;
	return proto_channel_hold(&connection->channel, &header, writer);
}

static int send_counted(struct connection *connection, enum proto_op op, const struct proto_writer *writer)
        LOCK_HELD(connection->use);
static int send_counted(struct connection *connection, enum proto_op op, const struct proto_writer *writer)
{
	uint64_t id;
	int r = connection_send(connection, op, 0, writer, &id);

	server_count(connection->server, op, r, clock_ns(), (size_t) (writer->next - writer->start));
	return r;
}

static int send_release(struct connection *connection, uint64_t handle) LOCK_HELD(connection->use);
static int send_release(struct connection *connection, uint64_t handle)
{
	struct proto_release_request request = { .handle = handle };
	struct proto_writer writer;
	uint8_t memory[16];
	int r;

	proto_writer_init(&writer, memory, sizeof(memory));
	r = proto_encode_release_request(&writer, &request);
	assert(r == 0);
	return send_counted(connection, PROTO_RELEASE, &writer);
}

static int send_forget(struct connection *connection, struct proto_writer *list, uint32_t count)
        LOCK_HELD(connection->use);
static int send_forget(struct connection *connection, struct proto_writer *list, uint32_t count)
{
	struct proto_forget_request request = { .forgets = { .count = count, .bytes = list->start } };
	uint8_t memory[FORGETS_MANY * 2 * sizeof(struct forgets_pair) + 16];
	struct proto_writer writer;
	int r;

	proto_writer_init(&writer, memory, sizeof(memory));
	r = proto_encode_forget_request(&writer, &request);
	assert(r == 0);
	return send_counted(connection, PROTO_FORGET, &writer);
}

static int send_forgets(struct connection *connection) LOCK_HELD(connection->use);
/* Sends all that forgets.h gathered, in as many messages as it takes. */
static int send_forgets(struct connection *connection)
{
	struct forgets_pair pairs[FORGETS_MANY * 2];
	uint8_t bytes[sizeof(pairs)];
	size_t n;
	int r = 0;

	while (r == 0 && (n = forgets_take(connection->server->forgets, pairs, ARRAY_SIZE(pairs))) > 0) {
		struct proto_writer list;
		uint32_t count = 0;

		proto_writer_init(&list, bytes, sizeof(bytes));
		for (size_t i = 0; r == 0 && i < n; i++) {
			if (pairs[i].references == 0) {
				r = send_release(connection, pairs[i].node);
				continue;
			}
			proto_put_u64(&list, &pairs[i].node);
			proto_put_u64(&list, &pairs[i].references);
			count++;
		}
		if (r == 0 && count > 0)
			r = send_forget(connection, &list, count);
	}
	return r;
}

void connection_forget_many(struct connection *connection)
{
	if (forgets_count(connection->server->forgets) >= FORGETS_MANY)
		connection_forget(connection);
}

void connection_forget(struct connection *connection)
{
	int r;

	lock_take(&connection->use);
	r = connection_ready(connection);
	if (r == 0)
		r = send_forgets(connection);
	if (r < 0)
		(void) connection_lost(connection, PROTO_FORGET, r);
	lock_give(&connection->use);
}

bool connection_try_forget(struct connection *connection)
{
	bool done;

	if (!lock_try(&connection->use))
		return false;
	done = connection->connected && atomic_load(&connection->server->dead) == 0 && send_forgets(connection) == 0;
	lock_give(&connection->use);
	return done;
}

void connection_flush(struct connection *connection, int64_t age)
{
	int r = 0;

	lock_take(&connection->use);
	if (connection->connected && connection->channel.held > 0 &&
	    (age == 0 || clock_ns() - connection->held_since > age))
		r = proto_channel_flush(&connection->channel);
	if (r < 0)
		(void) connection_lost(connection, PROTO_RELEASE, r);
	lock_give(&connection->use);
}
