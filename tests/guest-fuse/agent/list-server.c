/* SPDX-License-Identifier: Apache-2.0 */
/* The server's end of guestd's connection. */
#include "tests/guest-fuse/agent/list-server.h"

#include <errno.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "protocol/cleanup.h"

enum { CAPACITY = 8192, STALL_MS = 10000 };

static void send_frame(struct list_server *server, enum proto_op op, uint16_t flags, uint64_t id,
                       const struct proto_writer *writer)
{
	struct proto_header header = { .op = (uint16_t) op, .flags = flags, .id = id };

	(void) proto_channel_send(&server->channel, &header, writer);
}

static void send_status(struct list_server *server, const struct proto_header *request, int status)
{
	struct proto_header header = *request;

	header.flags = PROTO_FRAME_REPLY;
	header.status = (uint32_t) status;
	(void) proto_channel_send(&server->channel, &header, NULL);
}

static void send_changed(struct list_server *server)
{
	const struct proto_changed_request changed = { ++server->generation,
		                                       server->count_told > 0 ? server->count_told : server->count };
	struct proto_writer writer;
	uint8_t bytes[64];

	proto_writer_init(&writer, bytes, sizeof(bytes));
	(void) proto_encode_changed_request(&writer, &changed);
	send_frame(server, PROTO_CHANGED, 0, 1, &writer);
}

static void send_refuse(struct list_server *server)
{
	struct proto_refuse_request refusal = { .code = PROTO_REFUSE_PROOF };
	struct proto_writer writer;
	uint8_t bytes[2048];

	proto_text_set(&refusal.text, "the token is wrong");
	proto_writer_init(&writer, bytes, sizeof(bytes));
	(void) proto_encode_refuse_request(&writer, &refusal);
	send_frame(server, PROTO_REFUSE, 0, 1, &writer);
}

/* FOLLOW to CHANGED. False: it came to nothing. */
static bool shake_hands(struct list_server *server)
{
	struct proto_follow_request follow;
	struct proto_follow_reply answer = { .version = PROTO_VERSION_MAX };
	struct proto_header header;
	struct proto_reader reader;
	struct proto_writer writer;
	uint8_t opening[256], bytes[256];
	size_t length;

	if (proto_channel_next(&server->channel, &header, &reader) < 0 || header.op != PROTO_FOLLOW)
		return false;
	length = header.length;
	memcpy(opening, reader.next, length);
	if (proto_decode_follow_request(&reader, &follow) < 0)
		return false;
	randombytes_buf(&answer.nonce, sizeof(answer.nonce));
	proto_proof(&server->token, "server", &follow.nonce, &answer.nonce, opening, length, &answer.proof);
	proto_writer_init(&writer, bytes, sizeof(bytes));
	(void) proto_encode_follow_reply(&writer, &answer);
	send_frame(server, PROTO_FOLLOW, PROTO_FRAME_REPLY, header.id, &writer);
	if (proto_channel_next(&server->channel, &header, &reader) < 0 || header.op != PROTO_PROOF)
		return false;
	if (server->refuses) {
		send_refuse(server);
		return false;
	}
	send_changed(server);
	return true;
}

static void answer_share(struct list_server *server, const struct proto_header *header, struct proto_reader *reader)
{
	struct proto_share_request request;
	struct proto_share_reply reply = { .state = PROTO_SHARE_SERVED };
	struct proto_writer writer;
	uint8_t bytes[2 * PROTO_SHARE_SIZE + 64];

	if (proto_decode_share_request(reader, &request) < 0)
		return;
	if (++server->asked_shares == server->change_at) {
		server->shares[server->count++] = "/late";
		send_changed(server);
	}
	if (request.generation != server->generation || request.index >= server->count) {
		send_status(server, header, request.generation != server->generation ? EAGAIN : ERANGE);
		return;
	}
	strcpy(reply.path.path, server->shares[request.index]);
	strcpy(reply.canonical.path, server->shares[request.index]);
	reply.flags = PROTO_SHARE_READ_ONLY;
	proto_writer_init(&writer, bytes, sizeof(bytes));
	(void) proto_encode_share_reply(&writer, &reply);
	send_frame(server, server->lies ? PROTO_RESOLVE : PROTO_SHARE, PROTO_FRAME_REPLY, header->id, &writer);
}

static void answer_resolve(struct list_server *server, const struct proto_header *header)
{
	struct proto_resolve_reply reply = { 0 };
	struct proto_writer writer;
	uint8_t bytes[PROTO_SHARE_SIZE + 64];

	server->asked_paths++;
	if (server->busy > 0 || server->leads_to == NULL) {
		int status = server->busy > 0 ? EBUSY : EACCES;

		/* Before the answer: then the case may change it. */
		server->busy -= server->busy > 0;
		send_status(server, header, status);
		return;
	}
	strcpy(reply.path.path, server->leads_to);
	proto_writer_init(&writer, bytes, sizeof(bytes));
	(void) proto_encode_resolve_reply(&writer, &reply);
	send_frame(server, PROTO_RESOLVE, PROTO_FRAME_REPLY, header->id, &writer);
}

static void answer(struct list_server *server, const struct proto_header *header, struct proto_reader *reader)
{
	struct proto_bind_refused_request refused;

	if (header->op == PROTO_SHARE) {
		answer_share(server, header, reader);
	} else if (header->op == PROTO_RESOLVE) {
		answer_resolve(server, header);
	} else if (header->op == PROTO_PING) {
		server->pings++;
		send_status(server, header, 0);
	} else if (header->op == PROTO_BIND_REFUSED && proto_decode_bind_refused_request(reader, &refused) == 0) {
		(void) snprintf(server->refused, sizeof(server->refused), "%.60s", refused.path.path);
	}
}

static void *run(void *argument)
{
	struct list_server *server = argument;
	struct proto_header header;
	struct proto_reader reader;

	if (proto_channel_init(&server->channel, server->fd, CAPACITY, STALL_MS) < 0)
		abort();
	if (shake_hands(server) && !server->closes)
		while (proto_channel_next(&server->channel, &header, &reader) == 0)
			answer(server, &header, &reader);
	proto_channel_done(&server->channel);
	return NULL;
}

int list_server_start(struct list_server *server, int fd)
{
	int ends[2] = { fd, -1 };

	if ((fd < 0 && socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0) || sodium_init() < 0)
		abort();
	server->fd = ends[0];
	if (pthread_create(&server->thread, NULL, run, server) != 0)
		abort();
	return ends[1];
}

void list_server_end(struct list_server *server)
{
	(void) pthread_join(server->thread, NULL);
}
