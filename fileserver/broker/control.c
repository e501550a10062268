/* SPDX-License-Identifier: Apache-2.0 */
/* The control socket: its clients. */
#include "fileserver/broker/control.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <utlist.h>

#include "protocol/cleanup.h"

struct control_client {
	struct control *control;
	struct control_client *prev, *next;
	uv_poll_t poll;
	uv_timer_t timer;
	unsigned handles;
	int fd;
	char request[CONTROL_REQUEST_MAX];
	size_t have;
	char *answer; /* with its newline */
	size_t length, sent;
};

static void on_closed(uv_handle_t *handle)
{
	struct control_client *client = handle->data;

	if (--client->handles > 0)
		return;
	free(client->answer);
	free(client);
}

static void client_end(struct control_client *client)
{
	DL_DELETE(client->control->clients, client);
	client->control->count--;
	uv_close((uv_handle_t *) &client->poll, on_closed);
	uv_close((uv_handle_t *) &client->timer, on_closed);
	client->fd = close_fd(client->fd);
}

static void on_timeout(uv_timer_t *timer)
{
	client_end(timer->data);
}

static void on_writable(uv_poll_t *poll, int status, int events)
{
	struct control_client *client = poll->data;
	ssize_t n = send(client->fd, client->answer + client->sent, client->length - client->sent,
	                 MSG_NOSIGNAL | MSG_DONTWAIT);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n > 0)
		client->sent += (size_t) n;
	if (n <= 0 || client->sent == client->length)
		client_end(client);
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
	struct control_client *client = poll->data;
	ssize_t n =
	        recv(client->fd, client->request + client->have, sizeof(client->request) - client->have, MSG_DONTWAIT);
	char *end;

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		client_end(client);
		return;
	}
	client->have += (size_t) n;
	end = memchr(client->request, '\n', client->have);
	if (end == NULL && client->have < sizeof(client->request))
		return;
	client->answer = control_answer(&client->control->facts, client->request,
	                                end == NULL ? 0 : (size_t) (end - client->request));
	if (client->answer == NULL) {
		client_end(client);
		return;
	}
	client->length = strlen(client->answer) + 1;
	client->answer[client->length - 1] = '\n';
	if (uv_poll_start(poll, UV_WRITABLE, on_writable) < 0)
		client_end(client);
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
	if (uv_timer_start(&client->timer, on_timeout, CONTROL_DEADLINE_MS, 0) < 0 ||
	    uv_poll_start(&client->poll, UV_READABLE, on_readable) < 0)
		client_end(client);
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
	if (r < 0)
		return r;
	r = listener_open(&control->listener, loop, &address, CONTROL_CLIENTS_MAX, on_accepted, control);
	if (r == -EADDRINUSE)
		(void) snprintf(error, error_size, "another file server has the control socket %s; use --control",
		                path);
	else if (r < 0)
		(void) snprintf(error, error_size, "cannot make the control socket %s: %s", path, strerror(-r));
	return r;
}

void control_close(struct control *control)
{
	struct control_client *client, *next;

	listener_close(&control->listener);
	DL_FOREACH_SAFE(control->clients, client, next)
	{
		client_end(client);
	}
}
