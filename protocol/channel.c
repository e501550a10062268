/* SPDX-License-Identifier: Apache-2.0 */
/* One lane: frames over a connected stream socket, with deadlines. */
#include "protocol/channel.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "protocol/cleanup.h"
#include "protocol/clock.h"
#include "protocol/faults.h"

enum { FIXED_MAX = 64 }; /* bytes of the fields before the data, at most */

int proto_channel_init(struct proto_channel *channel, int fd, size_t capacity, int stall_ms)
{
	struct timeval stall = clock_timeval_ms(stall_ms);
	int flags = fcntl(fd, F_GETFL);
	void *buffer;

	if (flags < 0 || FAULT(CHANNEL_OPTIONS, fcntl(fd, F_SETFL, flags & ~O_NONBLOCK)) < 0 ||
	    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &stall, sizeof(stall)) < 0 ||
	    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &stall, sizeof(stall)) < 0)
		return -errno;
	/* mmap, not malloc: pages that the lane never touches take no memory. */
	buffer =
	        FAULT(CHANNEL_BUFFER, mmap(NULL, capacity, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
	if (buffer == MAP_FAILED)
		return -ENOMEM;
	*channel = (struct proto_channel){ .fd = fd, .buffer = buffer, .capacity = capacity, .stall_ms = stall_ms };
	return 0;
}

int proto_channel_be_patient(struct proto_channel *channel)
{
	const struct timeval never = { .tv_sec = 0 };

	if (FAULT(CHANNEL_OPTIONS, setsockopt(channel->fd, SOL_SOCKET, SO_RCVTIMEO, &never, sizeof(never))) < 0)
		return -errno;
	channel->patient = true;
	return 0;
}

void proto_channel_done(struct proto_channel *channel)
{
	channel->fd = close_fd(channel->fd);
	if (channel->buffer != NULL)
		munmap(channel->buffer, channel->capacity);
	channel->buffer = NULL;
}

void proto_channel_kill(struct proto_channel *channel)
{
	(void) shutdown(channel->fd, SHUT_RDWR);
}

/*
 * Whether bytes, the end of the stream or an error have arrived, so that receiving returns at once. into: the bytes go
 * to the channel's buffer, which must be empty.
 */
static bool has_arrived(struct proto_channel *channel, bool into)
{
	ssize_t n =
	        recv(channel->fd, channel->buffer, into ? channel->capacity : 1, MSG_DONTWAIT | (into ? 0 : MSG_PEEK));

	if (n > 0 && into) {
		channel->start = 0;
		channel->end = (size_t) n;
	}
	return n >= 0 || (errno != EAGAIN && errno != EINTR);
}

bool proto_channel_await(struct proto_channel *channel, bool into, unsigned others, int64_t sleep_us, int rival)
{
	struct timespec limit = clock_timespec_us(sleep_us);
	struct pollfd wait[] = { { .fd = channel->fd, .events = POLLIN }, { .fd = rival, .events = POLLIN } };
	bool arrived = channel->start != channel->end;

	/* With fault injection every byte must come by receive(), where the calls are counted. */
	if (!arrived && !FAULTS_BUILT && proto_spin_begin(&channel->spin, others)) {
		do
			arrived = has_arrived(channel, into);
		while (!arrived && proto_spin_again(&channel->spin));
		proto_spin_end(&channel->spin, arrived);
	}
	if (arrived || sleep_us == 0)
		return arrived;
	return ppoll(wait, ARRAY_SIZE(wait), sleep_us < 0 ? NULL : &limit, NULL) != 0 && wait[0].revents != 0;
}

/* Returns false when nothing came for stall_ms. */
static bool wait_for_rest(const struct proto_channel *channel)
{
	struct pollfd wait = { .fd = channel->fd, .events = POLLIN };

	int n = poll(&wait, 1, channel->stall_ms);

	return n > 0 || (n < 0 && errno == EINTR);
}

/*
 * One recvmsg(2). began: a part of this frame is here already, so silence is a stall. Returns the number of bytes (>
 * 0); -EAGAIN (not began) or -ETIMEDOUT (began) after stall_ms of silence; -ENOTCONN or -ECONNRESET at the end of the
 * stream.
 */
static ssize_t receive(struct proto_channel *channel, struct iovec *iov, size_t count, bool began)
{
	struct msghdr message = { .msg_iov = iov, .msg_iovlen = count };
	/* The socket of a patient channel has no time-out of its own. */
	bool looks = began && channel->patient;

	for (;;) {
		ssize_t n = FAULT_BUFFERS(CHANNEL_RECEIVE, iov, count,
		                          recvmsg(channel->fd, &message, looks ? MSG_DONTWAIT : 0));

		if (n > 0)
			return n;
		if (n == 0)
			return began ? -ECONNRESET : -ENOTCONN;
		if (errno == EAGAIN && looks && wait_for_rest(channel))
			continue;
		if (errno == EAGAIN || errno == EWOULDBLOCK)
			return began ? -ETIMEDOUT : -EAGAIN;
		if (errno != EINTR)
			return -errno;
	}
}

/* Receives until the buffer holds at least want bytes. */
static int fill(struct proto_channel *channel, size_t want, bool began)
{
	assert(want <= channel->capacity);
	if (channel->start == channel->end)
		channel->start = channel->end = 0;
	if (channel->capacity - channel->start < want) {
		memmove(channel->buffer, channel->buffer + channel->start, channel->end - channel->start);
		channel->end -= channel->start;
		channel->start = 0;
	}
	while (channel->end - channel->start < want) {
		struct iovec iov = { .iov_base = channel->buffer + channel->end,
			             .iov_len = channel->capacity - channel->end };
		ssize_t n = receive(channel, &iov, 1, began || channel->end > channel->start);

		if (n < 0)
			return (int) n;
		channel->end += (size_t) n;
	}
	return 0;
}

int proto_channel_discard(struct proto_channel *channel)
{
	struct iovec iov = { .iov_base = channel->buffer, .iov_len = channel->capacity };
	ssize_t n;

	channel->start = channel->end = channel->unread = 0;
	n = receive(channel, &iov, 1, false);
	return n < 0 ? (int) n : 0;
}

int proto_channel_next(struct proto_channel *channel, struct proto_header *ret_header, struct proto_reader *ret_reader)
{
	struct proto_header header;
	size_t available;
	int r;

	/* Not an assert: the peer chose the length. */
	if (channel->unread != 0)
		return -EBADMSG;
	r = fill(channel, PROTO_HEADER_SIZE, false);
	if (r < 0)
		return r;
	r = proto_header_decode(channel->buffer + channel->start, &header);
	if (r < 0)
		return r;
	channel->start += PROTO_HEADER_SIZE;
	available = header.length < channel->capacity ? header.length : channel->capacity;
	/* Only a message that ends in a data field may be larger than the buffer. */
	if (available < header.length && header.op != PROTO_WRITE)
		return -EBADMSG;
	r = fill(channel, available, true);
	if (r < 0)
		return r;
	proto_reader_init(ret_reader, channel->buffer + channel->start, available, header.length);
	channel->start += available;
	channel->unread = header.length - available;
	*ret_header = header;
	return 0;
}

ssize_t proto_channel_more(struct proto_channel *channel, const void **ret_bytes)
{
	size_t size = channel->unread < channel->capacity ? channel->unread : channel->capacity;
	int r;

	if (size == 0)
		return 0;
	r = fill(channel, size, true);
	if (r < 0)
		return r;
	*ret_bytes = channel->buffer + channel->start;
	channel->start += size;
	channel->unread -= size;
	return (ssize_t) size;
}

/* Drops the first n bytes of a list of buffers. */
static void advance(struct iovec *iov, size_t count, size_t n)
{
	for (size_t i = 0; i < count; i++) {
		size_t part = n < iov[i].iov_len ? n : iov[i].iov_len;

		if (part == 0)
			continue;
		iov[i].iov_base = (char *) iov[i].iov_base + part;
		iov[i].iov_len -= part;
		n -= part;
	}
}

/*
 * Appends a small frame to the held ones: one copy is cheaper than a list of buffers. Returns false when there is no
 * room.
 */
static bool hold(struct proto_channel *channel, struct proto_header *header, const struct proto_writer *writer)
{
	size_t body = (size_t) (writer->next - writer->start);
	uint8_t *at = channel->held_bytes + channel->held;

	if (writer->tail_length > 0 || PROTO_HELD_MAX - channel->held < PROTO_HEADER_SIZE + body)
		return false;
	header->length = (uint32_t) body;
	proto_header_encode(at, header);
	if (body > 0)
		memcpy(at + PROTO_HEADER_SIZE, writer->start, body);
	channel->held += PROTO_HEADER_SIZE + body;
	return true;
}

static int flush(struct proto_channel *channel)
{
	size_t sent = 0;

	while (sent < channel->held) {
		size_t want = channel->held - sent;
		ssize_t n = FAULT_SIZE(CHANNEL_SEND, want,
		                       send(channel->fd, channel->held_bytes + sent, want, MSG_NOSIGNAL));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno == EAGAIN ? -ETIMEDOUT : -errno;
		sent += (size_t) n;
	}
	channel->held = 0;
	return 0;
}

/* Sends the held frames, then one that is too large to be held. */
static int send_large(struct proto_channel *channel, struct proto_header *header, const struct proto_writer *writer)
{
	size_t body = (size_t) (writer->next - writer->start);
	size_t left = channel->held + PROTO_HEADER_SIZE + body + writer->tail_length;
	uint8_t bytes[PROTO_HEADER_SIZE];
	struct iovec iov[4] = {
		{ .iov_base = channel->held_bytes, .iov_len = channel->held },
		{ .iov_base = bytes, .iov_len = sizeof(bytes) },
		{ .iov_base = writer->start, .iov_len = body },
		{ .iov_base = (void *) writer->tail, .iov_len = writer->tail_length },
	};
	struct msghdr message = { .msg_iov = iov, .msg_iovlen = ARRAY_SIZE(iov) };

	header->length = (uint32_t) (body + writer->tail_length);
	proto_header_encode(bytes, header);
	while (left > 0) {
		ssize_t n =
		        FAULT_BUFFERS(CHANNEL_SEND, iov, ARRAY_SIZE(iov), sendmsg(channel->fd, &message, MSG_NOSIGNAL));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno == EAGAIN ? -ETIMEDOUT : -errno;
		advance(iov, ARRAY_SIZE(iov), (size_t) n);
		left -= (size_t) n;
	}
	channel->held = 0;
	return 0;
}

/* A frame that failed may have gone out in part: the peer would take the next one for its rest. */
static int sent(struct proto_channel *channel, int result)
{
	channel->broken = channel->broken || result < 0;
	return result;
}

int proto_channel_flush(struct proto_channel *channel)
{
	return channel->broken ? -EPIPE : sent(channel, flush(channel));
}

int proto_channel_send(struct proto_channel *channel, struct proto_header *header, const struct proto_writer *writer)
{
	static const struct proto_writer no_fields;

	if (writer == NULL)
		writer = &no_fields;
	if (channel->broken)
		return -EPIPE;
	return sent(channel, hold(channel, header, writer) ? flush(channel) : send_large(channel, header, writer));
}

int proto_channel_hold(struct proto_channel *channel, struct proto_header *header, const struct proto_writer *writer)
{
	if (channel->broken)
		return -EPIPE;
	return hold(channel, header, writer) ? 0 : sent(channel, send_large(channel, header, writer));
}

/*
 * Receives one frame of a reply with data: header and fixed fields to head, the data to data. Never takes a byte of the
 * frame that follows, since every frame but the last carries exactly PROTO_CHUNK bytes.
 */
static int receive_part(struct proto_channel *channel, uint8_t *head, size_t head_size, uint8_t *data, size_t size,
                        struct proto_header *ret_header)
{
	struct iovec iov[2] = { { .iov_base = head, .iov_len = head_size }, { .iov_base = data, .iov_len = size } };
	size_t got = 0, want = PROTO_HEADER_SIZE;
	bool decoded = false;

	while (got < want) {
		ssize_t n = receive(channel, iov, ARRAY_SIZE(iov), got > 0);

		if (n == -EAGAIN)
			continue;
		if (n < 0)
			return (int) n;
		got += (size_t) n;
		advance(iov, ARRAY_SIZE(iov), (size_t) n);
		if (!decoded && got >= PROTO_HEADER_SIZE) {
			int r = proto_header_decode(head, ret_header);

			if (r < 0)
				return r;
			decoded = true;
			want += ret_header->length;
			if (want > head_size + size)
				return -EBADMSG;
		}
	}
	return got == want ? 0 : -EBADMSG;
}

int proto_channel_receive_data(struct proto_channel *channel, enum proto_op op, uint64_t id, void *fixed,
                               size_t fixed_size, void *data, size_t size, size_t *ret_length,
                               struct proto_header *ret_header)
{
	uint8_t head[PROTO_HEADER_SIZE + FIXED_MAX];
	size_t head_size = PROTO_HEADER_SIZE + fixed_size, length = 0;
	struct proto_header header;
	struct proto_reader reader;
	uint32_t announced;

	assert(head_size <= sizeof(head));
	/* Bytes that no request asked for. */
	if (channel->start != channel->end || channel->unread != 0)
		return -EBADMSG;
	do {
		size_t room = size - length < PROTO_CHUNK ? size - length : PROTO_CHUNK;
		int r = receive_part(channel, head, head_size, (uint8_t *) data + length, room, &header);

		if (r < 0)
			return r;
		if (header.op != op || header.id != id || (header.flags & PROTO_FRAME_REPLY) == 0)
			return -EBADMSG;
		if (header.status != 0)
			break;
		if (header.length < fixed_size)
			return -EBADMSG;
		memcpy(fixed, head + PROTO_HEADER_SIZE, fixed_size);
		proto_reader_init(&reader, head + head_size - 4, 4, 4);
		proto_get_u32(&reader, &announced);
		if (announced != header.length - fixed_size)
			return -EBADMSG;
		length += header.length - fixed_size;
		if ((header.flags & PROTO_FRAME_MORE) != 0 && header.length - fixed_size != PROTO_CHUNK)
			return -EBADMSG;
	} while ((header.flags & PROTO_FRAME_MORE) != 0);
	*ret_length = length;
	*ret_header = header;
	return 0;
}
