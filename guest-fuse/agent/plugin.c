/* SPDX-License-Identifier: Apache-2.0 */
/* The Docker authorization plugin. */
#include "guest-fuse/agent/plugin.h"

#include <errno.h>
#include <fcntl.h>
#include <microhttpd.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "guest-fuse/agent/authorize.h"
#include "guest-fuse/binds/ask.h"
#include "protocol/cleanup.h"
#include "protocol/document.h"
#include "protocol/log.h"
#include "protocol/notify.h"
#include "protocol/number.h"
#include "protocol/words.h"

enum { BODY_MAX = 4 * 1024 * 1024, BACKLOG = 64, CONNECTIONS = 256, ERROR_SIZE = AUTHORIZE_TEXT_SIZE, SILENCE_S = 120 };
enum { LISTEN_FDS_START = 3 /* sd_listen_fds(3) */ };

struct plugin {
	struct plugin_options options;
	struct MHD_Daemon *daemon;
	bool made; /* the socket was */
};

/* A request's body as it comes in. */
struct upload {
	char *bytes;
	size_t length;
	bool too_long;
};

static enum MHD_Result reply(struct MHD_Connection *connection, unsigned status, json_t *answer)
{
	_cleanup_json_ json_t *object = answer;
	char *text = object == NULL ? NULL : json_dumps(object, JSON_COMPACT);
	struct MHD_Response *response;
	enum MHD_Result result;

	if (text == NULL)
		return MHD_NO;
	response = MHD_create_response_from_buffer(strlen(text), text, MHD_RESPMEM_MUST_FREE);
	if (response == NULL) {
		free(text);
		return MHD_NO;
	}
	(void) MHD_add_response_header(response, "Content-Type", "application/vnd.docker.plugins.v1.1+json");
	result = MHD_queue_response(connection, status, response);
	MHD_destroy_response(response);
	return result;
}

/* dockerd refuses the client's request then, too. */
static enum MHD_Result fail(struct MHD_Connection *connection, unsigned status, const char *text)
{
	return reply(connection, status, json_pack("{s:s}", "Err", text));
}

static enum MHD_Result allow(struct MHD_Connection *connection)
{
	return reply(connection, MHD_HTTP_OK, json_pack("{s:b}", "Allow", 1));
}

static enum MHD_Result deny(struct MHD_Connection *connection, const char *text)
{
	return reply(connection, MHD_HTTP_OK, json_pack("{s:b, s:s}", "Allow", 0, "Msg", text));
}

/*
 * What guestd says about them; make: it makes what dockerd would, so that it is the host user's and not that of a user
 * whom dockerd chooses for the containers' root. 0: they are allowed; 1: the same, and some are to be made; -EACCES and
 * words.
 */
static int ask(const struct guest_config *config, const struct engine_binds *binds, bool make, char text[ERROR_SIZE])
{
	char socket_path[sizeof(((struct sockaddr_un *) 0)->sun_path)], error[ERROR_SIZE - 32];
	_cleanup_json_ json_t *answer = NULL;
	int r = guest_config_socket(config, socket_path, error, sizeof(error));

	if (r == 0)
		r = binds_ask_binds(socket_path, json_incref(binds->sources), config->wait_ms, make, &answer, error,
		                    sizeof(error));
	if (r < 0) {
		(void) snprintf(text, ERROR_SIZE, "Mounts denied: %s", error);
		return -EACCES;
	}
	r = authorize_decide(config->runtime_name, binds, json_object_get(answer, "binds"), text);
	if (r < 0)
		log_peer_info("refused: %s", text);
	return r;
}

static enum MHD_Result decide(const struct guest_config *config, struct MHD_Connection *connection,
                              const struct engine_binds *binds)
{
	char text[ERROR_SIZE];
	int r = ask(config, binds, false, text);

	/* Nothing is made for a request of which something is refused. */
	if (r == 1)
		r = ask(config, binds, true, text);
	return r < 0 ? deny(connection, text) : allow(connection);
}

/* The same, by the configuration as it is now where there was none at the start. */
static enum MHD_Result decide_by(const struct plugin_options *options, struct MHD_Connection *connection,
                                 const struct engine_binds *binds)
{
	char error[ERROR_SIZE - 32], text[ERROR_SIZE];
	struct guest_config config;
	enum MHD_Result result;

	if (options->config != NULL)
		return decide(options->config, connection, binds);
	if (guest_config_read(options->config_file, &config, error, sizeof(error)) < 0) {
		(void) snprintf(text, sizeof(text), "Mounts denied: %s", error);
		return deny(connection, text);
	}
	result = decide(&config, connection, binds);
	guest_config_done(&config);
	return result;
}

static enum MHD_Result authorize(const struct plugin *plugin, struct MHD_Connection *connection,
                                 const struct upload *upload)
{
	struct authorize_question question;
	struct engine_binds binds;
	enum MHD_Result result;
	char error[ERROR_SIZE];

	if (authorize_read(upload->bytes != NULL ? upload->bytes : "", upload->length, &question, error,
	                   sizeof(error)) < 0)
		return fail(connection, MHD_HTTP_BAD_REQUEST, error);
	switch (engine_read(&question.request, &binds, error, sizeof(error))) {
	case ENGINE_HARMLESS:
		result = allow(connection);
		break;
	case ENGINE_BINDS:
		result = decide_by(&plugin->options, connection, &binds);
		json_decref(binds.sources);
		break;
	default:
		log_peer_info("refused %s %s: %s", question.request.method, question.request.uri, error);
		result = deny(connection, error);
	}
	authorize_question_done(&question);
	return result;
}

static enum MHD_Result answer(const struct plugin *plugin, struct MHD_Connection *connection, const char *path,
                              const struct upload *upload)
{
	if (upload->too_long)
		return fail(connection, MHD_HTTP_CONTENT_TOO_LARGE, "a request has at most 4 MiB");
	if (strcmp(path, "/Plugin.Activate") == 0)
		return reply(connection, MHD_HTTP_OK, json_pack("{s:[s]}", "Implements", "authz"));
	if (strcmp(path, "/AuthZPlugin.AuthZReq") == 0)
		return authorize(plugin, connection, upload);
	if (strcmp(path, "/AuthZPlugin.AuthZRes") == 0)
		return allow(connection);
	return fail(connection, MHD_HTTP_NOT_FOUND,
	            "there are /Plugin.Activate, /AuthZPlugin.AuthZReq and /AuthZPlugin.AuthZRes");
}

/* False: no memory. */
static bool take(struct upload *upload, const char *bytes, size_t size)
{
	char *more;

	if (upload->too_long || upload->length + size > BODY_MAX) {
		upload->too_long = true;
		return true;
	}
	more = realloc(upload->bytes, upload->length + size);
	if (more == NULL)
		return false;
	memcpy(more + upload->length, bytes, size);
	upload->bytes = more;
	upload->length += size;
	return true;
}

/* libmicrohttpd calls it for the head, for each part of the body, and at its end. */
static enum MHD_Result on_request(void *context, struct MHD_Connection *connection, const char *path,
                                  const char *method, const char *version, const char *data, size_t *size,
                                  void **request)
{
	struct upload *upload = *request;

	if (upload == NULL) {
		*request = calloc(1, sizeof(*upload));
		return *request == NULL ? MHD_NO : MHD_YES;
	}
	if (*size > 0) {
		bool taken = take(upload, data, *size);

		*size = 0;
		return taken ? MHD_YES : MHD_NO;
	}
	if (strcmp(method, "POST") != 0)
		return fail(connection, MHD_HTTP_METHOD_NOT_ALLOWED, "requests to the plugin are POST");
	return answer(context, connection, path, upload);
}

static void on_completed(void *context, struct MHD_Connection *connection, void **request,
                         enum MHD_RequestTerminationCode code)
{
	struct upload *upload = *request;

	if (upload != NULL)
		free(upload->bytes);
	free(upload);
	*request = NULL;
}

/* Its directories, 0755; and no socket of one that has ended. 0 or a negative errno. */
static int prepare(const char *path)
{
	_cleanup_free_ char *directory = strdup(path);

	if (directory == NULL)
		return -ENOMEM;
	for (char *slash = strchr(directory + 1, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		if (mkdir(directory, 0755) < 0 && errno != EEXIST)
			return -errno;
		*slash = '/';
	}
	return unlink(path) < 0 && errno != ENOENT ? -errno : 0;
}

/* -EADDRINUSE: somebody listens there. */
static int listen_at(const char *path)
{
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	_cleanup_close_ int other = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	mode_t mask;
	int r;

	if (fd < 0 || other < 0 || strlen(path) >= sizeof(address.sun_path))
		return fd < 0 || other < 0 ? -errno : -ENAMETOOLONG;
	strcpy(address.sun_path, path);
	if (connect(other, (struct sockaddr *) &address, sizeof(address)) == 0 || errno == EAGAIN)
		return -EADDRINUSE;
	r = prepare(path);
	if (r < 0)
		return r;
	mask = umask(0177);
	r = bind(fd, (struct sockaddr *) &address, sizeof(address)) < 0 || listen(fd, BACKLOG) < 0 ? -errno : 0;
	umask(mask);
	return r < 0 ? r : TAKE_FD(fd);
}

int plugin_start(const struct plugin_options *options, struct plugin **ret_plugin, char *error, size_t error_size)
{
	struct plugin *plugin = calloc(1, sizeof(*plugin));
	int fd = plugin == NULL ? -ENOMEM : options->fd >= 0 ? options->fd : listen_at(options->path);

	if (fd < 0) {
		free(plugin);
		return words_refuse(fd, error, error_size, "the authorization plugin cannot listen at %s: %s",
		                    options->path, fd == -EADDRINUSE ? "another one does" : strerror(-fd));
	}
	plugin->options = *options;
	plugin->made = options->fd < 0;
	(void) fcntl(fd, F_SETFL, O_NONBLOCK);
	(void) fcntl(fd, F_SETFD, FD_CLOEXEC);
	plugin->daemon = MHD_start_daemon(
	        MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_THREAD_PER_CONNECTION | MHD_USE_POLL, 0, NULL, NULL,
	        on_request, plugin, MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_NOTIFY_COMPLETED, on_completed, NULL,
	        MHD_OPTION_CONNECTION_LIMIT, (unsigned) CONNECTIONS, MHD_OPTION_CONNECTION_TIMEOUT,
	        (unsigned) SILENCE_S, MHD_OPTION_END);
	if (plugin->daemon == NULL) {
		close_fd(fd);
		free(plugin);
		return words_refuse(-EIO, error, error_size, "the authorization plugin does not start");
	}
	*ret_plugin = plugin;
	return 0;
}

void plugin_stop(struct plugin *plugin)
{
	if (plugin == NULL)
		return;
	MHD_stop_daemon(plugin->daemon);
	if (plugin->made)
		(void) unlink(plugin->options.path);
	free(plugin);
}

/* The socket that the service manager holds, as of sd_listen_fds(3). -EBADF: it gave none. */
static int listening_socket(void)
{
	const char *pid = getenv("LISTEN_PID"), *count = getenv("LISTEN_FDS");
	uint64_t own = (uint64_t) getpid(), number;

	if (pid == NULL || count == NULL || strcmp(count, "1") != 0)
		return -EBADF;
	return number_parse(pid, own, own, &number) == 0 ? LISTEN_FDS_START : -EBADF;
}

int plugin_run(const char *config_file, const char *path, char *error, size_t error_size)
{
	const struct plugin_options options = { .config_file = config_file, .path = path, .fd = listening_socket() };
	struct plugin *plugin = NULL;
	sigset_t signals;
	int number, r;

	if (options.fd < 0 && path == NULL)
		return words_refuse(-EINVAL, error, error_size,
		                    "the authorization plugin has no socket: \"pluginSocket\" is null");
	(void) sigemptyset(&signals);
	(void) sigaddset(&signals, SIGTERM);
	(void) sigaddset(&signals, SIGINT);
	/* Before there are threads, which inherit it. */
	(void) sigprocmask(SIG_BLOCK, &signals, NULL);
	r = plugin_start(&options, &plugin, error, error_size);
	if (r < 0)
		return r;
	log_info("decides what containers may bind, at %s", options.fd >= 0 ? "the service manager's socket" : path);
	(void) notify_send("READY=1");
	(void) sigwait(&signals, &number);
	(void) notify_send("STOPPING=1");
	plugin_stop(plugin);
	return 0;
}
