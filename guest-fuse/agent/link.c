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

#include "guest-fuse/agent/talk.h"
#include "protocol/cleanup.h"
#include "protocol/log.h"

enum {
	IDLE_MS = 60000, /* between two PINGs */
	RETRY_LEAST_MS = 200,
	RETRY_MOST_MS = 10000,
	RESOLVE_TRIES = 5,
	RESOLVE_PAUSE_MS = 100, /* between two of them */
	REFUSALS_MAX = 16,      /* that wait to be told */
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
static int resolve(struct link *link, struct talk *talk, struct link_question *question)
{
	struct proto_resolve_reply reply = { .path.path = "" };
	int r = EBUSY;

	for (unsigned i = 0; i < RESOLVE_TRIES && r == EBUSY; i++) {
		if (i > 0 && !rest(link, RESOLVE_PAUSE_MS))
			break;
		r = talk_resolve(talk, question->path, &reply);
	}
	answer(link, question, r == 0 ? reply.path.path : r < 0 || r == EBUSY ? NULL : "");
	return r < 0 ? r : 0;
}

static int resolve_all(struct link *link, struct talk *talk)
{
	struct link_question *question;
	int r = 0;

	while (r == 0 && (question = next_question(link)) != NULL)
		r = resolve(link, talk, question);
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
		if (r == 0 && talk != NULL)
			r = talk_tell_refused(talk, &refusal->request);
		free(refusal);
	}
	return r;
}

/* Reads the list, and hands it on to the loop. 0 or a negative errno. */
static int take_list(struct link *link, struct talk *talk)
{
	struct share_list list;
	int r = talk_read_list(talk, &list);

	if (r < 0)
		return r;
	pthread_mutex_lock(&link->lock);
	share_list_done(&link->list);
	link->list = list;
	link->has_list = true;
	pthread_mutex_unlock(&link->lock);
	(void) uv_async_send(&link->async);
	return 0;
}

/* Follows the list until the connection or the link ends. A negative errno. */
static int serve(struct link *link, struct talk *talk)
{
	int r = 0;

	while (r == 0 && !is_stopping(link)) {
		struct pollfd fds[] = { { .fd = talk->channel.fd, .events = POLLIN },
			                { .fd = link->wake, .events = POLLIN } };
		eventfd_t count;
		int ready;

		if (talk->outdated)
			r = take_list(link, talk);
		if (r == 0)
			r = resolve_all(link, talk);
		if (r == 0)
			r = tell_refusals(link, talk);
		if (r < 0 || talk->outdated)
			continue;
		ready = talk_has_read(talk) ? 1 : poll(fds, 2, IDLE_MS);
		if (ready == 0)
			r = talk_ping(talk);
		if (fds[1].revents != 0)
			(void) eventfd_read(link->wake, &count);
		if (fds[0].revents != 0 || talk_has_read(talk))
			r = talk_take_news(talk);
	}
	return r < 0 ? r : -ESHUTDOWN;
}

/* One connection from its beginning to its end. True: it was admitted. */
static bool connect_once(struct link *link)
{
	struct talk talk;
	struct proto_refusal refusal = { 0 };
	char text[LINK_ERROR_SIZE];
	int r = proto_address_connect(&link->config->address, PROTO_HANDSHAKE_MS);

	if (r >= 0)
		r = talk_begin(&talk, r, &link->token, &refusal);
	if (r < 0) {
		talk_explain(r, &refusal, link->config->token_file, text, sizeof(text));
		set_status(link, r == -EACCES || r == -EKEYREJECTED ? LINK_REFUSED : LINK_CONNECTING, text);
		return false;
	}
	set_status(link, LINK_CONNECTED, "");
	r = serve(link, &talk);
	talk_end(&talk);
	if (r == -E2BIG) {
		(void) snprintf(text, sizeof(text),
		                "it tells of %u shared directories, and more than %d are not believed",
		                talk.current.count, SHARE_LIST_MAX);
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
	share_list_done(&link->list);
	link->wake = close_fd(link->wake);
	pthread_mutex_destroy(&link->lock);
}

bool link_take(struct link *link, struct share_list *ret_list)
{
	bool is_new;

	pthread_mutex_lock(&link->lock);
	is_new = link->has_list;
	if (is_new) {
		*ret_list = link->list;
		link->list = (struct share_list){ 0 };
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
