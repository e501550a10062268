/* SPDX-License-Identifier: Apache-2.0 */
/* bindshare-guestd: keeps every directory that the host shares mounted in the guest. */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sysexits.h>

#include "guest-fuse/agent/clear.h"
#include "guest-fuse/agent/link.h"
#include "guest-fuse/agent/mounts.h"
#include "guest-fuse/agent/plugin.h"
#include "guest-fuse/agent/requests.h"
#include "guest-fuse/agent/status.h"
#include "guest-fuse/binds/clones.h"
#include "protocol/cleanup.h"
#include "protocol/document.h"
#include "protocol/log.h"
#include "protocol/notify.h"

#define THREADS "16" /* of libuv's pool: one that waits for a slow mount must not keep others waiting */

struct guestd {
	struct guest_config config;
	uv_loop_t loop;
	uv_signal_t terminate, interrupt, hang_up;
	uv_work_t sweep;
	uv_timer_t patience; /* until it is ready even without a server */
	struct link link;
	struct mounts mounts;
	struct requests requests;
	struct plugin *plugin; /* NULL: none is asked for */
	bool ready, stopping, connected;
};

struct arguments {
	const char *config;
	enum { ACTION_RUN, ACTION_STATUS, ACTION_UNMOUNT, ACTION_PLUGIN } action;
	bool json;
	enum log_level level;
	enum log_format format;
};

static const char help[] = "bindshare-guestd keeps every directory that the host shares mounted in this guest.\n"
                           "\n"
                           "usage: bindshare-guestd [options]\n"
                           "\n"
                           "  --config FILE      default " GUEST_CONFIG_PATH "; see bindshare-guest.json(5)\n"
                           "  --status [--json]  what the running one knows, and end\n"
                           "  --unmount          undo all that one that has ended left mounted, and end\n"
                           "  --plugin           be the authorization plugin alone, at the service manager's socket\n"
                           "  --log-level LEVEL  error, warning, info or debug\n"
                           "  --log-format FORM  text or json\n"
                           "  --help, --version\n";

static void tell_ready(struct guestd *guestd)
{
	if (guestd->ready)
		return;
	guestd->ready = true;
	(void) uv_timer_stop(&guestd->patience);
	(void) notify_send("READY=1");
}

static void on_mounts_changed(void *context)
{
	struct guestd *guestd = context;

	requests_look(&guestd->requests);
	if (mounts_are_settled(&guestd->mounts))
		tell_ready(guestd);
}

static void on_link_changed(void *context)
{
	struct guestd *guestd = context;
	struct link_status status;
	struct share_list list;

	if (guestd->stopping)
		return;
	link_get_status(&guestd->link, &status);
	if (status.state == LINK_CONNECTED && !guestd->connected)
		mounts_retry(&guestd->mounts);
	guestd->connected = status.state == LINK_CONNECTED;
	if (link_take(&guestd->link, &list)) {
		mounts_set(&guestd->mounts, &list);
		share_list_done(&list);
		on_mounts_changed(guestd);
	}
}

static void on_patience(uv_timer_t *timer)
{
	struct guestd *guestd = timer->data;

	if (!guestd->ready)
		log_warning("ready without all that the host shares: containers that need it wait for it");
	tell_ready(guestd);
}

static void on_hang_up(uv_signal_t *handle, int number)
{
	log_warning(
	        "SIGHUP: the configuration is read at the start only; restart bindshare-guestd, what is mounted stays");
}

static void on_stop(uv_signal_t *handle, int number)
{
	struct guestd *guestd = handle->data;

	if (guestd->stopping)
		return;
	log_info("stopping; what is mounted stays");
	guestd->stopping = true;
	(void) notify_send("STOPPING=1");
	/* In this order: connections of the plugin may wait for answers to requests. */
	requests_close(&guestd->requests);
	plugin_stop(guestd->plugin);
	link_stop(&guestd->link);
	mounts_stop(&guestd->mounts, false);
	uv_close((uv_handle_t *) &guestd->terminate, NULL);
	uv_close((uv_handle_t *) &guestd->interrupt, NULL);
	uv_close((uv_handle_t *) &guestd->hang_up, NULL);
	uv_close((uv_handle_t *) &guestd->patience, NULL);
}

/* Its parents must be there. */
static int make_directory(const char *path, mode_t mode)
{
	if (mkdir(path, mode) < 0 && errno != EEXIST) {
		log_error("cannot make the directory %s: %s", path, strerror(errno));
		return EX_CANTCREAT;
	}
	return EX_OK;
}

static int make_directories(const struct guest_config *config)
{
	char path[PATH_MAX];
	int code = make_directory(config->run_directory, 0755);

	(void) snprintf(path, sizeof(path), "%s/alive", config->run_directory);
	return code != EX_OK ? code : make_directory(path, 0700);
}

static int check_system(void)
{
	int fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);

	if (fd < 0) {
		log_error("/dev/fuse cannot be opened (%s): load the kernel's module fuse (modprobe fuse)",
		          strerror(errno));
		return EX_UNAVAILABLE;
	}
	close_fd(fd);
	if (sodium_init() < 0) {
		log_error("the cryptographic library does not start");
		return EX_OSERR;
	}
	return EX_OK;
}

static int read_token(struct guestd *guestd)
{
	char error[PATH_MAX + 256];
	int r = 0;

	if (guestd->config.token_file != NULL)
		r = proto_token_read(guestd->config.token_file, &guestd->link.token, error, sizeof(error));
	if (r == 0)
		return EX_OK;
	log_error("%s", error);
	return r == -EPERM || r == -EACCES ? EX_NOPERM : r == -ENOENT ? EX_NOINPUT : EX_CONFIG;
}

/* What runtimes left that were killed. */
static void sweep(uv_work_t *work)
{
	const struct guestd *guestd = work->data;
	unsigned count = clones_sweep(&guestd->config);

	if (count > 0)
		log_info("undid the binds of %u containers that are gone", count);
}

static void watch_signal(struct guestd *guestd, uv_signal_t *handle, uv_signal_cb happened, int number)
{
	(void) uv_signal_init(&guestd->loop, handle);
	handle->data = guestd;
	(void) uv_signal_start(handle, happened, number);
}

static void set_up(struct guestd *guestd)
{
	guestd->link.config = &guestd->config;
	guestd->link.changed = on_link_changed;
	guestd->link.context = guestd;
	guestd->mounts = (struct mounts){
		.loop = &guestd->loop, .config = &guestd->config, .changed = on_mounts_changed, .context = guestd
	};
	guestd->requests = (struct requests){
		.loop = &guestd->loop, .config = &guestd->config, .link = &guestd->link, .mounts = &guestd->mounts
	};
}

/* 0: it listens, or none is asked for, or there is one in a process of its own; or a negative errno and words. */
static int start_plugin(struct guestd *guestd, char *error, size_t error_size)
{
	const struct plugin_options options = { .config = &guestd->config,
		                                .path = guestd->config.plugin_socket,
		                                .fd = -EBADF };
	int r = options.path == NULL ? 0 : plugin_start(&options, &guestd->plugin, error, error_size);

	return r == -EADDRINUSE ? 0 : r;
}

/* Until a signal. */
static int serve(struct guestd *guestd)
{
	char error[PATH_MAX + 256];
	int r = requests_open(&guestd->requests, error, sizeof(error));

	if (r < 0) {
		log_error("%s", error);
		(void) uv_run(&guestd->loop, UV_RUN_DEFAULT);
		return r == -EADDRINUSE ? EX_UNAVAILABLE : EX_CANTCREAT;
	}
	r = start_plugin(guestd, error, sizeof(error));
	if (r < 0) {
		log_error("%s", error);
		return EX_CANTCREAT; /* the process ends, and all handles with it */
	}
	mounts_recall(&guestd->mounts);
	guestd->sweep.data = guestd;
	(void) uv_queue_work(&guestd->loop, &guestd->sweep, sweep, NULL);
	watch_signal(guestd, &guestd->terminate, on_stop, SIGTERM);
	watch_signal(guestd, &guestd->interrupt, on_stop, SIGINT);
	watch_signal(guestd, &guestd->hang_up, on_hang_up, SIGHUP);
	(void) uv_timer_init(&guestd->loop, &guestd->patience);
	guestd->patience.data = guestd;
	(void) uv_timer_start(&guestd->patience, on_patience, guestd->config.wait_ms, 0);
	r = link_start(&guestd->link, &guestd->loop);
	if (r < 0) {
		log_error("cannot start: %s", strerror(-r));
		return EX_OSERR; /* the process ends, and all handles with it */
	}
	log_info("keeps the shares of %s beneath %s", guestd->config.address_text, guestd->config.root);
	(void) uv_run(&guestd->loop, UV_RUN_DEFAULT);
	return EX_OK;
}

static int unmount_all(struct guestd *guestd)
{
	char error[PATH_MAX + 256];
	int r = requests_open(&guestd->requests, error, sizeof(error));

	if (r < 0) {
		log_error("%s", error);
		return EX_UNAVAILABLE;
	}
	requests_close(&guestd->requests);
	mounts_recall(&guestd->mounts);
	mounts_stop(&guestd->mounts, true);
	(void) uv_run(&guestd->loop, UV_RUN_DEFAULT);
	return clear_run_directory(&guestd->config) < 0 ? EX_TEMPFAIL : EX_OK;
}

static int run(struct guestd *guestd, const struct arguments *arguments)
{
	int code = EX_OK;

	/* What is mounted can be undone without what it took to mount it. */
	if (arguments->action == ACTION_UNMOUNT && access(guestd->config.run_directory, F_OK) < 0)
		return EX_OK;
	if (arguments->action == ACTION_RUN)
		code = make_directories(&guestd->config);
	if (code == EX_OK && arguments->action == ACTION_RUN)
		code = check_system();
	if (code == EX_OK && arguments->action == ACTION_RUN)
		code = read_token(guestd);
	if (code != EX_OK)
		return code;
	(void) signal(SIGPIPE, SIG_IGN);
	(void) setenv("UV_THREADPOOL_SIZE", THREADS, 1);
	if (uv_loop_init(&guestd->loop) < 0)
		return EX_OSERR;
	set_up(guestd);
	code = arguments->action == ACTION_UNMOUNT ? unmount_all(guestd) : serve(guestd);
	(void) uv_loop_close(&guestd->loop);
	return code;
}

static int take_level(const char *text, struct arguments *arguments)
{
	if (log_level_parse(text, &arguments->level) == 0)
		return 0;
	fprintf(stderr, "bindshare-guestd: --log-level %s: error, warning, info or debug is wanted\n", text);
	return -EINVAL;
}

static int take_format(const char *text, struct arguments *arguments)
{
	if (log_format_parse(text, &arguments->format) == 0)
		return 0;
	fprintf(stderr, "bindshare-guestd: --log-format %s: text or json is wanted\n", text);
	return -EINVAL;
}

/* 0: go on; 1: it is done; -EINVAL after a message. */
static int parse(int argc, char **argv, struct arguments *arguments)
{
	enum {
		OPTION_CONFIG = 256,
		OPTION_STATUS,
		OPTION_JSON,
		OPTION_UNMOUNT,
		OPTION_PLUGIN,
		OPTION_LEVEL,
		OPTION_FORMAT,
		OPTION_VERSION
	};
	static const struct option options[] = {
		{ "config", required_argument, NULL, OPTION_CONFIG },
		{ "status", no_argument, NULL, OPTION_STATUS },
		{ "json", no_argument, NULL, OPTION_JSON },
		{ "unmount", no_argument, NULL, OPTION_UNMOUNT },
		{ "plugin", no_argument, NULL, OPTION_PLUGIN },
		{ "log-level", required_argument, NULL, OPTION_LEVEL },
		{ "log-format", required_argument, NULL, OPTION_FORMAT },
		{ "help", no_argument, NULL, 'h' },
		{ "version", no_argument, NULL, OPTION_VERSION },
		{ NULL, 0, NULL, 0 },
	};
	int option, r = 0;

	while (r == 0 && (option = getopt_long(argc, argv, "h", options, NULL)) >= 0) {
		if (option == OPTION_CONFIG)
			arguments->config = optarg;
		else if (option == OPTION_STATUS)
			arguments->action = ACTION_STATUS;
		else if (option == OPTION_UNMOUNT)
			arguments->action = ACTION_UNMOUNT;
		else if (option == OPTION_PLUGIN)
			arguments->action = ACTION_PLUGIN;
		else if (option == OPTION_JSON)
			arguments->json = true;
		else if (option == OPTION_LEVEL)
			r = take_level(optarg, arguments);
		else if (option == OPTION_FORMAT)
			r = take_format(optarg, arguments);
		else if (option == 'h')
			r = fputs(help, stdout) >= 0;
		else if (option == OPTION_VERSION)
			r = printf("bindshare-guestd %s\n", BINDSHARE_VERSION) >= 0;
		else
			r = -EINVAL;
	}
	if (r == 0 && optind < argc) {
		fprintf(stderr, "bindshare-guestd: it takes no argument like %s; see --help\n", argv[optind]);
		r = -EINVAL;
	}
	return r;
}

/* 0, or a negative errno after a message. */
static int read_config(struct guest_config *config, const struct arguments *arguments)
{
	char error[PATH_MAX + 512];
	int r = guest_config_read(arguments->config, config, error, sizeof(error));

	if (r == 0)
		return 0;
	/*
	 * The record of mounts tells of what there is to undo, and the plugin answers the engine, whatever became of
	 * the file.
	 */
	if (arguments->action == ACTION_UNMOUNT || arguments->action == ACTION_PLUGIN) {
		if (r != -ENOENT)
			log_warning("%s", error);
		return guest_config_default(config);
	}
	log_error("%s", error);
	return r;
}

static int be_plugin(const struct guest_config *config, const char *config_file)
{
	char error[PATH_MAX + 512];
	int r = plugin_run(config_file, config->plugin_socket, error, sizeof(error));

	if (r == 0)
		return EX_OK;
	log_error("%s", error);
	return r == -EADDRINUSE ? EX_UNAVAILABLE : r == -EINVAL ? EX_CONFIG : EX_CANTCREAT;
}

int main(int argc, char **argv)
{
	static struct guestd guestd;
	struct arguments arguments = { .config = GUEST_CONFIG_PATH, .level = LOG_LEVEL_INFO };
	int code, r = parse(argc, argv, &arguments);

	if (r != 0)
		return r < 0 ? EX_USAGE : EX_OK;
	log_init("bindshare-guestd", arguments.level);
	log_set_format(arguments.format);
	umask(022);
	r = read_config(&guestd.config, &arguments);
	if (r < 0)
		return r == -ENOENT ? EX_NOINPUT : r == -EPERM || r == -EACCES ? EX_NOPERM : EX_CONFIG;
	if (geteuid() != 0) {
		log_error("only root can mount: run it as root, by its systemd unit");
		code = EX_NOPERM;
	} else if (arguments.action == ACTION_PLUGIN) {
		code = be_plugin(&guestd.config, arguments.config);
	} else if (arguments.action == ACTION_STATUS) {
		code = status_show(&guestd.config, arguments.json);
	} else {
		code = run(&guestd, &arguments);
	}
	guest_config_done(&guestd.config);
	return code;
}
