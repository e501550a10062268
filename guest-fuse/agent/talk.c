/* SPDX-License-Identifier: Apache-2.0 */
/* What guestd and the file server say to each other. */
#include "guest-fuse/agent/talk.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "protocol/cleanup.h"

enum { STALL_MS = 10000 /* for an answer */ };

int talk_begin(struct talk *talk, int fd, const struct proto_token *token, struct proto_refusal *ret_refusal)
{
	int r = proto_channel_init(&talk->channel, fd, PROTO_HEADER_SIZE + PROTO_MOST_LIST_REPLY, STALL_MS);

	talk->next_id = 0;
	if (r < 0) {
		close_fd(fd);
		return r;
	}
	r = proto_follow(&talk->channel, token, &talk->current, ret_refusal);
	talk->outdated = true;
	if (r < 0)
		proto_channel_done(&talk->channel);
	return r;
}

void talk_end(struct talk *talk)
{
	proto_channel_done(&talk->channel);
}

/* One message. 0: the answer to id; 1: something else that was dealt with; or a negative errno. */
static int receive(struct talk *talk, enum proto_op op, uint64_t id, struct proto_header *ret_header,
                   struct proto_reader *ret_reader)
{
	int r = proto_channel_next(&talk->channel, ret_header, ret_reader);

	if (r < 0)
		return r == -EAGAIN ? -ETIMEDOUT : r;
	/* CHANGED, the only thing that comes unasked. */
	if (ret_header->flags == 0 && proto_op_expected(ret_header->op, PROTO_LANE_LIST, PROTO_FROM_SERVER) != NULL) {
		talk->outdated = true;
		return proto_decode_changed_request(ret_reader, &talk->current) < 0 ? -EPROTO : 1;
	}
	return ret_header->op == op && ret_header->id == id && ret_header->flags == PROTO_FRAME_REPLY ? 0 : -EPROTO;
}

/* The answer's payload; 0, the server's positive errno, or a negative one. */
static int ask(struct talk *talk, enum proto_op op, const struct proto_writer *writer, struct proto_reader *ret_reader)
{
	struct proto_header header = { .op = (uint16_t) op, .id = ++talk->next_id };
	uint64_t id = header.id;
	int r = proto_channel_send(&talk->channel, &header, writer);

	if (r < 0)
		return r;
	do
		r = receive(talk, op, id, &header, ret_reader);
	while (r == 1);
	return r < 0 ? r : header.status;
}

/* 0, a positive errno of the server's, or a negative one. */
static int read_share(struct talk *talk, uint32_t index, struct share_list_entry *ret_share)
{
	struct proto_share_request request = { .generation = talk->current.generation, .index = index };
	struct proto_share_reply reply;
	struct proto_writer writer;
	struct proto_reader reader;
	uint8_t bytes[PROTO_MOST_share_request];
	int r;

	proto_writer_init(&writer, bytes, sizeof(bytes));
	(void) proto_encode_share_request(&writer, &request);
	r = ask(talk, PROTO_SHARE, &writer, &reader);
	if (r != 0)
		return r;
	if (proto_decode_share_reply(&reader, &reply) < 0)
		return -EPROTO;
	ret_share->path = strdup(reply.path.path);
	ret_share->canonical = strdup(reply.canonical.path);
	ret_share->state = reply.state;
	ret_share->flags = reply.flags;
	return ret_share->path == NULL || ret_share->canonical == NULL ? -ENOMEM : 0;
}

int talk_read_list(struct talk *talk, struct share_list *ret_list)
{
	struct share_list list = { 0 };
	int r = 0;

	while (talk->outdated && r >= 0) {
		share_list_done(&list);
		talk->outdated = false;
		if (talk->current.count > SHARE_LIST_MAX)
			return -E2BIG;
		list.shares = calloc((size_t) talk->current.count + 1, sizeof(*list.shares));
		r = list.shares == NULL ? -ENOMEM : 0;
		for (uint32_t i = 0, count = talk->current.count; i < count && r == 0 && !talk->outdated; i++)
			r = read_share(talk, i, &list.shares[list.count++]);
		/* EAGAIN: another list is there, and CHANGED was said before or comes now. */
		if (r > 0 && r != EAGAIN)
			r = -EPROTO;
		while (r == EAGAIN && !talk->outdated) {
			struct proto_header header;
			struct proto_reader reader;
			int other = receive(talk, PROTO_CHANGED, 0, &header, &reader);

			if (other != 1)
				r = other < 0 ? other : -EPROTO;
		}
	}
	if (r < 0) {
		share_list_done(&list);
		return r;
	}
	*ret_list = list;
	return 0;
}

bool talk_has_read(const struct talk *talk)
{
	return talk->channel.start != talk->channel.end;
}

int talk_take_news(struct talk *talk)
{
	struct proto_header header;
	struct proto_reader reader;
	int r = receive(talk, PROTO_CHANGED, 0, &header, &reader);

	return r == 1 ? 0 : r < 0 ? r : -EPROTO;
}

int talk_ping(struct talk *talk)
{
	struct proto_ping_request request = { .sequence = talk->next_id };
	struct proto_writer writer;
	struct proto_reader reader;
	uint8_t bytes[PROTO_MOST_ping_request];
	int r;

	proto_writer_init(&writer, bytes, sizeof(bytes));
	(void) proto_encode_ping_request(&writer, &request);
	r = ask(talk, PROTO_PING, &writer, &reader);
	return r > 0 ? -EPROTO : r;
}

int talk_resolve(struct talk *talk, const char *path, struct proto_resolve_reply *ret_reply)
{
	struct proto_resolve_request request;
	struct proto_writer writer;
	struct proto_reader reader;
	uint8_t bytes[PROTO_MOST_resolve_request];
	int r;

	memset(&request, 0, sizeof(request));
	if (strlen(path) >= sizeof(request.path.path))
		return ENAMETOOLONG;
	strcpy(request.path.path, path);
	proto_writer_init(&writer, bytes, sizeof(bytes));
	(void) proto_encode_resolve_request(&writer, &request);
	r = ask(talk, PROTO_RESOLVE, &writer, &reader);
	return r == 0 && proto_decode_resolve_reply(&reader, ret_reply) < 0 ? -EPROTO : r;
}

int talk_tell_refused(struct talk *talk, const struct proto_bind_refused_request *request)
{
	struct proto_header header = { .op = PROTO_BIND_REFUSED, .id = ++talk->next_id };
	uint8_t bytes[PROTO_MOST_bind_refused_request];
	struct proto_writer writer;

	proto_writer_init(&writer, bytes, sizeof(bytes));
	/* What cannot be told is left untold. */
	if (proto_encode_bind_refused_request(&writer, request) < 0)
		return 0;
	return proto_channel_send(&talk->channel, &header, &writer);
}

void talk_explain(int error, const struct proto_refusal *refusal, const char *token_file, char *text, size_t size)
{
	switch (error) {
	case -EACCES:
		(void) snprintf(text, size, "it refuses: %s", refusal->text);
		break;
	case -EKEYREJECTED:
		(void) snprintf(
		        text, size,
		        "it does not hold the token of %s: it may be another server, or one of the two files is "
		        "out of date",
		        token_file != NULL ? token_file : "nobody");
		break;
	case -EPROTO:
	case -ENOTCONN:
	case -ECONNRESET:
		(void) snprintf(text, size,
		                "what answers there does not speak this version of bindshare's protocol, or has just "
		                "stopped");
		break;
	case -EAFNOSUPPORT:
	case -ENODEV:
		(void) snprintf(
		        text, size,
		        "this kernel has no vsock: load vmw_vsock_virtio_transport, and give the virtual machine "
		        "a vsock device");
		break;
	default:
		(void) snprintf(text, size, "cannot be reached (%s): start bindshare-fileserver there",
		                strerror(-error));
	}
}
