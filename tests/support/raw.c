/* SPDX-License-Identifier: Apache-2.0 */
/* A raw client for tests. */
#include "tests/support/raw.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

int raw_init(struct raw *raw, int fd)
{
	raw->id = 0;
	raw->flags = 0;
	raw->host_error = 0;
	return proto_channel_init(&raw->channel, fd, PROTO_CHUNK + 8192, 20000);
}

void raw_done(struct raw *raw)
{
	proto_channel_done(&raw->channel);
}

struct proto_name raw_name(const char *text)
{
	struct proto_name name = { 0 };

	name.length = strnlen(text, PROTO_NAME_MAX);
	memcpy(name.text, text, name.length);
	return name;
}

static int send_request(struct raw *raw, unsigned op, const struct proto_writer *writer)
{
	struct proto_header header = { .op = (uint16_t) op, .flags = raw->flags, .id = ++raw->id };

	return proto_channel_send(&raw->channel, &header, writer);
}

/* The reply of all frames in raw->data, as if it were one. */
static int receive_reply(struct raw *raw, unsigned op, struct proto_reader *ret_reader)
{
	struct proto_header header;
	struct proto_reader reader;
	size_t fixed = op == PROTO_READ      ? PROTO_MOST_read_reply
	               : op == PROTO_READDIR ? PROTO_MOST_readdir_reply
	               : op == PROTO_OPENDIR ? PROTO_MOST_opendir_reply
	               : op == PROTO_SCAN    ? PROTO_MOST_scan_reply
	                                     : 0;
	size_t length = 0;

	do {
		size_t size;
		int r = proto_channel_next(&raw->channel, &header, &reader);

		if (r < 0)
			return r == -EAGAIN ? -ETIMEDOUT : r;
		if (header.op != op || header.id != raw->id || (header.flags & PROTO_FRAME_REPLY) == 0)
			return -EPROTO;
		if (header.status != 0 && header.status != raw->host_error && !proto_op_may_fail(op, header.status)) {
			fprintf(stderr, "%s answered %s, which its row in ops.def does not list\n",
			        proto_op_info(op)->name, strerrorname_np(header.status));
			return -EPROTO;
		}
		if (header.status != 0)
			return -header.status;
		size = (size_t) (reader.end - reader.next);
		if (length + size > sizeof(raw->data) || size < fixed)
			return -EPROTO;
		memcpy(raw->data, reader.next, fixed);
		memcpy(raw->data + fixed + length, reader.next + fixed, size - fixed);
		length += size - fixed;
	} while ((header.flags & PROTO_FRAME_MORE) != 0);
	for (int i = 0; fixed > 0 && i < 4; i++)
		raw->data[fixed - 4 + i] = (uint8_t) (length >> (8 * i));
	proto_reader_init(ret_reader, raw->data, fixed + length, fixed + length);
	return 0;
}

#define OP(SYMBOL, op, number, lane, from, changes, replay, doc)                                                       \
	int raw_##op(struct raw *raw, const struct proto_##op##_request *request,                                      \
	             struct proto_##op##_reply *ret_reply)                                                             \
	{                                                                                                              \
		struct proto_writer writer;                                                                            \
		struct proto_reader reader;                                                                            \
		int r;                                                                                                 \
                                                                                                                       \
		proto_writer_init(&writer, raw->request, sizeof(raw->request));                                        \
		r = proto_encode_##op##_request(&writer, request);                                                     \
		if (r == 0)                                                                                            \
			r = send_request(raw, (number), &writer);                                                      \
		if (r < 0 || PROTO_REPLAY_##replay == PROTO_REPLAY_NOREPLY)                                            \
			return r;                                                                                      \
		r = receive_reply(raw, (number), &reader);                                                             \
		if (r == 0)                                                                                            \
			r = proto_decode_##op##_reply(&reader, ret_reply) == 0 ? 0 : -EPROTO;                          \
		return r;                                                                                              \
	}
#include "protocol/ops.def"

int raw_welcome(struct raw *raw, struct proto_proof_reply *ret_welcome)
{
	struct proto_header header;
	struct proto_reader reader;
	int r = proto_channel_next(&raw->channel, &header, &reader);

	if (r < 0)
		return r;
	if (header.op != PROTO_PROOF || header.status != 0)
		return -EPROTO;
	return proto_decode_proof_reply(&reader, ret_welcome);
}

int raw_wait_goodbye(struct raw *raw)
{
	struct proto_goodbye_request goodbye;
	struct proto_header header;
	struct proto_reader reader;
	int r = proto_channel_next(&raw->channel, &header, &reader);

	if (r < 0)
		return r;
	if (header.op != PROTO_GOODBYE)
		return -EPROTO;
	r = proto_decode_goodbye_request(&reader, &goodbye);
	return r < 0 ? r : (int) goodbye.code;
}

int raw_bytes(struct raw *raw, const void *bytes, size_t size)
{
	ssize_t n = send(raw->channel.fd, bytes, size, MSG_NOSIGNAL);

	return n < 0 ? -errno : 0;
}

int raw_frame(struct raw *raw, const struct proto_header *header, const void *payload, size_t size)
{
	uint8_t bytes[PROTO_HEADER_SIZE];
	int r;

	proto_header_encode(bytes, header);
	r = raw_bytes(raw, bytes, sizeof(bytes));
	return r < 0 || size == 0 ? r : raw_bytes(raw, payload, size);
}

bool raw_closed(struct raw *raw, int timeout_ms)
{
	struct pollfd fd = { .fd = raw->channel.fd, .events = POLLIN };
	uint8_t bytes[4096];

	for (int tries = 0; tries < 64; tries++) {
		ssize_t n;

		if (poll(&fd, 1, timeout_ms) <= 0)
			return false;
		n = recv(raw->channel.fd, bytes, sizeof(bytes), MSG_DONTWAIT);
		if (n == 0 || (n < 0 && errno != EAGAIN))
			return true;
		/* The server has said its last words, and waits for us to close first. */
		(void) shutdown(raw->channel.fd, SHUT_WR);
	}
	return false;
}
