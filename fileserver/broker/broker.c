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

#include "fileserver/broker/control-path.h"
#include "fileserver/broker/control.h"
#include "fileserver/broker/settings.h"
#include "protocol/cleanup.h"

enum { BACKLOG = 64 };

struct broker {
	const struct options *options;
	uv_loop_t loop;
	uv_signal_t terminate, interrupt, hang_up;
	struct listener listener;
	struct admission admission;
	struct supervisor supervisor;
	struct allowlist given; /* by --share */
	struct allowlist allowlist;
	struct control control;
	bool has_control, stopping;
	char default_settings[PATH_MAX];
	const char *settings; /* path or NULL */
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
static int add_share(struct allowlist *list, const struct options_share *share)
{
	char path[PATH_MAX];
	struct stat st;
	int r;

	if (stat(share->path, &st) < 0 || !S_ISDIR(st.st_mode) || realpath(share->path, path) == NULL) {
		int saved = errno;

		if (stat(share->path, &st) == 0 && !S_ISDIR(st.st_mode))
			saved = ENOTDIR;
		log_error("--share %s: %s; name a directory that is there", share->path, strerror(saved));
		return saved == EACCES ? EX_NOPERM : EX_NOINPUT;
	}
	/* A path given in full stays as it is: links in it may be changed later. */
	r = share->path[0] == '/' ? allowlist_add(list, share->path, share->read_only) : -EINVAL;
	if (r == -EINVAL)
		r = allowlist_add(list, path, share->read_only);
	if (r < 0)
		log_error("--share %s: %s", share->path, strerror(-r));
	return r < 0 ? EX_OSERR : EX_OK;
}

/* EX_OK or an exit code, and words in error. */
static int add_settings(struct allowlist *list, const char *path, char *error, size_t error_size)
{
	struct settings settings;
	int r = settings_read(path, &settings, error, error_size);

	if (r < 0)
		return exit_code(r);
	for (size_t i = 0; i < settings.count && r == 0; i++) {
		r = allowlist_add(list, settings.directories[i], false);
		if (r < 0)
			(void) snprintf(error, error_size, "settings file %s: %s is no path without \"..\"", path,
			                settings.directories[i]);
	}
	settings_done(&settings);
	return r < 0 ? exit_code(r) : EX_OK;
}

static int read_shares(struct broker *broker)
{
	int code = EX_OK;

	for (size_t i = 0; i < broker->options->share_count && code == EX_OK; i++)
		code = add_share(&broker->given, &broker->options->shares[i]);
	return code;
}

/* What was given and what the settings say now. */
static int read_allowlist(struct broker *broker, struct allowlist *ret_list)
{
	struct allowlist list = { 0 };
	char error[PATH_MAX + 256];
	int code = EX_OK;

	for (size_t i = 0; i < broker->given.count && code == EX_OK; i++)
		if (allowlist_add(&list, broker->given.entries[i].path, broker->given.entries[i].read_only) < 0)
			code = EX_OSERR;
	if (code == EX_OK && broker->settings != NULL) {
		code = add_settings(&list, broker->settings, error, sizeof(error));
		if (code != EX_OK)
			log_error("%s", error);
	}
	if (code == EX_OK)
		*ret_list = list;
	else
		allowlist_done(&list);
	return code;
}

static int choose_settings(struct broker *broker)
{
	const struct options *options = broker->options;

	broker->settings = options->settings;
	if (options->settings != NULL || options->share_count > 0)
		return EX_OK;
	if (settings_default_path(broker->default_settings, sizeof(broker->default_settings)) < 0 ||
	    access(broker->default_settings, F_OK) < 0) {
		log_error("nothing is shared: give --share DIR or --settings FILE");
		return EX_USAGE;
	}
	broker->settings = broker->default_settings;
	return EX_OK;
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

	return supervisor_open(&broker->supervisor, fd, hello, id, ret_refusal);
}

static int on_attach(void *context, int fd, uint64_t session, uint64_t id, struct proto_refusal *ret_refusal)
{
	struct broker *broker = context;

	return supervisor_attach(&broker->supervisor, fd, session, id, ret_refusal);
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
}

static void on_stop(uv_signal_t *handle, int number)
{
	struct broker *broker = handle->data;

	if (broker->stopping)
		return;
	log_info("stopping");
	broker->stopping = true;
	listener_close(&broker->listener);
	if (broker->has_control)
		control_close(&broker->control);
	admission_close(&broker->admission);
	supervisor_stop_all(&broker->supervisor);
}

static void on_hang_up(uv_signal_t *handle, int number)
{
	struct broker *broker = handle->data;
	struct allowlist list;

	if (broker->stopping)
		return;
	if (read_allowlist(broker, &list) != EX_OK) {
		log_warning("the settings cannot be used; what was shared before stays shared");
		return;
	}
	allowlist_done(&broker->allowlist);
	broker->allowlist = list;
	log_info("read the settings again: %zu directories are shared", list.count);
	supervisor_reconsider(&broker->supervisor);
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
		.allowlist = &broker->allowlist,
		.refuse = on_refuse,
		.all_gone = on_all_gone,
		.context = broker,
	};
}

static int open_listener(struct broker *broker)
{
	const struct options *options = broker->options;
	char error[512];
	int r = listener_check_directory(&options->listen, error, sizeof(error));

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
		.listen = &options->listen_text,
		.listen_count = 1,
		.has_token = options->token_file != NULL,
		.settings = broker->settings,
		.since = time(NULL),
	};
	const char *path = options->control;
	char default_path[sizeof(options->listen.path) + 64], error[512];
	int r;

	if (path == NULL) {
		r = control_default_path(default_path, sizeof(default_path), true);
		if (r < 0) {
			log_warning("no control socket: %s; use --control PATH",
			            r == -ENOENT ? "XDG_RUNTIME_DIR is not set" : strerror(-r));
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
	uv_signal_t *handles[] = { &broker->terminate, &broker->interrupt, &broker->hang_up };
	const int numbers[] = { SIGTERM, SIGINT, SIGHUP };

	for (unsigned i = 0; i < ARRAY_SIZE(handles); i++) {
		(void) uv_signal_init(&broker->loop, handles[i]);
		handles[i]->data = broker;
		(void) uv_signal_start(handles[i], numbers[i] == SIGHUP ? on_hang_up : on_stop, numbers[i]);
	}
}

static void tell_ready(const struct broker *broker)
{
	const struct options *options = broker->options;

	log_info("listening at %s, %zu directories are shared", options->listen_text, broker->allowlist.count);
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
	int code = open_listener(broker);

	if (code != EX_OK)
		return code;
	code = open_control(broker);
	if (code != EX_OK) {
		listener_close(&broker->listener);
		(void) uv_run(&broker->loop, UV_RUN_DEFAULT);
		return code;
	}
	watch_signals(broker);
	tell_ready(broker);
	(void) uv_run(&broker->loop, UV_RUN_DEFAULT);
	return EX_OK;
}

static void free_lists(struct broker *broker)
{
	allowlist_done(&broker->given);
	allowlist_done(&broker->allowlist);
}

int broker_run(const struct options *options)
{
	static struct broker broker;
	int code, r;

	log_init("bindshare-fileserver", options->log_level);
	broker.options = options;
	code = set_up_process(options);
	if (code == EX_OK)
		code = choose_settings(&broker);
	if (code == EX_OK)
		code = read_shares(&broker);
	if (code == EX_OK)
		code = read_allowlist(&broker, &broker.allowlist);
	if (code == EX_OK)
		code = set_up_admission(&broker);
	if (code != EX_OK) {
		free_lists(&broker);
		return code;
	}
	r = uv_loop_init(&broker.loop);
	if (r < 0) {
		log_error("cannot make the loop: %s", strerror(-r));
		free_lists(&broker);
		return EX_OSERR;
	}
	set_up_supervisor(&broker);
	code = serve(&broker);
	r = uv_loop_close(&broker.loop);
	assert(r == 0);
	free_lists(&broker);
	sodium_memzero(&broker.admission.token, sizeof(broker.admission.token));
	return code;
}
