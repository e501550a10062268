/* SPDX-License-Identifier: Apache-2.0 */
/* bindshare-mount: mounts a directory that a host shares. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sodium.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <sys/stat.h>

#include "guest-fuse/mount/background.h"
#include "guest-fuse/mount/client.h"
#include "guest-fuse/mount/server/connect.h"
#include "guest-fuse/mount/exits.h"
#include "guest-fuse/mount/server/keeper.h"
#include "guest-fuse/mount/mounting.h"
#include "guest-fuse/mount/kernel/lowlevel.h"
#include "protocol/cleanup.h"
#include "protocol/faults.h"
#include "protocol/log.h"

enum { PROGRAM_INIT_MS = 10000 };

static const char usage[] =
        "usage: bindshare-mount ADDRESS:/host/path MOUNTPOINT [-f] [-v] [-o OPTION,...]\n"
        "       bindshare-mount --stats MOUNTPOINT [--json]\n"
        "\n"
        "Mounts a directory that bindshare-fileserver shares. ADDRESS is vsock:CID:PORT (the host is CID 2)\n"
        "or unix:PATH.\n"
        "\n"
        "  -f                 stay in the foreground\n"
        "  -v                 say more\n"
        "  --stats            FUSE requests and messages to the server of a running mount\n"
        "  -o token-file=FILE the token that client and server share, 64 hexadecimal digits\n"
        "  -o ro              read-only\n"
        "  -o uid=N,gid=N     who files of the serving user appear to belong to (0)\n"
        "  -o owner=view|host that view, or the host's real numbers\n"
        "  -o permissions=guest|host\n"
        "                     who checks permissions: this kernel, or the server alone\n"
        "  -o cache=auto|none what the kernel may remember, for at most a second\n"
        "  -o fsname=NAME     what /proc/mounts shows as the source\n"
        "  -o timeout=S       seconds of silence after which the server is given up (30)\n"
        "  -o lanes=N         requests at once at most (64)\n"
        "  and of mount(8): rw nosuid suid nodev dev noexec exec noatime relatime strictatime nodiratime sync\n"
        "  dirsync; nosuid and nodev unless told otherwise.\n";

/* What lives as long as the mount. */
struct program {
	struct options options;
	struct client client;
	char mountpoint[PATH_MAX];
	struct proto_channel event;
	bool connected; /* event is there, and nobody else's */
	struct keeper *keeper;
	int mount, signals, statistics, ready;
	char statistics_path[STATS_PATH_SIZE];
};

static enum exits check_mountpoint(struct program *program)
{
	const char *given = program->options.mountpoint;
	struct stat st;

	if (realpath(given, program->mountpoint) == NULL) {
		log_error("the mountpoint %s: %s%s", given, strerror(errno),
		          errno == ENOENT ? "; make it first, with mkdir -p" : "");
		return EXITS_USAGE;
	}
	if (program->options.nofollow && strcmp(given, program->mountpoint) != 0) {
		log_error("the mountpoint %s leads through a symbolic link to %s, which the option nofollow forbids",
		          given, program->mountpoint);
		return EXITS_USAGE;
	}
	if (mounting_is_ours(program->mountpoint)) {
		log_error("%s is a mount of bindshare already; unmount it first", program->mountpoint);
		return EXITS_BUSY;
	}
	if (stat(program->mountpoint, &st) < 0 || !S_ISDIR(st.st_mode)) {
		log_error("the mountpoint %s is not a directory", program->mountpoint);
		return EXITS_USAGE;
	}
	return EXITS_OK;
}

static enum exits read_token(struct program *program)
{
	char error[512];

	if (sodium_init() < 0) {
		log_error("the cryptographic library does not start");
		return EXITS_SYSTEM;
	}
	if (program->options.token_file == NULL)
		return EXITS_OK;
	if (proto_token_read(program->options.token_file, &program->client.token, error, sizeof(error)) < 0) {
		log_error("%s", error);
		return EXITS_TOKEN_FILE;
	}
	return EXITS_OK;
}

static int block_signals(void)
{
	sigset_t set;

	(void) signal(SIGPIPE, SIG_IGN);
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	(void) pthread_sigmask(SIG_BLOCK, &set, NULL);
	return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

/* What can be torn down however far it comes. */
static void prepare_client(struct client *client)
{
	client->alive = -EBADF;
	client->wake = FAULT(MOUNT_WAKE, eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
	recent_init(&client->recent);
	follow_init(&client->follow);
	stale_init(&client->stale);
	ahead_init(&client->ahead);
	forgets_init(&client->forgets);
	lanes_init(&client->lanes, client);
	notifier_init(&client->notifier);
}

/* What WELCOME says. */
static enum exits set_up_client(struct program *program)
{
	struct client *client = &program->client;
	const struct proto_proof_reply *welcome = &client->welcome;

	client->read_only = program->options.read_only || (welcome->flags & PROTO_WELCOME_READ_ONLY) != 0;
	if (client->read_only && !program->options.read_only)
		log_warning("the host shares it read-only: mounted read-only");
	client->timeout = program->options.no_cache ? 0.0 : 1.0;
	lanes_limit(&client->lanes,
	            welcome->lanes_max < program->options.lanes ? welcome->lanes_max : program->options.lanes);
	if (client->wake < 0 || objects_new(welcome->root.node, &client->objects) < 0) {
		log_error("out of memory");
		return EXITS_SYSTEM;
	}
	objects_limit(client->objects, welcome->nodes_max);
	return EXITS_OK;
}

static enum exits start_serving(struct program *program)
{
	struct client *client = &program->client;
	char error[512];
	int r = mounting_make(&program->options, client->read_only, &client->device, &program->mount, error,
	                      sizeof(error));

	if (r < 0) {
		log_error("%s", error);
		return r == -ENOENT || r == -ENODEV || r == -ENXIO || r == -EPERM ? EXITS_SYSTEM : EXITS_MOUNT;
	}
	r = session_new(client);
	if (r == 0)
		r = notifier_start(&client->notifier, client);
	if (r < 0) {
		log_error("the session with the kernel does not start: %s", strerror(-r));
		return EXITS_SYSTEM;
	}
	r = lanes_start(&client->lanes);
	if (r < 0) {
		log_error("the lanes to the server do not start: %s", strerror(-r));
		return EXITS_MOUNT;
	}
	return EXITS_OK;
}

/* Until the kernel has what it asks first. */
static bool wait_for_kernel(struct client *client)
{
	struct pollfd fd = { .fd = client->wake, .events = POLLIN };
	eventfd_t count;

	while (!atomic_load(&client->initialized)) {
		if (atomic_load(&client->lanes.ending) || poll(&fd, 1, PROGRAM_INIT_MS) <= 0)
			return false;
		(void) eventfd_read(client->wake, &count);
	}
	return true;
}

/* All that can fail, before anybody can see the mount. */
static enum exits complete(struct program *program)
{
	unsigned major, minor;
	int r;

	if (program->options.alive != NULL) {
		program->client.alive = open(program->options.alive, O_WRONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
		if (program->client.alive < 0) {
			log_error("option alive=%s: %s; whoever gives it must have it open for reading",
			          program->options.alive, strerror(errno));
			return EXITS_USAGE;
		}
	}
	if (!wait_for_kernel(&program->client)) {
		log_error("the kernel does not take the file system");
		return EXITS_MOUNT;
	}
	r = mounting_device_number(program->mount, &major, &minor);
	if (r < 0) {
		log_error("the mount cannot be told from others: %s", strerror(-r));
		return EXITS_MOUNT;
	}
	r = mounting_tune(major, minor);
	if (r < 0)
		log_debug("read-ahead stays small: %s", strerror(-r));
	stats_path(major, minor, program->statistics_path);
	program->statistics = stats_listen(program->statistics_path);
	if (program->statistics < 0)
		log_warning("no figures by --stats: %s", strerror(-program->statistics));
	r = follow_admit_root(&program->client.follow, major, minor);
	if (r < 0)
		log_warning("binds of single files do not follow their names: %s: %s",
		            program->client.follow.secret_path, strerror(-r));
	r = keeper_new(&program->client, &program->event, program->signals, program->statistics, program->mountpoint,
	               &program->keeper);
	if (r < 0) {
		log_error("the mount does not start: %s", strerror(-r));
		return EXITS_SYSTEM;
	}
	program->connected = false;
	return EXITS_OK;
}

static enum exits serve(struct program *program)
{
	int r = mounting_place(program->mount, program->mountpoint);

	program->mount = close_fd(program->mount);
	if (r < 0) {
		log_error("mounting at %s: %s", program->mountpoint, strerror(-r));
		return EXITS_MOUNT;
	}
	if (program->options.foreground)
		log_info("mounted at %s", program->mountpoint);
	else
		background_ready(program->ready);
	keeper_run(program->keeper);
	keeper_goodbye(program->keeper);
	return EXITS_OK;
}

static enum exits run(struct program *program)
{
	enum exits code;

	prepare_client(&program->client);
	code = connect_session(&program->client, &program->event);
	if (code != EXITS_OK)
		return code;
	program->connected = true;
	code = set_up_client(program);
	if (code == EXITS_OK)
		code = start_serving(program);
	if (code == EXITS_OK)
		code = complete(program);
	if (code == EXITS_OK)
		code = serve(program);
	return code;
}

/*
 * The end. The kernel's requests are over or are given up: closing the last descriptor ends the connection. Threads
 * that wait for the server are woken; one that is connecting has a deadline of its own.
 */
static void tear_down(struct program *program)
{
	struct client *client = &program->client;

	if (program->statistics >= 0)
		(void) unlink(program->statistics_path);
	follow_admit_nobody(&client->follow);
	close_fd(program->statistics);
	close_fd(program->mount);
	if (program->connected)
		proto_channel_done(&program->event);
	keeper_free(program->keeper);
	if (!atomic_load(&client->lanes.ending) && client->lanes.started > 0)
		return; /* still mounted somewhere: the process's end is the connection's */
	(void) client_die(client, ENOTCONN);
	lanes_end(&client->lanes);
	lanes_join(&client->lanes);
	notifier_stop(&client->notifier);
	session_free(client);
	lanes_done(&client->lanes);
	forgets_done(&client->forgets);
	recent_done(&client->recent);
	follow_done(&client->follow);
	stale_done(&client->stale);
	ahead_done(&client->ahead);
	objects_free(client->objects);
	close_fd(client->device);
	close_fd(client->wake);
}

static enum exits mount_share(struct program *program)
{
	enum exits code;
	int r;

	if (geteuid() != 0) {
		log_error("only root can mount");
		return EXITS_USAGE;
	}
	code = check_mountpoint(program);
	if (code == EXITS_OK)
		code = read_token(program);
	if (code != EXITS_OK || program->options.fake)
		return code;
	if (!program->options.foreground) {
		r = background_start();
		if (r < 0) {
			log_error("cannot go to the background: %s", strerror(-r));
			return EXITS_SYSTEM;
		}
		program->ready = r;
	}
	program->signals = block_signals();
	code = run(program);
	tear_down(program);
	close_fd(program->signals);
	return code;
}

int main(int argc, char **argv)
{
	static struct program program = {
		.mount = -EBADF,
		.signals = -EBADF,
		.statistics = -EBADF,
		.ready = -EBADF,
		.client = { .device = -EBADF, .wake = -EBADF },
	};
	struct options *options = &program.options;
	enum exits code = EXITS_USAGE;
	char error[512];
	int r;

	log_init("bindshare-mount", LOG_LEVEL_INFO);
	r = options_parse(argc, argv, options, error, sizeof(error));
	program.client.options = options;
	if (options->verbose)
		log_init("bindshare-mount", LOG_LEVEL_DEBUG);
	if (r < 0) {
		log_error("%s", error);
	} else if (options->action == OPTIONS_HELP) {
		code = fputs(usage, stdout) < 0 || fflush(stdout) != 0 ? EXITS_SYSTEM : EXITS_OK;
	} else if (options->action == OPTIONS_VERSION) {
		code = printf("bindshare-mount %s\n", BINDSHARE_VERSION) < 0 ? EXITS_SYSTEM : EXITS_OK;
	} else if (options->action == OPTIONS_STATS) {
		code = stats_show(options->mountpoint, options->json);
	} else if (faults_start()) {
		code = mount_share(&program);
		sodium_memzero(&program.client.token, sizeof(program.client.token));
	}
	if (options->helper && code > EXITS_MOUNT)
		code = EXITS_MOUNT;
	options_done(options);
	return (int) code;
}
