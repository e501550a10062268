/* SPDX-License-Identifier: Apache-2.0 */
/* The broker's set-up, signals and end. */
#include "fileserver/broker/broker.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <signal.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <time.h>

#include "fileserver/broker/control-path.h"
#include "fileserver/broker/control.h"
#include "fileserver/broker/expand.h"
#include "protocol/document.h"
#include "fileserver/broker/guests.h"
#include "protocol/notify.h"
#include "protocol/cleanup.h"

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
	bool has_control, stopping;
	char settings[PATH_MAX], policy[PATH_MAX];
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

	watch_reset(&broker->watch);
	if (shares->settings_path != NULL)
		watch_add(&broker->watch, shares->settings_path, true);
	watch_add(&broker->watch, shares->policy_path, true);
	for (size_t i = 0; i < shares->list.count; i++)
		watch_add(&broker->watch, shares->list.shares[i].path, false);
	for (worker = broker->supervisor.workers; worker != NULL; worker = worker->next)
		watch_add(&broker->watch, worker->path, false);
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

	watch_all(broker);
	shares_look(&broker->shares);
	reconsider(broker);
}

/* Something on the way to a file or a share may have changed: watches first, so that no later change is lost. */
static void on_paths_changed(void *context)
{
	struct broker *broker = context;
	unsigned generation = broker->shares.generation;

	if (broker->stopping)
		return;
	watch_all(broker);
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

/* Takes a token that the backend wrote, or makes one. 0, or a negative errno and words. */
static int on_rotate_token(void *context, bool from_file, char *error, size_t error_size)
{
	struct broker *broker = context;
	const char *path = broker->options->token_file;
	char text[2 * PROTO_TOKEN_SIZE + 2];
	struct proto_token token;
	int r = 0;

	if (!from_file) {
		randombytes_buf(token.key, sizeof(token.key));
		(void) sodium_bin2hex(text, sizeof(text), token.key, sizeof(token.key));
		strcat(text, "\n");
		r = document_write_text("token file", path, text, error, error_size);
		sodium_memzero(text, sizeof(text));
	}
	/* What counts is what others will read there. */
	if (r == 0)
		r = proto_token_read(path, &token, error, error_size);
	if (r == 0)
		broker->admission.token = token;
	sodium_memzero(&token, sizeof(token));
	return r;
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
	int r;

	/* Not every change can be watched, and some come just now. */
	shares_look(&broker->shares);
	r = supervisor_open(&broker->supervisor, fd, hello, id, ret_refusal);
	if (r == 0)
		watch_add(&broker->watch, broker->supervisor.workers->prev->path, false);
	reconsider(broker);
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
	(void) supervisor_reconsider(&broker->supervisor);
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
	struct timespec now;
	char text[96];

	if (broker->stopping)
		return;
	(void) clock_gettime(CLOCK_MONOTONIC, &now);
	(void) snprintf(text, sizeof(text), "RELOADING=1\nMONOTONIC_USEC=%lld",
	                now.tv_sec * 1000000LL + now.tv_nsec / 1000);
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

static int set_up_process(const struct options *options)
{
	const struct rlimit none = { 0, 0 };

	if (geteuid() == 0 && !options->allow_root) {
		log_error("refuses to run as root, since guests would have root's rights in the shares; run it as the "
		          "user "
		          "whose files they are, or give --allow-root");
		return EX_NOPERM;
	}
	/* The token is in memory: it must not get into a core file. */
	if (sodium_init() < 0 || setrlimit(RLIMIT_CORE, &none) < 0 || signal(SIGPIPE, SIG_IGN) == SIG_ERR ||
	    close_range(STDERR_FILENO + 1, ~0U, CLOSE_RANGE_CLOEXEC) < 0) {
		log_error("cannot set the process up: %s", strerror(errno));
		return EX_OSERR;
	}
	return EX_OK;
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
		.refuse = on_refuse,
		.all_gone = on_all_gone,
		.settled = on_settled,
		.context = broker,
	};
	broker->guests = (struct guests){ .loop = &broker->loop, .shares = &broker->shares };
	broker->supervisor.config.log_level = broker->options->log_level;
	broker->supervisor.config.log_format = broker->options->log_format;
}

/* Why the server's runtime directory cannot be had. */
static const char *words_of_directory(int error)
{
	return error == -EPERM ? "belongs to somebody else, or is no directory" : strerror(-error);
}

static int open_listener(struct broker *broker)
{
	const struct options *options = broker->options;
	char error[512];
	int r = options->listen.kind == PROTO_ADDRESS_UNIX ? control_make_directory(options->listen.path) : 0;

	if (r < 0)
		(void) snprintf(error, sizeof(error), "its directory %s", words_of_directory(r));
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

/* A control socket that was asked for must be there; the default one may be missing. */
static int open_control(struct broker *broker)
{
	const struct options *options = broker->options;
	const struct control_facts facts = {
		.supervisor = &broker->supervisor,
		.shares = &broker->shares,
		.watch = &broker->watch,
		.events = &broker->events,
		.listen = &options->listen_text,
		.listen_count = 1,
		.token_file = options->token_file,
		.since = time(NULL),
		.changed = on_list_changed,
		.rotate_token = on_rotate_token,
		.context = broker,
	};
	const char *path = options->control;
	char default_path[sizeof(options->listen.path) + 64], error[512];
	int r;

	if (path == NULL) {
		r = control_default_path(default_path, sizeof(default_path), true);
		if (r < 0) {
			log_warning("no control socket %s: its directory %s; use --control PATH",
			            r == -ENAMETOOLONG ? "" : default_path, words_of_directory(r));
			return EX_OK;
		}
		path = default_path;
	}
	r = control_open(&broker->control, &broker->loop, path, &facts, error, sizeof(error));
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

static int open_log(const struct options *options)
{
	int r;

	log_init("bindshare-fileserver", options->log_level);
	log_set_format(options->log_format);
	r = options->log_file != NULL ? log_to_file(options->log_file) : 0;
	if (r < 0)
		log_error("cannot open the log file %s: %s", options->log_file, strerror(-r));
	return r < 0 ? EX_CANTCREAT : EX_OK;
}

int broker_run(const struct options *options)
{
	static struct broker broker;
	int code = open_log(options), r;

	broker.options = options;
	if (code == EX_OK)
		code = set_up_process(options);
	if (code == EX_OK)
		code = read_shares(&broker);
	if (code == EX_OK)
		code = set_up_admission(&broker);
	if (code != EX_OK) {
		shares_done(&broker.shares);
		return code;
	}
	r = uv_loop_init(&broker.loop);
	if (r < 0) {
		log_error("cannot make the loop: %s", strerror(-r));
		shares_done(&broker.shares);
		return EX_OSERR;
	}
	set_up_supervisor(&broker);
	code = serve(&broker);
	r = uv_loop_close(&broker.loop);
	assert(r == 0);
	shares_done(&broker.shares);
	sodium_memzero(&broker.admission.token, sizeof(broker.admission.token));
	return code;
}
