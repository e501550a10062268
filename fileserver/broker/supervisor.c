/* SPDX-License-Identifier: Apache-2.0 */
/* The table of mounted shares and their workers. */
#include "fileserver/broker/supervisor.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <utlist.h>

#include "fileserver/broker/budget.h"
#include "fileserver/broker/canonical.h"
#include "fileserver/common/resolve.h"
#include "protocol/cleanup.h"
#include "protocol/log.h"

static int refuse(struct proto_refusal *refusal, enum proto_refuse code, const char *format, ...)
        __attribute__((format(printf, 3, 4)));
static int refuse(struct proto_refusal *refusal, enum proto_refuse code, const char *format, ...)
{
	va_list arguments;

	refusal->code = code;
	va_start(arguments, format);
	(void) vsnprintf(refusal->text, sizeof(refusal->text), format, arguments);
	va_end(arguments);
	return -EACCES;
}

static void worker_free(struct worker *worker)
{
	process_done(&worker->process);
	close_fd(worker->connection);
	sodium_memzero(&worker->token, sizeof(worker->token));
	free(worker->requested);
	free(worker->path);
	free(worker->peer);
	free(worker);
}

static void on_closed(uv_handle_t *handle)
{
	struct worker *worker = handle->data;

	if (--worker->handles == 0)
		worker_free(worker);
}

/* The handshake's connection, if the worker has not welcomed the client on it. */
static void refuse_connection(struct worker *worker, const char *text)
{
	if (worker->connection >= 0)
		worker->supervisor->refuse(worker->supervisor->context, TAKE_FD(worker->connection),
		                           PROTO_REFUSE_INTERNAL, text);
}

static void worker_tell(const struct worker *worker, const char *event, const char *why)
{
	struct events *events = worker->supervisor->events;

	events_tell(events, event,
	            json_pack("{so so si sb ss ss}", "share", events_text(worker->path), "requested",
	                      events_text(worker->requested), "pid", (int) worker->process.handle.pid, "read_only",
	                      worker->read_only, "peer", worker->peer, "reason", why));
}

static void worker_settled(struct worker *worker)
{
	struct supervisor *supervisor = worker->supervisor;

	if (!worker->unsettled)
		return;
	worker->unsettled = false;
	if (--supervisor->unsettled == 0 && supervisor->settled != NULL)
		supervisor->settled(supervisor->context);
}

/* A guest tried to change what the server is steered by. */
static void tell_change_refused(const struct worker *worker, uint32_t number)
{
	const struct steering *steering = worker->supervisor->steering;
	const struct steering_subject *subject;

	if (steering == NULL || number >= steering->count)
		return;
	subject = &steering->subjects[number];
	worker->supervisor->changes_refused++;
	if (!log_limit_allows(&worker->supervisor->event_limit))
		return;
	log_peer_warning("a guest (%s) was refused a change of the server's %s %s, or of what decides about it, in %s",
	                 worker->peer, subject->what, subject->path, worker->path);
	events_tell(worker->supervisor->events, "change-refused",
	            json_pack("{so ss so ss}", "share", events_text(worker->path), "what", subject->what, "protected",
	                      events_text(subject->path), "peer", worker->peer));
}

/* The worker serves. */
static bool took_ready(struct worker *worker)
{
	if (worker->state != WORKER_STATE_STARTING)
		return false;
	worker->state = WORKER_STATE_SERVING;
	worker->connection = close_fd(worker->connection);
	(void) uv_timer_stop(&worker->timer);
	log_peer_info("mounted %s%s (worker %d)", worker->path, worker->read_only ? ", read-only" : "",
	              worker->process.handle.pid);
	worker_tell(worker, "mounted", "asked for by the guest");
	return true;
}

/*
 * What a worker says is not trusted either: it has read a guest's bytes. False: it makes no sense at this point.
 */
static bool take_message(struct worker *worker, struct worker_message *message)
{
	char text[sizeof(message->text) + 64];

	/* Said before it read that it is to stop: then only its end counts. */
	if (worker->state == WORKER_STATE_STOPPING && message->type != WORKER_FAILED)
		return message->type >= WORKER_READY;
	switch (message->type) {
	case WORKER_READY:
		return took_ready(worker);
	case WORKER_SETTLED:
		if (!worker->unsettled || worker->state != WORKER_STATE_SERVING)
			return false;
		(void) uv_timer_stop(&worker->timer);
		worker_settled(worker);
		return true;
	case WORKER_WANTS:
		budget_wants(worker);
		return true;
	case WORKER_REFUSED:
		tell_change_refused(worker, message->subject);
		return true;
	case WORKER_BLAMES:
		worker->blames = true;
		return true;
	case WORKER_SYNCED:
		return uptake_answered(worker, message);
	case WORKER_FAILED:
		message->text[sizeof(message->text) - 1] = '\0';
		worker->crashed = true;
		log_peer_error("worker %d of %s: %s", worker->process.handle.pid, worker->path, message->text);
		(void) snprintf(text, sizeof(text), "The share could not be served: %s", message->text);
		refuse_connection(worker, text);
		return true;
	default:
		return false;
	}
}

static void on_exited(uv_process_t *process, int64_t status, int signal_number)
{
	struct worker *worker = process->data;
	struct supervisor *supervisor = worker->supervisor;
	struct worker_message message;

	/* What it said last. */
	while (process_receive(&worker->process, &message) == 0 && take_message(worker, &message))
		;
	if (signal_number != 0)
		LOG_PEER(worker->state == WORKER_STATE_STOPPING ? LOG_LEVEL_INFO : LOG_LEVEL_ERROR,
		         "worker %d of %s was killed by signal %d", process->pid, worker->path, signal_number);
	else if (status != 0)
		log_peer_error("worker %d of %s failed with exit code %d", process->pid, worker->path, (int) status);
	else
		log_peer_info("unmounted %s (worker %d)", worker->path, process->pid);
	if (worker->state != WORKER_STATE_STOPPING && (signal_number != 0 || status != 0 || worker->crashed))
		crashes_note(&supervisor->crashes, worker->path, worker->machine_key, uv_now(supervisor->loop));
	if (worker->blames && supervisor->peers != NULL)
		peers_fault(supervisor->peers, worker->peer_key, uv_now(supervisor->loop));
	worker_tell(worker, "unmounted",
	            worker->state == WORKER_STATE_STOPPING                 ? "stopped"
	            : signal_number != 0 || status != 0 || worker->crashed ? "failed"
	                                                                   : "unmounted");
	refuse_connection(worker, "The share could not be served: its worker ended; the server's log says why.");
	process_add_counters(&supervisor->past, worker->process.counters);
	DL_DELETE(supervisor->workers, worker);
	supervisor->count--;
	budget_apply(supervisor);
	worker_settled(worker);
	uptake_look(supervisor);
	uv_close((uv_handle_t *) &worker->poll, on_closed);
	uv_close((uv_handle_t *) &worker->timer, on_closed);
	uv_close((uv_handle_t *) process, on_closed);
	if (supervisor->stopping && supervisor->count == 0)
		supervisor->all_gone(supervisor->context);
}

static void on_kill(uv_timer_t *timer)
{
	struct worker *worker = timer->data;

	log_peer_warning("worker %d of %s did not %s in time and is killed", worker->process.handle.pid, worker->path,
	                 worker->state == WORKER_STATE_STARTING   ? "start"
	                 : worker->state == WORKER_STATE_STOPPING ? "stop"
	                                                          : "become read-only");
	(void) uv_process_kill(&worker->process.handle, SIGKILL);
}

/* Sends what the worker must have done within ms. */
static void worker_order(struct worker *worker, const struct worker_message *message, uint64_t ms)
{
	if (process_send(&worker->process, message, -1) < 0 || uv_timer_start(&worker->timer, on_kill, ms, 0) < 0)
		(void) uv_process_kill(&worker->process.handle, SIGKILL);
}

static void worker_unsettle(struct worker *worker)
{
	worker->supervisor->unsettled += !worker->unsettled;
	worker->unsettled = true;
}

static void worker_stop(struct worker *worker, enum proto_goodbye code, const char *text)
{
	struct worker_message message = { .type = WORKER_STOP, .goodbye = code };

	if (worker->state == WORKER_STATE_STOPPING)
		return;
	worker->state = WORKER_STATE_STOPPING;
	(void) snprintf(message.text, sizeof(message.text), "%s", text);
	if (code != PROTO_GOODBYE_DONE)
		worker_unsettle(worker);
	worker_order(worker, &message, worker->unsettled ? WORKER_SETTLE_MS : SUPERVISOR_STOP_MS);
}

/* The worker, which serves, refuses every change from now on. */
static void worker_make_read_only(struct worker *worker)
{
	const struct worker_message message = { .type = WORKER_READ_ONLY };

	log_peer_info("the share %s became read-only (worker %d)", worker->path, worker->process.handle.pid);
	worker->read_only = true;
	worker_unsettle(worker);
	worker_order(worker, &message, WORKER_SETTLE_MS);
	worker_tell(worker, "mount-read-only", "the share became read-only");
}

static void on_message(uv_poll_t *poll, int status, int events)
{
	struct worker *worker = poll->data;
	struct worker_message message;
	int r = process_receive(&worker->process, &message);

	if (r == -EAGAIN || (r == 0 && take_message(worker, &message)))
		return;
	/* The end, which on_exited() sees too; or nonsense. */
	(void) uv_poll_stop(poll);
	if (r != -ENOTCONN) {
		log_peer_error("worker %d of %s broke its protocol and is killed", worker->process.handle.pid,
		               worker->path);
		(void) uv_process_kill(&worker->process.handle, SIGKILL);
	}
}

static int find_share(struct supervisor *supervisor, const struct proto_hello_request *hello,
                      struct allowlist_match *ret_match, struct proto_refusal *refusal)
{
	const char *share = hello->share.path;
	int r = allowlist_match(supervisor->allowlist, share, ret_match);

	if (r == -ENOENT)
		return refuse(refusal, PROTO_REFUSE_NOT_FOUND,
		              "The path %.600s is not there on the host. Make the directory, or correct the path.",
		              share);
	if (r == -ENOTDIR)
		return refuse(refusal, PROTO_REFUSE_NOT_DIRECTORY,
		              "The path %.600s is not a directory on the host. Mount the directory it is in.", share);
	if (r == -ENOMEM)
		return refuse(refusal, PROTO_REFUSE_INTERNAL, "The file server is out of memory.");
	if (r == -E2BIG)
		return refuse(refusal, PROTO_REFUSE_LIMIT,
		              "The path %.600s is more than %d directories deep. Mount a directory above it.", share,
		              CANONICAL_DEPTH_MAX);
	if (r == -ESTALE)
		return refuse(
		        refusal, PROTO_REFUSE_NOT_SHARED,
		        "Mounts denied: The path %.600s is not shared from the host and is not known to "
		        "bindshare: another directory lies where the shared one was, or somebody else could have made "
		        "it. If that is right, say so on "
		        "the host: bindsharectl share add DIRECTORY.",
		        share);
	if (r < 0)
		return refuse(refusal, PROTO_REFUSE_NOT_SHARED,
		              "Mounts denied: The path %.600s is not shared from the host and is not known to "
		              "bindshare. Add it, or a directory above it, to FilesharingDirectories in the File "
		              "Sharing settings, or start bindshare-fileserver with --share.",
		              share);
	return 0;
}

/* A descriptor or -EACCES. The path was canonical a moment ago; a link in it by now is somebody's attempt. */
static int open_root(const struct allowlist_match *match, struct proto_refusal *refusal)
{
	int fd = resolve_open_root(match->path);

	if (fd >= 0)
		return fd;
	log_peer_warning("cannot open the share %s: %s", match->path, strerror(-fd));
	return refuse(refusal, fd == -ENOENT || fd == -EACCES ? PROTO_REFUSE_NOT_FOUND : PROTO_REFUSE_INTERNAL,
	              "The directory %.600s cannot be opened on the host: %s.", match->path, strerror(-fd));
}

/* Whether another worker may be started for this share. */
static int check_limits(const struct supervisor *supervisor, const char *path, uint64_t machine,
                        struct proto_refusal *refusal)
{
	if (supervisor->stopping)
		return refuse(refusal, PROTO_REFUSE_LIMIT, "The file server is stopping.");
	if (supervisor->count >= supervisor->workers_max)
		return refuse(refusal, PROTO_REFUSE_LIMIT,
		              "%u shares are mounted, more are not served at a time. Unmount some.", supervisor->count);
	if (crashes_too_many(&supervisor->crashes, path, machine, uv_now(supervisor->loop)))
		return refuse(refusal, PROTO_REFUSE_LIMIT,
		              "The worker of this share ended badly %d times within %d s. Try again in %d s; the "
		              "server's log says more.",
		              CRASHES_MAX, CRASHES_WINDOW_MS / 1000, CRASHES_WINDOW_MS / 1000);
	return 0;
}

static struct worker *worker_new(struct supervisor *supervisor, int fd, const struct proto_hello_request *hello,
                                 int root, const struct allowlist_match *match)
{
	struct worker *worker = calloc(1, sizeof(*worker));

	if (worker == NULL)
		return NULL;
	worker->supervisor = supervisor;
	worker->process.channel = -EBADF;
	worker->connection = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	worker->requested = strdup(hello->share.path);
	worker->path = strdup(match->path);
	worker->peer = peers_text(fd);
	worker->peer_key = peers_key(fd, false);
	worker->machine_key = peers_key(fd, true);
	if (supervisor->token != NULL)
		worker->token = *supervisor->token;
	worker->wants_read_only = (hello->flags & PROTO_HELLO_READ_ONLY) != 0;
	worker->read_only = match->read_only || worker->wants_read_only ||
	                    (supervisor->steering != NULL && steering_holds(supervisor->steering, root));
	worker->since = time(NULL);
	worker->born = supervisor->tickets;
	budget_first(worker);
	do
		randombytes_buf(&worker->session, sizeof(worker->session));
	while (worker->session == 0);
	if (worker->connection < 0 || worker->requested == NULL || worker->path == NULL || worker->peer == NULL ||
	    identity_of(root, &worker->root) < 0) {
		worker_free(worker);
		return NULL;
	}
	return worker;
}

/* The process runs: watches it. */
static void watch(struct worker *worker)
{
	struct supervisor *supervisor = worker->supervisor;
	int r;

	worker->handles = 3;
	worker->process.handle.data = worker->poll.data = worker->timer.data = worker;
	(void) uv_timer_init(supervisor->loop, &worker->timer);
	(void) uv_timer_start(&worker->timer, on_kill, PROTO_WELCOME_MS, 0);
	/* A socket of our own making can be watched. */
	r = uv_poll_init(supervisor->loop, &worker->poll, worker->process.channel);
	assert(r == 0);
	r = uv_poll_start(&worker->poll, UV_READABLE, on_message);
	assert(r == 0);
	DL_APPEND(supervisor->workers, worker);
	supervisor->count++;
}

static void on_failed_start(uv_handle_t *handle)
{
	worker_free(handle->data);
}

/* The user may want to share what a guest asked for. */
static void tell_refused(struct supervisor *supervisor, const char *path, const struct proto_refusal *refusal)
{
	if (supervisor->events != NULL && log_limit_allows(&supervisor->event_limit))
		events_tell(supervisor->events, "mount-refused",
		            json_pack("{so so}", "path", events_text(path), "reason", events_text(refusal->text)));
}

static int open_share(struct supervisor *supervisor, int fd, const struct proto_hello_request *hello, uint64_t id,
                      struct proto_refusal *ret_refusal)
{
	_cleanup_close_ int root = -EBADF;
	struct allowlist_match match;
	struct worker_config config = supervisor->config;
	struct worker *worker;
	int r = find_share(supervisor, hello, &match, ret_refusal);

	if (r == 0)
		r = check_limits(supervisor, match.path, peers_key(fd, true), ret_refusal);
	if (r < 0)
		return r;
	if (supervisor->steering != NULL && supervisor->steering->fd < 0)
		return refuse(ret_refusal, PROTO_REFUSE_INTERNAL,
		              "The file server cannot protect its own settings; its log says why.");
	root = open_root(&match, ret_refusal);
	if (root < 0)
		return root;
	worker = worker_new(supervisor, fd, hello, root, &match);
	if (worker == NULL)
		return refuse(ret_refusal, PROTO_REFUSE_INTERNAL, "The file server is out of memory or descriptors.");
	config.session = worker->session;
	config.nodes_max = worker->nodes_limit;
	config.descriptors_max = worker->descriptors_limit;
	/* What a guest can cause in a worker's log it can cause in as many workers as it likes. */
	if (!log_limit_allows(&supervisor->worker_limit))
		config.log_level = LOG_LEVEL_ERROR;
	config.proof_id = id;
	config.flags = hello->flags & ~(unsigned) PROTO_HELLO_READ_ONLY;
	if (worker->read_only)
		config.flags |= PROTO_HELLO_READ_ONLY;
	config.features = hello->features & PROTO_FEATURE_ALL;
	config.view_uid = hello->view_uid;
	config.view_gid = hello->view_gid;
	r = process_start(&worker->process, supervisor->loop, supervisor->executable, fd, root,
	                  supervisor->steering == NULL ? -1 : supervisor->steering->fd, &config, on_exited);
	if (r < 0) {
		log_peer_error("cannot start a worker for %s: %s", match.path, strerror(-r));
		/* libuv has put the handle on its list, started or not. */
		if (worker->process.handle.type == UV_PROCESS) {
			worker->process.handle.data = worker;
			uv_close((uv_handle_t *) &worker->process.handle, on_failed_start);
		} else {
			worker_free(worker);
		}
		return refuse(ret_refusal, PROTO_REFUSE_INTERNAL,
		              "The file server cannot start a worker; its log says why.");
	}
	watch(worker);
	budget_apply(supervisor);
	close_fd(fd);
	return 0;
}

int supervisor_open(void *context, int fd, const struct proto_hello_request *hello, uint64_t id,
                    struct proto_refusal *ret_refusal)
{
	struct supervisor *supervisor = context;
	int r = open_share(supervisor, fd, hello, id, ret_refusal);

	if (r < 0)
		tell_refused(supervisor, hello->share.path, ret_refusal);
	return r;
}

int supervisor_attach(void *context, int fd, uint64_t session, uint64_t id, struct proto_refusal *ret_refusal)
{
	struct worker_message message = { .type = WORKER_LANE, .proof_id = id };
	struct supervisor *supervisor = context;
	struct worker *worker;

	DL_FOREACH (supervisor->workers, worker) {
		if (worker->session == session && worker->state == WORKER_STATE_SERVING)
			break;
	}
	if (worker == NULL)
		return refuse(ret_refusal, PROTO_REFUSE_SESSION, "The session is over. Mount the share again.");
	if (!budget_allows_lane(supervisor, worker) || process_send(&worker->process, &message, fd) < 0)
		return refuse(ret_refusal, PROTO_REFUSE_LIMIT, "The session takes no more lanes at the moment.");
	worker->lanes_sent++;
	close_fd(fd);
	return 0;
}

const struct proto_token *supervisor_token(void *context, uint64_t session)
{
	struct supervisor *supervisor = context;
	struct worker *worker;

	DL_FOREACH (supervisor->workers, worker) {
		if (worker->session == session)
			return &worker->token;
	}
	return supervisor->token;
}

/* True: what the worker serves is still at its path. */
static bool is_in_place(const struct worker *worker)
{
	_cleanup_close_ int fd = resolve_open_root(worker->path);
	struct identity identity;

	return fd >= 0 && identity_of(fd, &identity) == 0 && identity_equal(&identity, &worker->root);
}

static void reconsider(struct supervisor *supervisor, struct worker *worker)
{
	struct allowlist_match match;
	int r = allowlist_match(supervisor->allowlist, worker->requested, &match);

	if (r == -EACCES) {
		log_peer_info("the share %s was removed: its worker is stopped", worker->path);
		worker_stop(worker, PROTO_GOODBYE_REVOKED, "The share was removed from File Sharing.");
	} else if (r < 0 || strcmp(match.path, worker->path) != 0 || !is_in_place(worker)) {
		log_peer_warning("the share %s was replaced, unmounted or moved away: its worker is stopped",
		                 worker->path);
		worker_stop(worker, PROTO_GOODBYE_MOVED,
		            "The directory on the host was replaced, unmounted or moved away. Mount it again.");
	} else if (match.read_only && !worker->read_only) {
		if (worker->state == WORKER_STATE_SERVING)
			worker_make_read_only(worker);
		else
			worker_stop(worker, PROTO_GOODBYE_REVOKED, "The share became read-only. Mount it again.");
	}
}

unsigned supervisor_reconsider(struct supervisor *supervisor)
{
	struct worker *worker, *next;

	DL_FOREACH_SAFE(supervisor->workers, worker, next)
	{
		if (worker->state != WORKER_STATE_STOPPING)
			reconsider(supervisor, worker);
	}
	return supervisor->unsettled;
}

unsigned supervisor_end_mounts(struct supervisor *supervisor, const char *why)
{
	struct worker *worker, *next;

	DL_FOREACH_SAFE(supervisor->workers, worker, next)
	{
		worker_stop(worker, PROTO_GOODBYE_REVOKED, why);
	}
	return supervisor->unsettled;
}

void supervisor_protect(struct supervisor *supervisor)
{
	const struct worker_message message = { .type = WORKER_PROTECT };
	struct worker *worker, *next;

	DL_FOREACH_SAFE(supervisor->workers, worker, next)
	{
		/* Without the list it must not go on. */
		if (supervisor->steering->fd < 0 ||
		    process_send(&worker->process, &message, supervisor->steering->fd) < 0)
			(void) uv_process_kill(&worker->process.handle, SIGKILL);
	}
}

void supervisor_change_log(struct supervisor *supervisor, int fd)
{
	const struct worker_message message = { .type = WORKER_LOG };
	struct worker *worker;

	DL_FOREACH (supervisor->workers, worker) {
		if (process_send(&worker->process, &message, fd) < 0)
			log_peer_warning("worker %d goes on with the old log", worker->process.handle.pid);
	}
}

void supervisor_stop_all(struct supervisor *supervisor)
{
	struct worker *worker, *next;

	supervisor->stopping = true;
	DL_FOREACH_SAFE(supervisor->workers, worker, next)
	{
		worker_stop(worker, PROTO_GOODBYE_DONE, "The file server stopped.");
	}
	if (supervisor->count == 0)
		supervisor->all_gone(supervisor->context);
}
