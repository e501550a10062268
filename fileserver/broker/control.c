/* SPDX-License-Identifier: Apache-2.0 */
/* The control socket: its clients. */
#include "fileserver/broker/control.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <utlist.h>

#include "protocol/cleanup.h"
#include "protocol/clock.h"

struct control_client {
	struct control *control;
	struct control_client *prev, *next;
	uv_poll_t poll;
	uv_timer_t timer;
	unsigned handles;
	int fd;
	char request[CONTROL_REQUEST_MAX];
	size_t have;
	char *output; /* what is to be sent from sent on, with its newlines */
	size_t length, sent;
	enum control_next next_step;
	bool answered;        /* the request was read in full */
	bool said;            /* the answer is sent: until the client closes, what else it sends is thrown away */
	struct uptake uptake; /* while next_step is CONTROL_UPTAKE */
};

static void on_closed(uv_handle_t *handle)
{
	struct control_client *client = handle->data;

	if (--client->handles > 0)
		return;
	free(client->output);
	free(client);
}

static void client_end(struct control_client *client)
{
	if (client->next_step == CONTROL_UPTAKE)
		uptake_end(client->control->facts.supervisor, &client->uptake);
	DL_DELETE(client->control->clients, client);
	client->control->count--;
	uv_close((uv_handle_t *) &client->poll, on_closed);
	uv_close((uv_handle_t *) &client->timer, on_closed);
	client->fd = close_fd(client->fd);
}

static void on_io(uv_poll_t *poll, int status, int events);
static void on_timeout(uv_timer_t *timer);
static void on_uptake_due(uv_timer_t *timer);
static void client_answer(struct control_client *client, char *line);

/* Waits for what is to happen next. */
static void client_watch(struct control_client *client)
{
	/* One who only sends no more still gets the answer. */
	int events = client->sent < client->length ? UV_WRITABLE : UV_DISCONNECT;

	/* Of a subscriber, and of one who has the answer, only the end counts. */
	if (!client->answered || client->said || client->next_step == CONTROL_SUBSCRIBE)
		events |= UV_READABLE;
	if (uv_poll_start(&client->poll, events, on_io) < 0)
		client_end(client);
}

/* Sends what the socket takes. False: the client has ended. */
static bool client_flush(struct control_client *client)
{
	ssize_t n = send(client->fd, client->output + client->sent, client->length - client->sent,
	                 MSG_NOSIGNAL | MSG_DONTWAIT);

	if (n < 0 && errno != EAGAIN && errno != EINTR) {
		client_end(client);
		return false;
	}
	if (n > 0)
		client->sent += (size_t) n;
	if (client->sent < client->length)
		return true;
	client->sent = client->length = 0;
	/* A close with bytes unread would take the answer from the client. */
	if (client->next_step != CONTROL_SUBSCRIBE) {
		client->said = true;
		(void) shutdown(client->fd, SHUT_WR);
	}
	return true;
}

/* False: no memory, or the client leaves too much unread. */
static bool client_append(struct control_client *client, const char *bytes, size_t length)
{
	size_t left = client->length - client->sent;
	char *output;

	if (client->next_step == CONTROL_SUBSCRIBE && left + length > CONTROL_BACKLOG_MAX)
		return false;
	output = malloc(left + length);
	if (output == NULL)
		return false;
	if (left > 0)
		memcpy(output, client->output + client->sent, left);
	memcpy(output + left, bytes, length);
	free(client->output);
	client->output = output;
	client->sent = 0;
	client->length = left + length;
	return true;
}

/* The answer goes out when the last worker has answered, and nothing is kept any more. */
static void client_look(struct control_client *client)
{
	const struct supervisor *supervisor = client->control->facts.supervisor;
	int64_t until = client->uptake.kept_until, now = clock_ms();
	const struct worker *worker;

	DL_FOREACH (supervisor->workers, worker) {
		if (!uptake_waits_for(&client->uptake, worker))
			continue;
		until = client->uptake.due;
		break;
	}
	if (until > now) {
		(void) uv_timer_start(&client->timer, on_uptake_due, (uint64_t) (until - now), 0);
		return;
	}
	uptake_end(client->control->facts.supervisor, &client->uptake);
	client->next_step = CONTROL_CLOSE;
	(void) uv_timer_start(&client->timer, on_timeout, CONTROL_DEADLINE_MS, 0);
	if (worker == NULL) {
		client_watch(client);
		return;
	}
	client->length = 0;
	client_answer(client, control_unanswered(&client->control->facts, &client->uptake));
}

static void on_uptake_due(uv_timer_t *timer)
{
	client_look(timer->data);
}

/* While its answer waits only a client's end is of interest; one who only sends no more waits for the answer. */
static void on_leave(uv_poll_t *handle, int status, int events)
{
	struct control_client *client = handle->data;
	struct pollfd peer = { .fd = client->fd };

	if (status < 0 || (poll(&peer, 1, 0) > 0 && (peer.revents & (POLLHUP | POLLERR)) != 0))
		client_end(client);
	else
		(void) uv_poll_stop(handle);
}

/* Takes a line without its newline, or NULL. */
static void client_answer(struct control_client *client, char *line)
{
	_cleanup_free_ char *answer = line;

	client->answered = true;
	if (answer == NULL || !client_append(client, answer, strlen(answer)) || !client_append(client, "\n", 1)) {
		client_end(client);
		return;
	}
	if (client->next_step == CONTROL_SUBSCRIBE)
		(void) uv_timer_stop(&client->timer);
	if (client->next_step == CONTROL_UPTAKE) {
		(void) uv_poll_start(&client->poll, UV_DISCONNECT, on_leave);
		client_look(client);
		return;
	}
	if (client->next_step == CONTROL_SETTLE && client->control->facts.supervisor->unsettled > 0)
		(void) uv_poll_stop(&client->poll); /* control_settled() goes on */
	else
		client_watch(client);
}

static void on_timeout(uv_timer_t *timer)
{
	struct control_client *client = timer->data;

	if (client->answered && client->next_step == CONTROL_SETTLE && client->sent == 0 &&
	    !uv_is_active((uv_handle_t *) &client->poll)) {
		client->next_step = CONTROL_CLOSE;
		client->length = 0;
		client_answer(client,
		              control_error("unsettled", "the list was changed, but a worker is still held up in the "
		                                         "host's file system and may finish what it had begun"));
		(void) uv_timer_again(timer);
	} else {
		client_end(client);
	}
}

static void take_request(struct control_client *client, const char *end)
{
	client_answer(client, control_answer(&client->control->facts, client->request, (size_t) (end - client->request),
	                                     &client->uptake, &client->next_step));
}

static void client_read(struct control_client *client)
{
	ssize_t n;
	char *end, more[4096];

	if (client->answered) {
		n = recv(client->fd, more, sizeof(more), MSG_DONTWAIT);
		if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
			client_end(client);
		return;
	}
	n = recv(client->fd, client->request + client->have, sizeof(client->request) - client->have, MSG_DONTWAIT);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0 && client->have == 0) {
		client_end(client);
		return;
	}
	if (n <= 0) {
		client_answer(client, control_error("truncated", "the request ends before its newline"));
		return;
	}
	client->have += (size_t) n;
	end = memchr(client->request, '\n', client->have);
	if (end != NULL)
		take_request(client, end);
	else if (client->have == sizeof(client->request))
		client_answer(client, control_error("too-long", "the request has more than 32768 bytes"));
}

static void on_io(uv_poll_t *poll, int status, int events)
{
	struct control_client *client = poll->data;

	if (client->answered && client->length > client->sent && (events & UV_WRITABLE) != 0) {
		if (client_flush(client))
			client_watch(client);
	} else if ((events & UV_READABLE) != 0) {
		client_read(client);
	} else if (status < 0 || (events & UV_DISCONNECT) != 0) {
		client_end(client);
	}
}

/* True: the peer is root or the user that the server runs as. */
static bool is_trusted(int fd)
{
	struct ucred credentials;
	socklen_t length = sizeof(credentials);

	return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &credentials, &length) == 0 &&
	       (credentials.uid == 0 || credentials.uid == geteuid());
}

static void on_accepted(struct listener *listener, int fd)
{
	struct control *control = listener->context;
	struct control_client *client = NULL;

	if (is_trusted(fd) && control->count < CONTROL_CLIENTS_MAX)
		client = calloc(1, sizeof(*client));
	if (client == NULL || uv_poll_init(listener->poll.loop, &client->poll, fd) < 0) {
		free(client);
		close_fd(fd);
		return;
	}
	(void) uv_timer_init(listener->poll.loop, &client->timer);
	client->handles = 2;
	client->control = control;
	client->fd = fd;
	client->poll.data = client->timer.data = client;
	DL_APPEND(control->clients, client);
	control->count++;
	if (uv_timer_start(&client->timer, on_timeout, CONTROL_DEADLINE_MS, CONTROL_DEADLINE_MS) < 0)
		client_end(client);
	else
		client_watch(client);
}

static void on_event_line(void *context, const char *line, size_t length)
{
	struct control *control = context;
	struct control_client *client, *next;

	DL_FOREACH_SAFE(control->clients, client, next)
	{
		if (!client->answered || client->next_step != CONTROL_SUBSCRIBE)
			continue;
		if (client_append(client, line, length))
			client_watch(client);
		else
			client_end(client);
	}
}

void control_settled(struct control *control)
{
	struct control_client *client, *next;

	DL_FOREACH_SAFE(control->clients, client, next)
	{
		if (client->answered && client->next_step == CONTROL_SETTLE)
			client_watch(client);
	}
}

void control_uptake_changed(struct control *control)
{
	struct control_client *client, *next;

	DL_FOREACH_SAFE(control->clients, client, next)
	{
		if (client->next_step == CONTROL_UPTAKE)
			client_look(client);
	}
}

/* The socket's directory must be open to nobody else: what has access to it can change what is shared. */
static int check_directory(const char *path, char *error, size_t error_size)
{
	char directory[sizeof(((struct proto_address *) NULL)->path)];
	const char *slash = strrchr(path, '/');
	struct stat st;

	if (slash == NULL)
		strcpy(directory, ".");
	else
		(void) snprintf(directory, sizeof(directory), "%.*s", slash == path ? 1 : (int) (slash - path), path);
	if (stat(directory, &st) < 0 || (st.st_mode & 077) == 0)
		return 0;
	(void) snprintf(error, error_size,
	                "others have access to the control socket's directory %s (mode %04o); run: chmod 700 %s",
	                directory, (unsigned) st.st_mode & 07777, directory);
	return -EPERM;
}

int control_open(struct control *control, uv_loop_t *loop, const char *path, const struct control_facts *facts,
                 char *error, size_t error_size)
{
	struct proto_address address = { .kind = PROTO_ADDRESS_UNIX };
	int r;

	control->facts = *facts;
	if (strlen(path) >= sizeof(address.path)) {
		(void) snprintf(error, error_size, "the control socket's path %s has more than %zu bytes", path,
		                sizeof(address.path) - 1);
		return -ENAMETOOLONG;
	}
	strcpy(address.path, path);
	r = listener_check_directory(&address, error, error_size);
	if (r == 0)
		r = check_directory(path, error, error_size);
	if (r < 0)
		return r;
	r = listener_open(&control->listener, loop, &address, CONTROL_CLIENTS_MAX, on_accepted, control);
	if (r == -EADDRINUSE)
		(void) snprintf(error, error_size, "another file server has the control socket %s; use --control",
		                path);
	else if (r < 0)
		(void) snprintf(error, error_size, "cannot make the control socket %s: %s", path, strerror(-r));
	if (r < 0)
		return r;
	facts->events->line = on_event_line;
	facts->events->context = control;
	return 0;
}

void control_close(struct control *control)
{
	struct control_client *client, *next;

	control->facts.events->line = NULL;
	listener_close(&control->listener);
	DL_FOREACH_SAFE(control->clients, client, next)
	{
		/* What was told last, "stopping" for example, is worth a try. */
		if (client->answered && client->length > client->sent)
			(void) send(client->fd, client->output + client->sent, client->length - client->sent,
			            MSG_NOSIGNAL | MSG_DONTWAIT);
		client_end(client);
	}
}
