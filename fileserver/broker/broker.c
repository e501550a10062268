/* SPDX-License-Identifier: Apache-2.0 */
/* The broker's set-up, signals and end. */
#include "fileserver/broker/broker.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <time.h>

#include "fileserver/broker/control.h"
#include "fileserver/broker/expand.h"
#include "fileserver/broker/guard.h"
#include "fileserver/broker/guests.h"
#include "fileserver/broker/peers.h"
#include "fileserver/broker/start.h"
#include "fileserver/broker/token.h"
#include "protocol/cleanup.h"
#include "protocol/clock.h"
#include "protocol/control-path.h"
#include "protocol/notify.h"

enum { BACKLOG = 64 };

struct broker {
	const struct options *options;
	uv_loop_t loop;
	uv_signal_t terminate, interrupt, hang_up, reopen;
	struct listener listener;
	struct admission admission;
	struct supervisor supervisor;
	struct guests guests;
	struct shares shares;
	struct watch watch;
	struct events events;
	struct control control;
	struct guard guard;
	struct peers peers;
	bool has_control, stopping;
	char settings[PATH_MAX], policy[PATH_MAX], control_default[PATH_MAX];
	const char *control_path; /* NULL: none */
};

/* The exit code for a file that was refused. */
static int exit_code(int error)
{
	switch (error) {
	case -ENOENT:
	case -ENOTDIR:
		return EX_NOINPUT;
	case -EPERM:
	case -EACCES:
		return EX_NOPERM;
	case -EINVAL:
		return EX_CONFIG;
	case -EADDRINUSE:
		return EX_UNAVAILABLE;
	default:
		return EX_OSERR;
	}
}

/* A directory of the command line, which is to be there now. EX_OK or an exit code after a message. */
static int add_share(struct shares *shares, const struct options_share *share)
{
	char path[PATH_MAX], expanded[PATH_MAX];
	const struct options_share whole = { .path = expanded, .read_only = share->read_only };
	struct stat st;
	int r;

	/* No shell was there to do it, as in a unit's ExecStart=, or behind "--share=". */
	if ((share->path[0] == '~' || share->path[0] == '$') && expand_path(share->path, expanded) == 0)
		share = &whole;
	if (stat(share->path, &st) < 0 || !S_ISDIR(st.st_mode) || realpath(share->path, path) == NULL) {
		int saved = errno;

		if (stat(share->path, &st) == 0 && !S_ISDIR(st.st_mode))
			saved = ENOTDIR;
		log_error("--share %s: %s; name a directory that is there", share->path, strerror(saved));
		return saved == EACCES ? EX_NOPERM : EX_NOINPUT;
	}
	/* A path given in full stays as it is: links in it may be changed later. */
	r = share->path[0] == '/' ? shares_give(shares, share->path, share->read_only, SHARE_COMMAND_LINE) : -EINVAL;
	if (r == -EINVAL)
		r = shares_give(shares, path, share->read_only, SHARE_COMMAND_LINE);
	if (r < 0)
		log_error("--share %s: %s", share->path, strerror(-r));
	return r < 0 ? EX_OSERR : EX_OK;
}

/* A path that is watched must be a whole one. */
static const char *absolute(const char *path, char whole[PATH_MAX])
{
	char here[PATH_MAX];

	if (path[0] == '/' || getcwd(here, sizeof(here)) == NULL ||
	    snprintf(whole, PATH_MAX, "%s/%s", here, path) >= PATH_MAX)
		return path;
	return whole;
}

/* Which files say what is shared, and what they say. EX_OK or an exit code after a message. */
static int read_shares(struct broker *broker)
{
	const struct options *options = broker->options;
	struct shares *shares = &broker->shares;
	char error[SHARES_ERROR_SIZE];
	int r, code = EX_OK;

	shares->events = &broker->events;
	shares->policy_path = absolute(options->admin_settings != NULL ? options->admin_settings : POLICY_DEFAULT_PATH,
	                               broker->policy);
	shares->policy_is_optional = options->admin_settings == NULL;
	if (options->settings != NULL) {
		shares->settings_path = absolute(options->settings, broker->settings);
	} else if (options->share_count == 0 &&
	           settings_default_path(broker->settings, sizeof(broker->settings)) == 0) {
		shares->settings_path = broker->settings;
		shares->settings_are_optional = true;
	}
	for (size_t i = 0; i < options->share_count && code == EX_OK; i++)
		code = add_share(shares, &options->shares[i]);
	if (code != EX_OK)
		return code;
	r = shares_load(shares, error, sizeof(error));
	if (r < 0) {
		log_error("%s", error);
		return exit_code(r);
	}
	if (shares->list.count == 0)
		log_warning("nothing is shared yet; run: bindsharectl share add DIR");
	return EX_OK;
}

/* Every path that decides what is served. */
static void watch_all(struct broker *broker)
{
	const struct shares *shares = &broker->shares;
	const struct worker *worker;

	watch_begin(&broker->watch);
	if (shares->settings_path != NULL)
		watch_add(&broker->watch, shares->settings_path, true);
	watch_add(&broker->watch, shares->policy_path, true);
	for (size_t i = 0; i < shares->list.count; i++)
		watch_add(&broker->watch, shares->list.shares[i].path, false);
	guard_watch(&broker->guard, &broker->watch);
	for (worker = broker->supervisor.workers; worker != NULL; worker = worker->next)
		watch_add(&broker->watch, worker->path, false);
	watch_end(&broker->watch);
}

/* What is mounted must agree with the list, and what the guests know of it. */
static void reconsider(struct broker *broker)
{
	(void) supervisor_reconsider(&broker->supervisor);
	guests_look(&broker->guests);
}

/* The list was changed. */
static void on_list_changed(void *context)
{
	struct broker *broker = context;

	guard_look(&broker->guard);
	watch_all(broker);
	shares_look(&broker->shares);
	guard_look(&broker->guard);
	reconsider(broker);
}

/* Something on the way to a file or a share may have changed: watches first, so that no later change is lost. */
static void on_paths_changed(void *context)
{
	struct broker *broker = context;
	unsigned generation = broker->shares.generation;

	if (broker->stopping)
		return;
	guard_look(&broker->guard);
	watch_all(broker);
	/* Before anything is read, so that nobody changes it between. */
	guard_look(&broker->guard);
	shares_reload(&broker->shares);
	if (broker->shares.generation != generation)
		on_list_changed(broker);
	else
		reconsider(broker);
}

static void on_settled(void *context)
{
	struct broker *broker = context;

	if (broker->has_control)
		control_settled(&broker->control);
}

static void on_uptake_changed(void *context)
{
	struct broker *broker = context;

	if (broker->has_control)
		control_uptake_changed(&broker->control);
}

static int on_rotate_token(void *context, bool from_file, char *error, size_t error_size)
{
	struct broker *broker = context;

	return token_rotate(broker->options->token_file, from_file, &broker->admission.token, error, error_size);
}

static void on_accepted(struct listener *listener, int fd)
{
	struct broker *broker = listener->context;

	admission_begin(&broker->admission, fd);
	if (admission_is_full(&broker->admission))
		listener_pause(listener);
}

static void on_room(void *context)
{
	struct broker *broker = context;

	if (!broker->stopping && !admission_is_full(&broker->admission))
		listener_resume(&broker->listener);
}

static int on_open(void *context, int fd, const struct proto_hello_request *hello, uint64_t id,
                   struct proto_refusal *ret_refusal)
{
	struct broker *broker = context;
	const char *not_now = peers_ask(&broker->peers, peers_key(fd, false), hello->share.path, uv_now(&broker->loop));
	int r;

	if (not_now != NULL) {
		ret_refusal->code = PROTO_REFUSE_LIMIT;
		(void) snprintf(ret_refusal->text, sizeof(ret_refusal->text), "%s", not_now);
		return -EACCES;
	}
	/* Not every change can be watched, and some come just now: of what is asked for, and soon of all that is
	 * mounted. */
	shares_look(&broker->shares);
	r = supervisor_open(&broker->supervisor, fd, hello, id, ret_refusal);
	if (r == 0)
		watch_add(&broker->watch, broker->supervisor.workers->prev->path, false);
	watch_plan(&broker->watch);
	return r;
}

static const struct proto_token *on_token_of(void *context, uint64_t session)
{
	struct broker *broker = context;

	return supervisor_token(&broker->supervisor, session);
}

static int on_attach(void *context, int fd, uint64_t session, uint64_t id, struct proto_refusal *ret_refusal)
{
	struct broker *broker = context;

	return supervisor_attach(&broker->supervisor, fd, session, id, ret_refusal);
}

static int on_follow(void *context, int fd, struct proto_refusal *ret_refusal)
{
	struct broker *broker = context;

	shares_look(&broker->shares);
	watch_plan(&broker->watch);
	return guests_add(&broker->guests, fd, ret_refusal);
}

static void on_refuse(void *context, int fd, enum proto_refuse code, const char *text)
{
	struct broker *broker = context;

	admission_refuse(&broker->admission, fd, code, text);
}

static void on_all_gone(void *context)
{
	struct broker *broker = context;

	uv_close((uv_handle_t *) &broker->terminate, NULL);
	uv_close((uv_handle_t *) &broker->interrupt, NULL);
	uv_close((uv_handle_t *) &broker->hang_up, NULL);
	uv_close((uv_handle_t *) &broker->reopen, NULL);
	if (broker->guests.resolving > 0)
		uv_stop(&broker->loop);
}

static void tell_manager(const char *lines)
{
	int r = notify_send(lines);

	if (r < 0)
		log_warning("cannot tell the service manager at NOTIFY_SOCKET: %s", strerror(-r));
}

static void on_stop(uv_signal_t *handle, int number)
{
	struct broker *broker = handle->data;

	if (broker->stopping)
		return;
	log_info("stopping");
	broker->stopping = true;
	tell_manager("STOPPING=1");
	events_tell(&broker->events, "stopping", NULL);
	watch_close(&broker->watch);
	listener_close(&broker->listener);
	if (broker->has_control)
		control_close(&broker->control);
	admission_close(&broker->admission);
	guests_close(&broker->guests);
	supervisor_stop_all(&broker->supervisor);
}

static void on_hang_up(uv_signal_t *handle, int number)
{
	struct broker *broker = handle->data;
	char text[96];

	if (broker->stopping)
		return;
	(void) snprintf(text, sizeof(text), "RELOADING=1\nMONOTONIC_USEC=%lld", (long long) clock_us());
	tell_manager(text);
	on_paths_changed(broker);
	log_info("read the settings again: %zu directories are on the list", broker->shares.list.count);
	tell_manager("READY=1");
}

/* The log was renamed away. */
static void on_reopen(uv_signal_t *handle, int number)
{
	struct broker *broker = handle->data;
	const char *path = broker->options->log_file;
	int r;

	if (path == NULL)
		return;
	r = log_to_file(path);
	if (r < 0)
		log_error("cannot open the log file %s: %s; the old one goes on", path, strerror(-r));
	else
		supervisor_change_log(&broker->supervisor, STDERR_FILENO);
}

static int set_up_admission(struct broker *broker)
{
	const struct options *options = broker->options;
	struct admission *admission = &broker->admission;
	char error[PATH_MAX + 256];

	*admission = (struct admission){
		.loop = &broker->loop,
		.kind = options->listen.kind,
		.check_credentials = options->listen.kind == PROTO_ADDRESS_UNIX && !options->listen.hybrid,
		.cid_count = options->cid_count,
		.open = on_open,
		.attach = on_attach,
		.follow = on_follow,
		.token_of = on_token_of,
		.has_room = on_room,
		.context = broker,
	};
	memcpy(admission->cids, options->cids, sizeof(admission->cids));
	if (options->token_file != NULL) {
		int r = proto_token_read(options->token_file, &admission->token, error, sizeof(error));

		if (r < 0) {
			log_error("%s", error);
			return exit_code(r);
		}
	}
	return EX_OK;
}

static void set_up_supervisor(struct broker *broker)
{
	broker->supervisor = (struct supervisor){
		.loop = &broker->loop,
		.executable = "/proc/self/exe",
		.config = broker->options->limits,
		.workers_max = SUPERVISOR_WORKERS_MAX,
		.allowlist = &broker->shares.allowlist,
		.token = &broker->admission.token,
		.events = &broker->events,
		.steering = &broker->guard.steering,
		.peers = &broker->peers,
		.refuse = on_refuse,
		.all_gone = on_all_gone,
		.settled = on_settled,
		.uptake_changed = on_uptake_changed,
		.context = broker,
	};
	broker->guests = (struct guests){ .loop = &broker->loop, .shares = &broker->shares, .events = &broker->events };
	broker->supervisor.config.log_level = broker->options->log_level;
	broker->supervisor.config.log_format = broker->options->log_format;
}

static int open_listener(struct broker *broker)
{
	const struct options *options = broker->options;
	char error[512];
	int r = options->listen.kind == PROTO_ADDRESS_UNIX ? control_path_make_directory(options->listen.path) : 0;

	if (r < 0)
		(void) snprintf(error, sizeof(error), "its directory %s", control_path_words(r));
	else
		r = listener_check_directory(&options->listen, error, sizeof(error));
	if (r < 0) {
		log_error("cannot listen at %s: %s", options->listen_text, error);
		return exit_code(r);
	}
	r = listener_open(&broker->listener, &broker->loop, &options->listen, BACKLOG, on_accepted, broker);
	if (r == -EADDRINUSE)
		log_error("cannot listen at %s: the address is in use; stop the other server, or choose another",
		          options->listen_text);
	else if (r < 0)
		log_error("cannot listen at %s: %s", options->listen_text, strerror(-r));
	return r < 0 ? exit_code(r) : EX_OK;
}

/* Where the control socket is to be; NULL, after a message: there is no place for it. */
static void choose_control(struct broker *broker)
{
	int r = 0;

	broker->control_path = broker->options->control;
	if (broker->control_path != NULL)
		return;
	r = control_path_default(broker->control_default, sizeof(broker->control_default), true);
	if (r < 0)
		log_warning("no control socket %s: its directory %s; use --control PATH",
		            r == -ENAMETOOLONG ? "" : broker->control_default, control_path_words(r));
	else
		broker->control_path = broker->control_default;
}

/* What the server is steered by. EX_OK or an exit code after a message. */
static int set_up_guard(struct broker *broker)
{
	int r;

	choose_control(broker);
	broker->guard =
	        (struct guard){ .steering.fd = -EBADF, .supervisor = &broker->supervisor, .events = &broker->events };
	r = guard_set_up(&broker->guard, broker->options, &broker->shares, broker->control_path);
	if (r < 0)
		log_error("cannot find out what is to be protected from guests: %s", strerror(-r));
	return r < 0 ? EX_OSERR : EX_OK;
}

/* A control socket that was asked for must be there; the default one may be missing. */
static int open_control(struct broker *broker)
{
	const struct options *options = broker->options;
	const struct control_facts facts = {
		.supervisor = &broker->supervisor,
		.shares = &broker->shares,
		.watch = &broker->watch,
		.events = &broker->events,
		.guard = &broker->guard,
		.listen = &options->listen_text,
		.listen_count = 1,
		.token_file = options->token_file,
		.since = time(NULL),
		.changed = on_list_changed,
		.rotate_token = on_rotate_token,
		.context = broker,
	};
	char error[512];
	int r;

	if (broker->control_path == NULL)
		return EX_OK;
	r = control_open(&broker->control, &broker->loop, broker->control_path, &facts, error, sizeof(error));
	broker->has_control = r == 0;
	if (r == 0)
		return EX_OK;
	if (options->control == NULL) {
		log_warning("no control socket: %s", error);
		return EX_OK;
	}
	log_error("%s", error);
	return exit_code(r);
}

static void watch_signals(struct broker *broker)
{
	const struct {
		uv_signal_t *handle;
		uv_signal_cb happened;
		int number;
	} signals[] = {
		{ &broker->terminate, on_stop, SIGTERM },
		{ &broker->interrupt, on_stop, SIGINT },
		{ &broker->hang_up, on_hang_up, SIGHUP },
		{ &broker->reopen, on_reopen, SIGUSR1 },
	};

	for (unsigned i = 0; i < ARRAY_SIZE(signals); i++) {
		(void) uv_signal_init(&broker->loop, signals[i].handle);
		signals[i].handle->data = broker;
		(void) uv_signal_start(signals[i].handle, signals[i].happened, signals[i].number);
	}
}

static void tell_ready(const struct broker *broker)
{
	const struct options *options = broker->options;

	log_info("listening at %s, %zu directories are shared", options->listen_text, broker->shares.list.count);
	tell_manager("READY=1");
	if (options->ready_fd < 0)
		return;
	if (write(options->ready_fd, "ready\n", 6) < 0)
		log_warning("cannot write to --ready-fd %d: %s", options->ready_fd, strerror(errno));
	if (options->ready_fd > STDERR_FILENO)
		close_fd(options->ready_fd);
}

/* With the loop there: opens all and runs. */
static int serve(struct broker *broker)
{
	int r, code = open_listener(broker);

	if (code != EX_OK)
		return code;
	r = watch_open(&broker->watch, &broker->loop, on_paths_changed, broker);
	if (r < 0) {
		log_error("cannot watch the settings: %s", strerror(-r));
		code = EX_OSERR;
	} else {
		code = open_control(broker);
		if (code != EX_OK)
			watch_close(&broker->watch);
	}
	if (code != EX_OK) {
		listener_close(&broker->listener);
		(void) uv_run(&broker->loop, UV_RUN_DEFAULT);
		return code;
	}
	watch_signals(broker);
	on_paths_changed(broker);
	tell_ready(broker);
	(void) uv_run(&broker->loop, UV_RUN_DEFAULT);
	if (broker->guests.resolving > 0) {
		/* Its thread cannot be ended otherwise, and all else has been. */
		log_warning("the host's file system holds up a look-up: leaving it");
		_exit(EX_OK);
	}
	return EX_OK;
}

static void done(struct broker *broker)
{
	guard_done(&broker->guard);
	shares_done(&broker->shares);
	sodium_memzero(&broker->admission.token, sizeof(broker->admission.token));
}

int broker_run(const struct options *options)
{
	static struct broker broker = { .guard.steering.fd = -EBADF };
	int code = start_log(options), r;

	broker.options = options;
	if (code == EX_OK)
		code = start_process(options);
	if (code == EX_OK)
		code = read_shares(&broker);
	if (code == EX_OK)
		code = set_up_admission(&broker);
	if (code == EX_OK)
		code = set_up_guard(&broker);
	r = code == EX_OK ? uv_loop_init(&broker.loop) : 0;
	if (r < 0)
		log_error("cannot make the loop: %s", strerror(-r));
	if (code != EX_OK || r < 0) {
		done(&broker);
		return code != EX_OK ? code : EX_OSERR;
	}
	set_up_supervisor(&broker);
	code = serve(&broker);
	r = uv_loop_close(&broker.loop);
	assert(r == 0);
	done(&broker);
	return code;
}
