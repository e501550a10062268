/* SPDX-License-Identifier: Apache-2.0 */
/* bindshare-mount: mounts a directory that a host shares. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sodium.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mount.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "guest-fuse/mount/background.h"
#include "guest-fuse/mount/exits.h"
#include "guest-fuse/mount/kernel/interrupts.h"
#include "guest-fuse/mount/kernel/invalidator.h"
#include "guest-fuse/mount/kernel/lowlevel.h"
#include "guest-fuse/mount/kernel/notifier.h"
#include "guest-fuse/mount/kernel/secret.h"
#include "guest-fuse/mount/kernel/threads.h"
#include "guest-fuse/mount/mount-options.h"
#include "guest-fuse/mount/mounting.h"
#include "guest-fuse/mount/parts.h"
#include "guest-fuse/mount/server/connect.h"
#include "guest-fuse/mount/server/keeper.h"
#include "guest-fuse/mount/server/pending.h"
#include "guest-fuse/mount/server/server.h"
#include "guest-fuse/mount/stats.h"
#include "guest-fuse/mount/watchdog.h"
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
        "  -o cache=auto|timeout|none what the kernel may remember, and how long\n"
        "  -o fsname=NAME     what /proc/mounts shows as the source\n"
        "  -o timeout=S       seconds of silence after which the server is given up (30)\n"
        "  -o lanes=N         requests at once at most (64)\n"
        "  -o io_uring=auto|no FUSE over io_uring where the kernel has it, or the device alone\n"
        "  and of mount(8): rw nosuid suid nodev dev noexec exec noatime relatime strictatime nodiratime sync\n"
        "  dirsync; nosuid and nodev unless told otherwise.\n";

/* What lives as long as the mount. */
struct program {
	struct mount_options options;
	struct proto_token token;
	struct client *client;
	char mountpoint[PATH_MAX];
	struct proto_channel event;
	bool connected; /* event is open, and still this struct's to close */
	struct keeper *keeper;
	struct keeper_duties duties;
	int mount, signals, statistics, ready;
	unsigned major, minor; /* of the mount's device number */
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
	if (proto_token_read(program->options.token_file, &program->token, error, sizeof(error)) < 0) {
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

/* What WELCOME says. */
static enum exits set_up_client(struct program *program)
{
	if (parts_complete(program->client) < 0) {
		log_error("out of memory");
		return EXITS_SYSTEM;
	}
	if (program->client->read_only && !program->options.read_only)
		log_warning("the host shares it read-only: mounted read-only");
	return EXITS_OK;
}

static enum exits start_serving(struct program *program)
{
	struct client *client = program->client;
	char error[512];
	int r = mounting_make(&program->options, client->read_only, &client->device, &program->mount, error,
	                      sizeof(error));

	if (r < 0) {
		log_error("%s", error);
		return r == -ENOENT || r == -ENODEV || r == -ENXIO || r == -EPERM ? EXITS_SYSTEM : EXITS_MOUNT;
	}
	r = mounting_device_number(program->mount, &program->major, &program->minor);
	if (r < 0) {
		log_error("the mount cannot be told from others: %s", strerror(-r));
		return EXITS_MOUNT;
	}
	r = watchdog_start(program->minor);
	if (r < 0)
		log_warning("whoever uses the mount may hang if this process is killed: %s", strerror(-r));
	r = lowlevel_new(client);
	if (r == 0)
		r = notifier_start(client->notifier);
	if (r == 0 && program->options.leases)
		r = invalidator_start(client->invalidator);
	if (r < 0) {
		log_error("the session with the kernel does not start: %s", strerror(-r));
		return EXITS_SYSTEM;
	}
	r = threads_start(client->threads);
	if (r < 0) {
		log_error("the lanes to the server do not start: %s", strerror(-r));
		return EXITS_MOUNT;
	}
	return EXITS_OK;
}

/* Waits until the kernel has the answer to INIT. */
static bool wait_for_kernel(struct client *client)
{
	struct pollfd fd = { .fd = client->server->wake, .events = POLLIN };
	eventfd_t count;

	while (!atomic_load(&client->initialized)) {
		if (threads_are_ending(client->threads) || poll(&fd, 1, PROGRAM_INIT_MS) <= 0)
			return false;
		(void) eventfd_read(client->server->wake, &count);
	}
	return true;
}

/* The keeper's duties (keeper.h). */

static bool is_over(void *data)
{
	const struct program *program = data;

	return threads_are_ending(program->client->threads);
}

static int serve_kernel(void *data)
{
	struct client *client = ((struct program *) data)->client;

	if (threads_are_saturated(client->threads)) {
		threads_grow(client->threads);
		threads_give_up(client->threads, interrupts_thread_dies);
	}
	return interrupts_serve(client->interrupts, threads_are_saturated(client->threads)) ? INTERRUPTS_POLL_MS : 0;
}

static void answer_statistics(void *data)
{
	const struct program *program = data;

	stats_answer(program->statistics, program->client);
}

static void invalidate(void *data, const struct proto_invalidate_request *request)
{
	invalidator_take(((struct program *) data)->client->invalidator, request);
}

static void unmount(void *data)
{
	const char *mountpoint = ((struct program *) data)->mountpoint;

	if (mounting_is_ours(mountpoint) && umount2(mountpoint, MNT_DETACH | UMOUNT_NOFOLLOW) < 0)
		log_warning("cannot unmount %s: %s", mountpoint, strerror(errno));
}

/* The option alive=: whoever reads this FIFO sees its end when the session ends. */
static enum exits open_alive(struct program *program)
{
	const char *alive = program->options.alive;
	int fd = alive == NULL ? -EBADF : open(alive, O_WRONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);

	if (alive != NULL && fd < 0) {
		log_error("option alive=%s: %s; whoever gives it must have it open for reading", alive,
		          strerror(errno));
		return EXITS_USAGE;
	}
	program->client->server->alive = fd;
	return EXITS_OK;
}

/* Everything that can fail is done before the mount is in place. */
static enum exits complete(struct program *program)
{
	struct client *client = program->client;
	int r;

	program->duties = (struct keeper_duties){
		.is_over = is_over,
		.serve_kernel = serve_kernel,
		.answer_statistics = answer_statistics,
		.invalidate = invalidate,
		.unmount = unmount,
		.data = program,
	};
	if (open_alive(program) != EXITS_OK)
		return EXITS_USAGE;
	if (!wait_for_kernel(client)) {
		log_error("the kernel does not take the file system");
		return EXITS_MOUNT;
	}
	r = mounting_tune(program->major, program->minor);
	if (r < 0)
		log_debug("read-ahead stays small: %s", strerror(-r));
	stats_path(program->major, program->minor, program->statistics_path);
	program->statistics = stats_listen(program->statistics_path);
	if (program->statistics < 0)
		log_warning("no figures by --stats: %s", strerror(-program->statistics));
	r = secret_publish(client->secret, program->major, program->minor);
	if (r < 0)
		log_warning("binds of single files do not follow their names: %s: %s", client->secret->path,
		            strerror(-r));
	r = keeper_new(client->pending, &program->event, program->signals, program->statistics, program->mountpoint,
	               &program->duties, &program->keeper);
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

	program->client = parts_new(&program->options, &program->token);
	if (program->client == NULL) {
		log_error("out of memory");
		return EXITS_SYSTEM;
	}
	code = connect_session(program->client->server, &program->event);
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
 * The end. The kernel sends no more requests, or those that are left are given up: closing the last descriptor of
 * /dev/fuse ends them. Threads that wait for the server are woken; one that is connecting has a deadline of its own.
 */
static void tear_down(struct program *program)
{
	struct client *client = program->client;

	if (program->statistics >= 0)
		(void) unlink(program->statistics_path);
	close_fd(program->statistics);
	close_fd(program->mount);
	if (program->connected)
		proto_channel_done(&program->event);
	keeper_free(program->keeper);
	if (client == NULL)
		return;
	secret_withdraw(client->secret);
	if (!threads_are_ending(client->threads) && threads_are_there(client->threads))
		return; /* still mounted somewhere: exit() closes /dev/fuse */
	(void) pending_fail(client->pending, ENOTCONN);
	threads_end(client->threads);
	threads_join(client->threads);
	notifier_stop(client->notifier);
	invalidator_stop(client->invalidator);
	parts_free(client);
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
	};
	struct mount_options *options = &program.options;
	enum exits code = EXITS_USAGE;
	char error[512];
	int r;

	log_init("bindshare-mount", LOG_LEVEL_INFO);
	r = mount_options_parse(argc, argv, options, error, sizeof(error));
	if (options->verbose)
		log_init("bindshare-mount", LOG_LEVEL_DEBUG);
	if (r < 0) {
		log_error("%s", error);
	} else if (options->action == MOUNT_OPTIONS_HELP) {
		code = fputs(usage, stdout) < 0 || fflush(stdout) != 0 ? EXITS_SYSTEM : EXITS_OK;
	} else if (options->action == MOUNT_OPTIONS_VERSION) {
		code = printf("bindshare-mount %s\n", BINDSHARE_VERSION) < 0 ? EXITS_SYSTEM : EXITS_OK;
	} else if (options->action == MOUNT_OPTIONS_STATS) {
		code = stats_show(options->mountpoint, options->json);
	} else if (faults_start()) {
		code = mount_share(&program);
		sodium_memzero(&program.token, sizeof(program.token));
	}
	if (options->helper && code > EXITS_MOUNT)
		code = EXITS_MOUNT;
	mount_options_done(options);
	return (int) code;
}
