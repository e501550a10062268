/* SPDX-License-Identifier: Apache-2.0 */
/* guestd's request socket. */
#include "guest-fuse/agent/requests.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <utlist.h>

#include "guest-fuse/agent/source.h"
#include "guest-fuse/binds/ask.h"
#include "protocol/cleanup.h"
#include "protocol/clock.h"
#include "protocol/document.h"
#include "protocol/log.h"
#include "protocol/words.h"

/* RESOLVE_LEAST_MS: minimum wait for the server's answers about where paths lead. */
enum { BACKLOG = 64, SILENCE_MS = 10000, WAIT_MOST_MS = 600000, RESOLVE_LEAST_MS = 2000, VERSION = 1 };

struct requests_client {
	struct requests *requests;
	struct requests_client *prev, *next;
	uv_pipe_t pipe;
	uv_timer_t timer;
	unsigned handles; /* open ones of the two, and threads and questions that are under way */
	bool ended, taken, said;
	char *line;
	size_t have;

	/* binds */
	struct source *sources;
	size_t count;
	int64_t until, ask_until;
	struct binds_table table; /* what the decision under way looks at */
	uv_work_t work;
	bool make;             /* what is missing, and may be made */
	bool deciding, asking; /* one at a time: both look at the sources */
	bool again;            /* the table changed meanwhile */
};

struct reply {
	uv_write_t write;
	uv_shutdown_t shutdown;
	struct requests_client *client;
	char *line;
};

static void free_sources(struct requests_client *client)
{
	for (size_t i = 0; i < client->count; i++)
		source_done(&client->sources[i]);
	free(client->sources);
	client->sources = NULL;
	client->count = 0;
}

static void release(struct requests_client *client)
{
	if (--client->handles > 0)
		return;
	free_sources(client);
	binds_table_done(&client->table);
	free(client->line);
	free(client);
}

static void on_closed(uv_handle_t *handle)
{
	release(handle->data);
}

static void client_end(struct requests_client *client)
{
	if (client->ended)
		return;
	client->ended = true;
	DL_DELETE(client->requests->clients, client);
	client->requests->count--;
	uv_close((uv_handle_t *) &client->pipe, on_closed);
	uv_close((uv_handle_t *) &client->timer, on_closed);
}

static void on_allocate(uv_handle_t *handle, size_t suggested, uv_buf_t *buffer);
static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buffer);

static void reply_free(struct reply *reply)
{
	free(reply->line);
	free(reply);
}

static void on_shut_down(uv_shutdown_t *shutdown, int status)
{
	struct reply *reply = shutdown->data;
	struct requests_client *client = reply->client;

	if (status == 0 && !client->ended)
		status = uv_read_start((uv_stream_t *) &client->pipe, on_allocate, on_read);
	if (status < 0 && status != UV_EALREADY)
		client_end(client);
	release(client);
	reply_free(reply);
}

/* Then the client closes: a close with bytes unread would take the answer from it. */
static void on_written(uv_write_t *write, int status)
{
	struct reply *reply = write->data;

	if (status < 0 || reply->client->ended ||
	    uv_shutdown(&reply->shutdown, (uv_stream_t *) &reply->client->pipe, on_shut_down) < 0) {
		client_end(reply->client);
		release(reply->client);
		reply_free(reply);
	}
}

/* Takes answer. */
static void say(struct requests_client *client, json_t *answer)
{
	_cleanup_json_ json_t *object = answer;
	struct reply *reply = calloc(1, sizeof(*reply));
	char *text = object == NULL ? NULL : json_dumps(object, JSON_COMPACT);
	uv_buf_t buffer;

	if (reply == NULL || text == NULL || asprintf(&reply->line, "%s\n", text) < 0) {
		free(reply);
		free(text);
		client_end(client);
		return;
	}
	free(text);
	client->said = true;
	reply->client = client;
	reply->write.data = reply->shutdown.data = reply;
	buffer = uv_buf_init(reply->line, (unsigned) strlen(reply->line));
	(void) uv_timer_start(&client->timer, client->timer.timer_cb, SILENCE_MS, 0);
	client->handles++;
	if (uv_write(&reply->write, (uv_stream_t *) &client->pipe, &buffer, 1, on_written) < 0) {
		client_end(client);
		release(client);
		reply_free(reply);
	}
}

static void refuse(struct requests_client *client, const char *code, const char *text)
{
	say(client, json_pack("{s:i, s:b, s:s, s:s}", "version", VERSION, "ok", 0, "code", code, "text", text));
}

static json_t *status(const struct requests *requests)
{
	static const char *const states[] = { "connecting", "connected", "refused" };
	struct link_status link;

	link_get_status(requests->link, &link);
	return json_pack("{s:i, s:b, s:s, s:i, s:{s:s, s:s, s:I, s:s?}, s:o}", "version", VERSION, "ok", 1, "release",
	                 BINDSHARE_VERSION, "pid", (int) getpid(), "server", "address", requests->config->address_text,
	                 "state", states[link.state], "since", (json_int_t) link.since, "error",
	                 link.error[0] != '\0' ? link.error : NULL, "shares", mounts_json(requests->mounts));
}

/* In a thread: mounts may be slow. */
static void decide(uv_work_t *work)
{
	struct requests_client *client = work->data;

	for (size_t i = 0; i < client->count; i++)
		source_decide(&client->sources[i], client->requests->config, &client->table, client->make);
}

static void on_decided(uv_work_t *work, int state);

static void start_deciding(struct requests_client *client)
{
	binds_table_done(&client->table);
	client->again = false;
	if (mounts_table(client->requests->mounts, &client->table) < 0 ||
	    uv_queue_work(client->requests->loop, &client->work, decide, on_decided) < 0) {
		refuse(client, "internal", "bindshare-guestd has no memory left");
		return;
	}
	client->handles++;
	client->deciding = true;
}

/* Nobody says where these paths lead. */
static void not_reached(struct requests_client *client)
{
	for (size_t i = 0; i < client->count; i++)
		source_not_reached(&client->sources[i], client->requests->config);
}

/* Whoever asked counts the answers: one that is missing, for want of memory, is not taken for a yes. */
static void say_decisions(struct requests_client *client)
{
	json_t *list = json_array();

	not_reached(client);
	for (size_t i = 0; i < client->count; i++) {
		const struct source *source = &client->sources[i];

		(void) json_array_append(list, source->answer);
		if (source->refused != NULL)
			link_tell_refused(client->requests->link, source->refused, source->reason);
	}
	say(client, json_pack("{s:i, s:b, s:o}", "version", VERSION, "ok", 1, "binds", list));
}

/* The first source that the server is to be asked about, or NULL. */
static struct source *first_to_ask(struct requests_client *client)
{
	for (size_t i = 0; i < client->count; i++)
		if (client->sources[i].ask != NULL)
			return &client->sources[i];
	return NULL;
}

static void go_on(struct requests_client *client);

static void on_resolved(void *context, const char *path)
{
	struct requests_client *client = context;
	struct source *source = first_to_ask(client);

	client->asking = false;
	if (client->ended || client->said || source == NULL) {
		release(client);
		return;
	}
	if (path == NULL) {
		not_reached(client);
		go_on(client);
	} else {
		free(source->resolved);
		source->resolved = strdup(path);
		free(source->ask);
		source->ask = NULL;
		start_deciding(client);
	}
	release(client);
}

/* One question at a time: the answer goes to the first source that has one. True: one is under way. */
static bool ask_server(struct requests_client *client)
{
	const struct source *source = first_to_ask(client);
	int64_t left = client->ask_until - clock_ms();
	struct link_status link;

	if (source == NULL)
		return false;
	/* Without a connection a question would make the link try to connect, and the failure would wake us again. */
	link_get_status(client->requests->link, &link);
	if (left <= 0 || link.state != LINK_CONNECTED ||
	    link_resolve(client->requests->link, source->ask, on_resolved, client) < 0) {
		not_reached(client);
		return false;
	}
	client->handles++;
	client->asking = true;
	(void) uv_timer_start(&client->timer, client->timer.timer_cb, (uint64_t) left, 0);
	return true;
}

/* Waits for a change of the table, as long as it may. True: it does. */
static bool keep_waiting(struct requests_client *client)
{
	int64_t left = client->until - clock_ms();
	bool waits = false;

	for (size_t i = 0; i < client->count; i++)
		waits = waits || client->sources[i].waits;
	if (!waits || left <= 0)
		return false;
	(void) uv_timer_start(&client->timer, client->timer.timer_cb, (uint64_t) left, 0);
	return true;
}

/* What was decided is there: what is to happen next. */
static void go_on(struct requests_client *client)
{
	if (ask_server(client))
		return;
	if (client->again && clock_ms() < client->until)
		start_deciding(client);
	else if (!keep_waiting(client))
		say_decisions(client);
}

static void on_decided(uv_work_t *work, int state)
{
	struct requests_client *client = work->data;

	client->deciding = false;
	if (!client->ended && !client->said)
		go_on(client);
	release(client);
}

/* The client's silence, or the end of what it waits for. */
static void on_timer(uv_timer_t *timer)
{
	struct requests_client *client = timer->data;

	if (client->taken && client->count > 0 && !client->said) {
		client->until = client->ask_until = 0;
		if (!client->deciding)
			say_decisions(client);
	} else {
		client_end(client);
	}
}

/* A path as a string, or as {"path": ..., "create": true}. 0, -EINVAL, -ENOMEM. */
static void take_binds(struct requests_client *client, const json_t *request)
{
	const json_t *sources = json_object_get(request, "sources"), *wait = json_object_get(request, "waitMs");
	json_int_t wait_ms = wait == NULL ? 0 : json_integer_value(wait);
	size_t count = json_array_size(sources);
	int r = json_is_array(sources) && count <= REQUESTS_SOURCES_MAX ? 0 : -EINVAL;

	if ((wait != NULL && !json_is_integer(wait)) || wait_ms < 0 || wait_ms > WAIT_MOST_MS)
		r = -EINVAL;
	if (r == 0)
		client->sources = calloc(count + 1, sizeof(*client->sources));
	if (r == 0 && client->sources == NULL)
		r = -ENOMEM;
	for (size_t i = 0; i < count && r == 0; i++)
		r = source_init(&client->sources[client->count++], json_array_get(sources, i));
	if (r < 0) {
		free_sources(client);
		refuse(client, "bad-request",
		       "binds wants \"sources\", a list of at most 1024 paths, and \"waitMs\" from 0 to 600000");
		return;
	}
	client->make = json_is_true(json_object_get(request, "make"));
	client->until = clock_ms() + wait_ms;
	client->ask_until = clock_ms() + (wait_ms > RESOLVE_LEAST_MS ? wait_ms : RESOLVE_LEAST_MS);
	(void) uv_timer_stop(&client->timer);
	start_deciding(client);
}

static void take_line(struct requests_client *client)
{
	_cleanup_json_ json_t *request = json_loads(client->line, JSON_REJECT_DUPLICATES, NULL);
	const json_t *version = json_object_get(request, "version");
	const char *name = json_string_value(json_object_get(request, "request"));

	client->taken = true;
	(void) uv_read_stop((uv_stream_t *) &client->pipe);
	if (!json_is_object(request) || name == NULL)
		refuse(client, "bad-request", "a request is a line of JSON: {\"version\":1,\"request\":\"status\"}");
	else if (!json_is_integer(version) || json_integer_value(version) != VERSION)
		refuse(client, "bad-version", "this bindshare-guestd speaks version 1 of its requests");
	else if (strcmp(name, "status") == 0)
		say(client, status(client->requests));
	else if (strcmp(name, "binds") == 0)
		take_binds(client, request);
	else
		refuse(client, "unknown-request", "there are the requests status and binds");
}

static void on_allocate(uv_handle_t *handle, size_t suggested, uv_buf_t *buffer)
{
	struct requests_client *client = handle->data;

	/* What comes behind the request is thrown away. */
	if (client->taken)
		client->have = 0;
	*buffer = uv_buf_init(client->line + client->have, (unsigned) (BINDS_LINE_MAX - 1 - client->have));
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buffer)
{
	struct requests_client *client = stream->data;
	char *newline;

	if (n == 0)
		return;
	if (n == UV_ENOBUFS) {
		client->taken = true;
		refuse(client, "too-long", "a request has at most 256 KiB");
		return;
	}
	if (n < 0) {
		client_end(client);
		return;
	}
	if (client->taken)
		return;
	client->have += (size_t) n;
	client->line[client->have] = '\0';
	newline = strchr(client->line, '\n');
	if (newline == NULL)
		return;
	*newline = '\0';
	take_line(client);
}

static bool is_root(const uv_pipe_t *pipe)
{
	struct ucred credentials;
	socklen_t length = sizeof(credentials);
	uv_os_fd_t fd;

	return uv_fileno((const uv_handle_t *) pipe, &fd) == 0 &&
	       getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &credentials, &length) == 0 && credentials.uid == 0;
}

static void on_connection(uv_stream_t *server, int state)
{
	struct requests *requests = server->data;
	struct requests_client *client = state < 0 ? NULL : calloc(1, sizeof(*client));

	if (client == NULL)
		return;
	client->requests = requests;
	client->line = malloc(BINDS_LINE_MAX);
	(void) uv_pipe_init(requests->loop, &client->pipe, 0);
	(void) uv_timer_init(requests->loop, &client->timer);
	client->pipe.data = client->timer.data = client->work.data = client;
	client->handles = 2;
	DL_APPEND(requests->clients, client);
	requests->count++;
	if (client->line == NULL || uv_accept(server, (uv_stream_t *) &client->pipe) < 0 ||
	    requests->count > REQUESTS_CLIENTS_MAX || uv_timer_start(&client->timer, on_timer, SILENCE_MS, 0) < 0) {
		client_end(client);
		return;
	}
	if (!is_root(&client->pipe)) {
		client->taken = true;
		refuse(client, "not-root", "only root may ask bindshare-guestd");
		return;
	}
	if (uv_read_start((uv_stream_t *) &client->pipe, on_allocate, on_read) < 0)
		client_end(client);
}

/* A socket that nobody listens at may be replaced. */
static bool is_in_use(const char *path)
{
	_cleanup_json_ json_t *answer = NULL;
	char error[512];

	return binds_ask_status(path, 1000, &answer, error, sizeof(error)) != -ECONNREFUSED;
}

int requests_open(struct requests *requests, char *error, size_t error_size)
{
	char path[sizeof(((struct sockaddr_un *) 0)->sun_path)];
	int r = guest_config_socket(requests->config, path, error, error_size);

	if (r < 0)
		return r;
	if (is_in_use(path))
		return words_refuse(-EADDRINUSE, error, error_size,
		                    "another bindshare-guestd listens at %s; stop it first", path);
	(void) unlink(path);
	(void) uv_pipe_init(requests->loop, &requests->pipe, 0);
	requests->pipe.data = requests;
	r = uv_pipe_bind(&requests->pipe, path);
	if (r == 0 && chmod(path, 0600) < 0)
		r = -errno;
	if (r == 0)
		r = uv_listen((uv_stream_t *) &requests->pipe, BACKLOG, on_connection);
	if (r == 0)
		return 0;
	uv_close((uv_handle_t *) &requests->pipe, NULL);
	return words_refuse(r, error, error_size, "cannot listen at %s: %s", path, strerror(-r));
}

void requests_look(struct requests *requests)
{
	struct requests_client *client, *next;

	DL_FOREACH_SAFE(requests->clients, client, next)
	{
		if (client->count == 0 || client->said)
			continue;
		if (client->deciding || client->asking)
			client->again = true;
		else if (uv_is_active((uv_handle_t *) &client->timer)) {
			(void) uv_timer_stop(&client->timer);
			start_deciding(client);
		}
	}
}

void requests_close(struct requests *requests)
{
	struct requests_client *client, *next;

	requests->closing = true;
	uv_close((uv_handle_t *) &requests->pipe, NULL);
	DL_FOREACH_SAFE(requests->clients, client, next)
	{
		client_end(client);
	}
}
