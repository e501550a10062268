/* SPDX-License-Identifier: Apache-2.0 */
/* The connection to the file server on which the guest learns what is shared. */
#include "guest-fuse/agent/link.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <utlist.h>

#include "protocol/cleanup.h"
#include "protocol/log.h"

enum {
	STALL_MS = 10000, /* for an answer */
	IDLE_MS = 60000,  /* between two PINGs */
	RETRY_LEAST_MS = 200,
	RETRY_MOST_MS = 10000,
	RESOLVE_TRIES = 5,
	REFUSALS_MAX = 16, /* that wait to be told */
};

struct link_question {
	struct link_question *next;
	char path[PATH_MAX];
	bool is_answered;
	void (*answered)(void *context, const char *path);
	void *context;
};

struct link_refusal {
	struct link_refusal *next;
	struct proto_bind_refused_request request;
};

/* The connection, in its thread. */
struct talk {
	struct link *link;
	struct proto_channel channel;
	struct proto_changed_request current; /* the newest list that the server told of */
	bool stale;                           /* it has not been read */
};

void link_list_done(struct link_list *list)
{
	for (size_t i = 0; i < list->count; i++) {
		free(list->shares[i].path);
		free(list->shares[i].canonical);
	}
	free(list->shares);
	*list = (struct link_list){ 0 };
}

static bool is_stopping(struct link *link)
{
	bool stopping;

	pthread_mutex_lock(&link->lock);
	stopping = link->stopping;
	pthread_mutex_unlock(&link->lock);
	return stopping;
}

/* Says a failure once, until another one or a success comes. */
static void set_status(struct link *link, enum link_state state, const char *error)
{
	bool changed;

	pthread_mutex_lock(&link->lock);
	changed = link->status.state != state || strcmp(link->status.error, error) != 0;
	if (changed) {
		if (link->status.state != state)
			link->status.since = time(NULL);
		link->status.state = state;
		(void) snprintf(link->status.error, sizeof(link->status.error), "%s", error);
	}
	pthread_mutex_unlock(&link->lock);
	if (!changed)
		return;
	if (state == LINK_CONNECTED)
		log_peer_info("the file server at %s is there", link->config->address_text);
	else if (error[0] != '\0')
		log_peer_warning("the file server at %s: %s; trying again", link->config->address_text, error);
	(void) uv_async_send(&link->async);
}

/* Waits. True: go on; false: the link is to end. */
static bool rest(struct link *link, int milliseconds)
{
	struct pollfd poller = { .fd = link->wake, .events = POLLIN };
	eventfd_t count;

	if (poll(&poller, 1, milliseconds) > 0)
		(void) eventfd_read(link->wake, &count);
	return !is_stopping(link);
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
		talk->stale = true;
		return proto_decode_changed_request(ret_reader, &talk->current) < 0 ? -EPROTO : 1;
	}
	return ret_header->op == op && ret_header->id == id && ret_header->flags == PROTO_FRAME_REPLY ? 0 : -EPROTO;
}

/* The answer's payload; 0, the server's positive errno, or a negative one. */
static int ask(struct talk *talk, enum proto_op op, const struct proto_writer *writer, struct proto_reader *ret_reader)
{
	struct proto_header header = { .op = (uint16_t) op, .id = ++talk->link->next_id };
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
static int read_share(struct talk *talk, uint32_t index, struct link_share *ret_share)
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

/* Reads the list until it holds still. 0 or a negative errno. */
static int read_list(struct talk *talk)
{
	struct link *link = talk->link;
	struct link_list list = { 0 };
	int r = 0;

	while (talk->stale && r >= 0) {
		link_list_done(&list);
		talk->stale = false;
		if (talk->current.count > LINK_SHARES_MAX)
			return -E2BIG;
		list.shares = calloc((size_t) talk->current.count + 1, sizeof(*list.shares));
		r = list.shares == NULL ? -ENOMEM : 0;
		for (uint32_t i = 0, count = talk->current.count; i < count && r == 0 && !talk->stale; i++)
			r = read_share(talk, i, &list.shares[list.count++]);
		/* EAGAIN: another list is there, and CHANGED was said before or comes now. */
		if (r > 0 && r != EAGAIN)
			r = -EPROTO;
		while (r == EAGAIN && !talk->stale) {
			struct proto_header header;
			struct proto_reader reader;
			int other = receive(talk, PROTO_CHANGED, 0, &header, &reader);

			if (other != 1)
				r = other < 0 ? other : -EPROTO;
		}
	}
	if (r < 0) {
		link_list_done(&list);
		return r;
	}
	pthread_mutex_lock(&link->lock);
	link_list_done(&link->list);
	link->list = list;
	link->has_list = true;
	pthread_mutex_unlock(&link->lock);
	(void) uv_async_send(&link->async);
	return 0;
}

static int ping(struct talk *talk)
{
	struct proto_ping_request request = { .sequence = talk->link->next_id };
	struct proto_writer writer;
	struct proto_reader reader;
	uint8_t bytes[PROTO_MOST_ping_request];
	int r;

	proto_writer_init(&writer, bytes, sizeof(bytes));
	(void) proto_encode_ping_request(&writer, &request);
	r = ask(talk, PROTO_PING, &writer, &reader);
	return r > 0 ? -EPROTO : r;
}

/* Takes the next question out of the queue. */
static struct link_question *next_question(struct link *link)
{
	struct link_question *question;

	pthread_mutex_lock(&link->lock);
	question = link->questions;
	if (question != NULL)
		LL_DELETE(link->questions, question);
	pthread_mutex_unlock(&link->lock);
	return question;
}

/* path: NULL when the server could not be asked. */
static void answer(struct link *link, struct link_question *question, const char *path)
{
	question->is_answered = path != NULL;
	(void) snprintf(question->path, sizeof(question->path), "%s", path != NULL ? path : "");
	pthread_mutex_lock(&link->lock);
	LL_APPEND(link->answers, question);
	pthread_mutex_unlock(&link->lock);
	(void) uv_async_send(&link->async);
}

/* The server may be busy with others' questions. 0 or a negative errno: the connection is of no use any more. */
static int resolve(struct talk *talk, struct link_question *question)
{
	struct proto_resolve_request request;
	struct proto_resolve_reply reply = { .path.path = "" };
	struct proto_writer writer;
	struct proto_reader reader;
	uint8_t bytes[PROTO_MOST_resolve_request];
	int r = EBUSY;

	memset(&request, 0, sizeof(request));
	strcpy(request.path.path, question->path);
	proto_writer_init(&writer, bytes, sizeof(bytes));
	(void) proto_encode_resolve_request(&writer, &request);
	for (unsigned i = 0; i < RESOLVE_TRIES && r == EBUSY; i++) {
		if (i > 0 && !rest(talk->link, 100))
			break;
		r = ask(talk, PROTO_RESOLVE, &writer, &reader);
	}
	if (r == 0 && proto_decode_resolve_reply(&reader, &reply) < 0)
		r = -EPROTO;
	answer(talk->link, question, r == 0 ? reply.path.path : r < 0 || r == EBUSY ? NULL : "");
	return r < 0 ? r : 0;
}

static int resolve_all(struct talk *talk)
{
	struct link_question *question;
	int r = 0;

	while (r == 0 && (question = next_question(talk->link)) != NULL)
		r = resolve(talk, question);
	return r;
}

static struct link_refusal *take_refusals(struct link *link)
{
	struct link_refusal *refusals;

	pthread_mutex_lock(&link->lock);
	refusals = link->refusals;
	link->refusals = NULL;
	link->refusal_count = 0;
	pthread_mutex_unlock(&link->lock);
	return refusals;
}

/* talk: NULL, they are forgotten. 0 or a negative errno. */
static int tell_refusals(struct link *link, struct talk *talk)
{
	struct link_refusal *refusal, *next, *refusals = take_refusals(link);
	int r = 0;

	LL_FOREACH_SAFE(refusals, refusal, next)
	{
		struct proto_header header = { .op = PROTO_BIND_REFUSED, .id = ++link->next_id };
		uint8_t bytes[PROTO_MOST_bind_refused_request];
		struct proto_writer writer;

		proto_writer_init(&writer, bytes, sizeof(bytes));
		if (r == 0 && talk != NULL && proto_encode_bind_refused_request(&writer, &refusal->request) == 0)
			r = proto_channel_send(&talk->channel, &header, &writer);
		free(refusal);
	}
	return r;
}

/* Follows the list until the connection or the link ends. A negative errno. */
static int serve(struct talk *talk)
{
	int r = 0;

	talk->stale = true;
	while (r == 0 && !is_stopping(talk->link)) {
		struct pollfd fds[] = { { .fd = talk->channel.fd, .events = POLLIN },
			                { .fd = talk->link->wake, .events = POLLIN } };
		struct proto_header header;
		struct proto_reader reader;
		eventfd_t count;
		int ready;

		if (talk->stale)
			r = read_list(talk);
		if (r == 0)
			r = resolve_all(talk);
		if (r == 0)
			r = tell_refusals(talk->link, talk);
		if (r < 0 || talk->stale)
			continue;
		ready = talk->channel.start != talk->channel.end ? 1 : poll(fds, 2, IDLE_MS);
		if (ready == 0)
			r = ping(talk);
		if (fds[1].revents != 0)
			(void) eventfd_read(talk->link->wake, &count);
		if (fds[0].revents != 0 || talk->channel.start != talk->channel.end) {
			r = receive(talk, PROTO_CHANGED, 0, &header, &reader);
			r = r == 1 ? 0 : r < 0 ? r : -EPROTO;
		}
	}
	return r < 0 ? r : -ESHUTDOWN;
}

/* What is wrong, for people. */
static void explain(const struct link *link, int error, const struct proto_refusal *refusal, char text[LINK_ERROR_SIZE])
{
	switch (error) {
	case -EACCES:
		(void) snprintf(text, LINK_ERROR_SIZE, "it refuses: %s", refusal->text);
		break;
	case -EKEYREJECTED:
		(void) snprintf(
		        text, LINK_ERROR_SIZE,
		        "it does not hold the token of %s: it may be another server, or one of the two files is "
		        "out of date",
		        link->config->token_file != NULL ? link->config->token_file : "nobody");
		break;
	case -EPROTO:
	case -ENOTCONN:
	case -ECONNRESET:
		(void) snprintf(text, LINK_ERROR_SIZE,
		                "what answers there does not speak this version of bindshare's protocol, or has just "
		                "stopped");
		break;
	case -EAFNOSUPPORT:
	case -ENODEV:
		(void) snprintf(
		        text, LINK_ERROR_SIZE,
		        "this kernel has no vsock: load vmw_vsock_virtio_transport, and give the virtual machine "
		        "a vsock device");
		break;
	default:
		(void) snprintf(text, LINK_ERROR_SIZE, "cannot be reached (%s): start bindshare-fileserver there",
		                strerror(-error));
	}
}

/* One connection from its beginning to its end. True: it was admitted. */
static bool connect_once(struct link *link)
{
	struct talk talk = { .link = link };
	struct proto_refusal refusal = { 0 };
	char text[LINK_ERROR_SIZE];
	int fd = proto_address_connect(&link->config->address, PROTO_HANDSHAKE_MS), r = fd;

	if (fd >= 0) {
		r = proto_channel_init(&talk.channel, fd, PROTO_HEADER_SIZE + PROTO_MOST_LIST_REPLY, STALL_MS);
		if (r < 0)
			close_fd(fd);
	}
	if (r >= 0) {
		r = proto_follow(&talk.channel, &link->token, &talk.current, &refusal);
		if (r < 0)
			proto_channel_done(&talk.channel);
	}
	if (r < 0) {
		explain(link, r, &refusal, text);
		set_status(link, r == -EACCES || r == -EKEYREJECTED ? LINK_REFUSED : LINK_CONNECTING, text);
		return false;
	}
	set_status(link, LINK_CONNECTED, "");
	r = serve(&talk);
	proto_channel_done(&talk.channel);
	if (r == -E2BIG) {
		(void) snprintf(text, sizeof(text),
		                "it tells of %u shared directories, and more than %d are not believed",
		                talk.current.count, LINK_SHARES_MAX);
		set_status(link, LINK_REFUSED, text);
		return false;
	}
	if (r != -ESHUTDOWN) {
		(void) snprintf(text, sizeof(text), "the connection ended (%s)", strerror(-r));
		set_status(link, LINK_CONNECTING, text);
	}
	return true;
}

/* Nobody can be asked. */
static void answer_all(struct link *link)
{
	struct link_question *question;

	while ((question = next_question(link)) != NULL)
		answer(link, question, NULL);
}

static void *run(void *argument)
{
	struct link *link = argument;
	int pause = RETRY_LEAST_MS;

	do {
		if (connect_once(link))
			pause = RETRY_LEAST_MS;
		else
			pause = pause * 2 < RETRY_MOST_MS ? pause * 2 : RETRY_MOST_MS;
		answer_all(link);
		(void) tell_refusals(link, NULL);
	} while (rest(link, pause));
	answer_all(link);
	(void) tell_refusals(link, NULL);
	return NULL;
}

static void tell_answers(struct link *link)
{
	struct link_question *question, *next, *answers;

	pthread_mutex_lock(&link->lock);
	answers = link->answers;
	link->answers = NULL;
	pthread_mutex_unlock(&link->lock);
	LL_FOREACH_SAFE(answers, question, next)
	{
		question->answered(question->context, question->is_answered ? question->path : NULL);
		free(question);
	}
}

static void on_async(uv_async_t *async)
{
	struct link *link = async->data;

	tell_answers(link);
	link->changed(link->context);
}

int link_start(struct link *link, uv_loop_t *loop)
{
	int r;

	link->status = (struct link_status){ .state = LINK_CONNECTING, .since = time(NULL) };
	link->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (link->wake < 0)
		return -errno;
	pthread_mutex_init(&link->lock, NULL);
	r = uv_async_init(loop, &link->async, on_async);
	if (r < 0)
		return r;
	link->async.data = link;
	return -pthread_create(&link->thread, NULL, run, link);
}

void link_stop(struct link *link)
{
	pthread_mutex_lock(&link->lock);
	link->stopping = true;
	pthread_mutex_unlock(&link->lock);
	(void) eventfd_write(link->wake, 1);
	(void) pthread_join(link->thread, NULL);
	answer_all(link);
	tell_answers(link);
	uv_close((uv_handle_t *) &link->async, NULL);
	link_list_done(&link->list);
	link->wake = close_fd(link->wake);
	pthread_mutex_destroy(&link->lock);
}

bool link_take(struct link *link, struct link_list *ret_list)
{
	bool is_new;

	pthread_mutex_lock(&link->lock);
	is_new = link->has_list;
	if (is_new) {
		*ret_list = link->list;
		link->list = (struct link_list){ 0 };
		link->has_list = false;
	}
	pthread_mutex_unlock(&link->lock);
	return is_new;
}

void link_get_status(struct link *link, struct link_status *ret_status)
{
	pthread_mutex_lock(&link->lock);
	*ret_status = link->status;
	pthread_mutex_unlock(&link->lock);
}

int link_resolve(struct link *link, const char *path, void (*answered)(void *context, const char *path), void *context)
{
	struct link_question *question = calloc(1, sizeof(*question));

	if (question == NULL)
		return -ENOMEM;
	(void) snprintf(question->path, sizeof(question->path), "%s", path);
	question->answered = answered;
	question->context = context;
	pthread_mutex_lock(&link->lock);
	LL_APPEND(link->questions, question);
	pthread_mutex_unlock(&link->lock);
	(void) eventfd_write(link->wake, 1);
	return 0;
}

void link_tell_refused(struct link *link, const char *path, uint32_t reason)
{
	struct link_refusal *refusal = calloc(1, sizeof(*refusal));

	if (refusal == NULL || strlen(path) >= sizeof(refusal->request.path.path)) {
		free(refusal);
		return;
	}
	strcpy(refusal->request.path.path, path);
	refusal->request.reason = reason;
	pthread_mutex_lock(&link->lock);
	if (link->refusal_count < REFUSALS_MAX) {
		LL_APPEND(link->refusals, refusal);
		link->refusal_count++;
		refusal = NULL;
	}
	pthread_mutex_unlock(&link->lock);
	free(refusal);
	(void) eventfd_write(link->wake, 1);
}
