/* SPDX-License-Identifier: Apache-2.0 */
/* One lane: a thread, a clone of /dev/fuse and a connection to the server. */
#include "guest-fuse/mount/server/connection.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <linux/vm_sockets.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include "guest-fuse/mount/client.h"
#include "protocol/clock.h"
#include "protocol/cleanup.h"
#include "protocol/faults.h"
#include "protocol/log.h"

enum {
	SOCKET_BUFFER = 1024 * 1024,
	RETRY_NS = 1000000000,
	PATIENCE_US = 300, /* for a reply, before another thread is to read the kernel's requests */
	ERRNO_LIMIT = 512, /* the kernel takes no error from here on from a file system (fs/fuse/dev.c) */
};

static __thread struct lane *current;

struct lane *lane_current(void)
{
	return current;
}

void lane_set_current(struct lane *lane)
{
	current = lane;
}

const struct fuse_in_header *lane_request(const struct lane *lane)
{
	return (const void *) lane->buffer;
}

const void *lane_argument(const struct lane *lane)
{
	return lane->buffer + sizeof(struct fuse_in_header);
}

/* A request must be answered on the descriptor that it was read from; each clone has its own list of them. */
static int clone_device(int device)
{
	_cleanup_close_ int fd = FAULT(MOUNT_FUSE_OPEN, open("/dev/fuse", O_RDWR | O_CLOEXEC | O_NONBLOCK));
	uint32_t from = (uint32_t) device;

	if (fd < 0 || FAULT(MOUNT_FUSE_CLONE, ioctl(fd, FUSE_DEV_IOC_CLONE, &from)) < 0)
		return -errno;
	return TAKE_FD(fd);
}

int lane_new(struct client *client, struct lane **ret_lane)
{
	struct lane *lane = FAULT_NULL(MOUNT_LANE, calloc(1, sizeof(*lane)));
	int r = -ENOMEM;

	if (lane == NULL)
		return r;
	lane->client = client;
	lane->device = -EBADF;
	lane->channel.fd = -EBADF;
	pthread_mutex_init(&lane->use, NULL);
	pthread_mutex_init(&lane->state, NULL);
	/* Pages that are never touched are never there. */
	lane->buffer = FAULT(MOUNT_LANE_BUFFER,
	                     mmap(NULL, LANE_BUFFER_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
	if (lane->buffer == MAP_FAILED)
		lane->buffer = NULL;
	lane->out = malloc(PROTO_SMALL_MAX);
	if (lane->buffer != NULL && lane->out != NULL) {
		lane->device = clone_device(client->device);
		r = lane->device < 0 ? lane->device : 0;
	}
	if (r < 0) {
		lane_free(lane);
		return r;
	}
	*ret_lane = lane;
	return 0;
}

void lane_free(struct lane *lane)
{
	if (lane == NULL)
		return;
	close_fd(lane->device);
	proto_channel_done(&lane->channel);
	if (lane->buffer != NULL)
		munmap(lane->buffer, LANE_BUFFER_SIZE);
	free(lane->out);
	pthread_mutex_destroy(&lane->use);
	pthread_mutex_destroy(&lane->state);
	free(lane);
}

/* Room for a whole request or reply, as far as the system allows. */
static void enlarge_buffers(const struct proto_address *address, int fd)
{
	uint64_t vsock = SOCKET_BUFFER;
	int size = SOCKET_BUFFER;

	if (address->kind == PROTO_ADDRESS_VSOCK) {
		(void) setsockopt(fd, AF_VSOCK, SO_VM_SOCKETS_BUFFER_MAX_SIZE, &vsock, sizeof(vsock));
		(void) setsockopt(fd, AF_VSOCK, SO_VM_SOCKETS_BUFFER_SIZE, &vsock, sizeof(vsock));
	} else if (setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof(size)) < 0) {
		(void) setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	}
}

int lane_attach(struct lane *lane)
{
	struct client *client = lane->client;
	struct proto_proof_reply welcome;
	struct proto_refusal refusal;
	struct proto_channel channel;
	int fd = proto_address_connect(&client->options->address, PROTO_HANDSHAKE_MS), r;

	if (fd < 0)
		return fd;
	enlarge_buffers(&client->options->address, fd);
	r = proto_channel_init(&channel, fd, PROTO_SMALL_MAX + PROTO_HEADER_SIZE, LANE_STALL_MS);
	if (r < 0) {
		close_fd(fd);
		return r;
	}
	r = proto_attach(&channel, &client->token, client->welcome.session, &welcome, &refusal);
	if (r == 0 && (welcome.lane == 0 || welcome.session != client->welcome.session || channel.start != channel.end))
		r = -EPROTO;
	if (r < 0) {
		if (r == -EACCES)
			log_debug("the server refuses a lane: %s", refusal.text);
		proto_channel_done(&channel);
		return r;
	}
	pthread_mutex_lock(&lane->state);
	lane->channel = channel;
	lane->number = welcome.lane;
	lane->connected = true;
	/* Whoever ended the session meanwhile did not see this connection. */
	if (atomic_load(&client->dead) != 0)
		proto_channel_kill(&lane->channel);
	pthread_mutex_unlock(&lane->state);
	return 0;
}

void lane_kill(struct lane *lane)
{
	pthread_mutex_lock(&lane->state);
	if (lane->connected)
		proto_channel_kill(&lane->channel);
	pthread_mutex_unlock(&lane->state);
}

uint32_t lane_number(struct lane *lane)
{
	uint32_t number;

	pthread_mutex_lock(&lane->state);
	number = lane->number;
	pthread_mutex_unlock(&lane->state);
	return number;
}

/* With use held. */
static void disconnect(struct lane *lane)
{
	pthread_mutex_lock(&lane->state);
	if (lane->connected)
		proto_channel_done(&lane->channel);
	lane->connected = false;
	pthread_mutex_unlock(&lane->state);
}

double lane_keep(const struct lane *lane)
{
	return client_keep(lane->client, atomic_load_explicit(&lane->since, memory_order_relaxed));
}

void lane_begin(struct lane *lane)
{
	const struct fuse_in_header *in = lane_request(lane);

	atomic_store_explicit(&lane->since, clock_ns(), memory_order_relaxed);
	pthread_mutex_lock(&lane->state);
	lane->unique = in->unique;
	lane->opcode = in->opcode;
	lane->pid = (pid_t) in->pid;
	lane->interrupted = lane->answered = false;
	pthread_mutex_unlock(&lane->state);
	lane->anew = stale_is_awaited(&lane->client->stale) &&
	             stale_second_of(
	                     &lane->client->stale, lane,
	                     objects_looked_up_at(lane->client->objects, client_node(lane->client, in->nodeid))) != 0;
}

void lane_end(struct lane *lane)
{
	pthread_mutex_lock(&lane->state);
	lane->unique = 0;
	pthread_mutex_unlock(&lane->state);
}

bool lane_answer(struct lane *lane, uint64_t unique)
{
	bool first;

	pthread_mutex_lock(&lane->state);
	first = lane->unique == unique && !lane->answered;
	if (first)
		lane->answered = true;
	pthread_mutex_unlock(&lane->state);
	return first;
}

static void count(struct lane *lane, enum proto_op op, int result, int64_t begin, size_t bytes)
{
	struct proto_counter *counter = &lane->client->stats.rpc.ops[op];

	proto_counter_add(&counter->count, 1);
	if (result < 0)
		proto_counter_add(&counter->errors, 1);
	proto_counter_add(&counter->bytes, bytes);
	proto_counter_add(&counter->nanoseconds, (uint64_t) (clock_ns() - begin));
}

/* With use held. 0, or why there is no connection. */
static int ready(struct lane *lane)
{
	int r, dead = atomic_load(&lane->client->dead);

	if (dead != 0)
		return -dead;
	if (lane->connected)
		return 0;
	if (clock_ns() < lane->retry_at)
		return -EIO;
	lanes_grow(&lane->client->lanes);
	r = lane_attach(lane);
	if (r == 0)
		return 0;
	lane->retry_at = clock_ns() + RETRY_NS;
	log_peer_warning("cannot connect a lane to the server again: %s", strerror(-r));
	return -EIO;
}

/* With use held: the connection broke. Which error the operation gets. */
static int lost(struct lane *lane, enum proto_op op, int error)
{
	int dead;

	disconnect(lane);
	dead = atomic_load(&lane->client->dead);
	if (dead != 0)
		return -dead;
	log_peer_warning("lane %u broke during %s: %s", lane->number, proto_ops[op].name, strerror(-error));
	return -EIO;
}

int lane_broken(struct lane *lane, enum proto_op op, const char *what)
{
	log_peer_warning("the server's reply to %s makes no sense (%s)", proto_ops[op].name, what);
	pthread_mutex_lock(&lane->use);
	disconnect(lane);
	pthread_mutex_unlock(&lane->use);
	return -EIO;
}

/* The server can answer with any error; some of them would tell the kernel never to ask again. */
static int server_error(int32_t status)
{
	if (status == ENOSYS)
		return -EOPNOTSUPP;
	return status >= ERRNO_LIMIT || status == EINTR ? -EIO : -status;
}

/* With use held. */
static int send_frame(struct lane *lane, enum proto_op op, uint16_t flags, const struct proto_writer *writer,
                      uint64_t *ret_id)
{
	struct proto_header header = { .op = (uint16_t) op, .flags = flags, .id = ++lane->next_id };

	*ret_id = header.id;
	return proto_channel_send(&lane->channel, &header, writer);
}

/* With use held: everything that is to be forgotten, in messages of FORGETS_MANY to PROTO_FORGETS_MAX. */
static int send_forgets(struct lane *lane)
{
	struct client *client = lane->client;
	struct forgets_pair pairs[FORGETS_MANY * 2];
	uint8_t bytes[sizeof(pairs)], memory[sizeof(pairs) + 16];
	size_t n;

	while ((n = forgets_take(&client->forgets, pairs, ARRAY_SIZE(pairs))) > 0) {
		struct proto_writer list, writer;
		struct proto_forget_request request = { .forgets = { .count = (uint32_t) n, .bytes = bytes } };
		uint64_t id;
		int r;

		proto_writer_init(&list, bytes, sizeof(bytes));
		for (size_t i = 0; i < n; i++) {
			proto_put_u64(&list, &pairs[i].node);
			proto_put_u64(&list, &pairs[i].references);
		}
		proto_writer_init(&writer, memory, sizeof(memory));
		r = proto_encode_forget_request(&writer, &request);
		assert(r == 0);
		r = send_frame(lane, PROTO_FORGET, 0, &writer, &id);
		count(lane, PROTO_FORGET, r, clock_ns(), (size_t) (writer.next - writer.start));
		if (r < 0)
			return r;
	}
	return 0;
}

void lane_forget_many(struct lane *lane)
{
	int r;

	if (forgets_count(&lane->client->forgets) < FORGETS_MANY)
		return;
	pthread_mutex_lock(&lane->use);
	r = ready(lane);
	if (r == 0)
		r = send_forgets(lane);
	if (r < 0)
		(void) lost(lane, PROTO_FORGET, r);
	pthread_mutex_unlock(&lane->use);
}

bool lane_try_forget(struct lane *lane)
{
	bool done;

	if (pthread_mutex_trylock(&lane->use) != 0)
		return false;
	done = lane->connected && atomic_load(&lane->client->dead) == 0 && send_forgets(lane) == 0;
	pthread_mutex_unlock(&lane->use);
	return done;
}

/*
 * Before this thread sleeps for as long as the server likes. Waking another thread for each request would cost more
 * than most replies take.
 */
static void await_reply(struct lane *lane, bool into)
{
	struct lanes *lanes = &lane->client->lanes;

	if (!lanes_are_read(lanes)) {
		if (proto_channel_await(&lane->channel, into, lanes_others(lanes), PATIENCE_US))
			return;
		lanes_grow(lanes);
	}
	client_stir(lane->client);
}

/* With use held. The reply's header, checked against the request. */
static int receive(struct lane *lane, enum proto_op op, uint64_t id, struct proto_header *ret_header,
                   struct proto_reader *ret_reader)
{
	int r;

	await_reply(lane, true);
	do
		r = proto_channel_next(&lane->channel, ret_header, ret_reader);
	while (r == -EAGAIN && atomic_load(&lane->client->dead) == 0);
	if (r < 0)
		return r;
	return ret_header->op != op || ret_header->id != id || ret_header->flags != PROTO_FRAME_REPLY ? -EBADMSG : 0;
}

/* With use held. Nothing may follow a reply: nobody asked for it. */
static int nothing_left(const struct lane *lane)
{
	return lane->channel.start != lane->channel.end ? -EBADMSG : 0;
}

/* What both forms of an exchange begin and end with. */
static int begin(struct lane *lane, enum proto_op op, const struct proto_writer *writer, uint64_t *ret_id)
{
	int r = ready(lane);

	if (r < 0)
		return r;
	atomic_store(&lane->rpc, lane->next_id + 1);
	/* A server that is slow to take it must not keep other requests waiting. */
	if (writer->tail_length > SOCKET_BUFFER / 4)
		lanes_grow(&lane->client->lanes);
	r = send_frame(lane, op, lane->anew ? PROTO_FRAME_ANEW : 0, writer, ret_id);
	if (r < 0) {
		atomic_store(&lane->rpc, 0);
		r = lost(lane, op, r);
	}
	return r;
}

static int end(struct lane *lane, enum proto_op op, int result, int32_t status)
{
	atomic_store(&lane->rpc, 0);
	if (result == 0)
		result = nothing_left(lane);
	if (result < 0)
		return lost(lane, op, result);
	return status == 0 ? 0 : server_error(status);
}

static int exchange(struct lane *lane, enum proto_op op, const struct proto_writer *writer,
                    struct proto_reader *ret_reader)
{
	int64_t started = clock_ns();
	struct proto_header header;
	uint64_t id;
	int r;

	pthread_mutex_lock(&lane->use);
	r = begin(lane, op, writer, &id);
	if (r == 0) {
		r = receive(lane, op, id, &header, ret_reader);
		r = end(lane, op, r, r < 0 ? 0 : header.status);
	}
	pthread_mutex_unlock(&lane->use);
	count(lane, op, r, started, writer->tail_length);
	return r;
}

/* The object itself is meant, and nobody else will ask again. */
static int again(struct lane *lane, enum proto_op op, const struct proto_writer *writer,
                 struct proto_reader *ret_reader)
{
	int r;

	lane->anew = true;
	r = exchange(lane, op, writer, ret_reader);
	lane->anew = false;
	return r;
}

int lane_exchange(struct lane *lane, enum proto_op op, const struct proto_writer *writer,
                  struct proto_reader *ret_reader)
{
	int r = exchange(lane, op, writer, ret_reader);

	/* Data of WRITE go to a handle, which is no name. */
	if (r != -ESTALE || writer->tail_length > 0)
		return r;
	if (proto_ops[op].changes == PROTO_CHANGES_NO)
		stale_note(&lane->client->stale, lane);
	else if (!stale_tell(&lane->client->stale, lane) && !lane->anew)
		return again(lane, op, writer, ret_reader);
	return r;
}

int lane_exchange_data(struct lane *lane, enum proto_op op, const struct proto_writer *writer, void *fixed,
                       size_t fixed_size, size_t size, size_t *ret_length)
{
	int64_t started = clock_ns();
	struct proto_header header;
	uint64_t id;
	int r;

	assert(size <= PROTO_DATA_MAX);
	*ret_length = 0;
	pthread_mutex_lock(&lane->use);
	r = begin(lane, op, writer, &id);
	if (r == 0) {
		await_reply(lane, false);
		r = proto_channel_receive_data(&lane->channel, op, id, fixed, fixed_size, lane->buffer + LANE_DATA_AT,
		                               size, ret_length, &header);
		r = end(lane, op, r, r < 0 ? 0 : header.status);
	}
	pthread_mutex_unlock(&lane->use);
	count(lane, op, r, started, *ret_length);
	return r;
}

int lane_send(struct lane *lane, enum proto_op op, const struct proto_writer *writer)
{
	struct proto_header header = { .op = (uint16_t) op };
	int64_t started = clock_ns();
	int r;

	pthread_mutex_lock(&lane->use);
	r = ready(lane);
	if (r == 0) {
		header.id = ++lane->next_id;
		if (lane->channel.held == 0)
			lane->held_since = started;
		r = proto_channel_hold(&lane->channel, &header, writer);
		if (r < 0)
			r = lost(lane, op, r);
	}
	pthread_mutex_unlock(&lane->use);
	count(lane, op, r, started, 0);
	return r;
}

void lane_flush(struct lane *lane, int64_t age)
{
	int r = 0;

	pthread_mutex_lock(&lane->use);
	if (lane->connected && lane->channel.held > 0 && (age == 0 || clock_ns() - lane->held_since > age))
		r = proto_channel_flush(&lane->channel);
	if (r < 0)
		(void) lost(lane, PROTO_RELEASE, r);
	pthread_mutex_unlock(&lane->use);
}
