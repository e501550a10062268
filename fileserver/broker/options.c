/* SPDX-License-Identifier: Apache-2.0 */
/* The command line of bindshare-fileserver. */
#include "fileserver/broker/options.h"

#include <errno.h>
#include <getopt.h>
#include <linux/vm_sockets.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sysexits.h>

#include "protocol/cleanup.h"
#include "protocol/number.h"

static const char help[] =
        "Usage: bindshare-fileserver --listen ADDRESS [--share DIR[:ro]]... [OPTION]...\n"
        "Serves directories of this machine to guests, with the rights of the user that runs it.\n"
        "\n"
        "  -l, --listen ADDRESS    vsock:PORT or unix:PATH; unix:PATH_PORT where a VMM forwards a guest's vsock port\n"
        "  -s, --share DIR[:ro|:rw]  allow this directory and all beneath it to be mounted; :ro only for reading\n"
        "      --settings FILE     JSON with FilesharingDirectories (default, when there is no --share either:\n"
        "                          ~/.docker/desktop/settings-store.json)\n"
        "      --admin-settings FILE  the administrator's limits to what may be shared (default, if it is there:\n"
        "                          /usr/share/docker-desktop/admin-settings.json)\n"
        "      --token-file FILE   64 hexadecimal digits that guests must hold; needed for all but unix:PATH\n"
        "      --trust-cid CID     let this guest in over vsock; may be given several times\n"
        "      --control PATH      control socket (default: $XDG_RUNTIME_DIR/bindshare/control.sock)\n"
        "      --allow-root        run as root: guests then have root's rights in the shares\n"
        "      --ready-fd N        write \"ready\" to this descriptor once the server listens\n"
        "      --log-level LEVEL   error, warning, info or debug (default: info)\n"
        "      --log-format FORMAT  text or json (default: text)\n"
        "      --log-file FILE     log to the end of this file, opened again on SIGUSR1, in place of stderr\n"
        "      --disk-reserve BYTES  refuse writes when the disk has less free (default: 1073741824)\n"
        "      --descriptors N, --nodes N  limits of all mounts together\n"
        "      --lanes N, --watches N, --heartbeat MS, --stall MS  limits of each mount\n"
        "  -V, --version           print the version\n"
        "  -h, --help              print this\n";

enum { SPARE_DESCRIPTORS = 2048 };

enum {
	OPTION_SETTINGS = 256,
	OPTION_ADMIN_SETTINGS,
	OPTION_TOKEN_FILE,
	OPTION_TRUST_CID,
	OPTION_CONTROL,
	OPTION_ALLOW_ROOT,
	OPTION_READY_FD,
	OPTION_LOG_LEVEL,
	OPTION_LOG_FORMAT,
	OPTION_LOG_FILE,
	OPTION_DISK_RESERVE,
	OPTION_DESCRIPTORS,
	OPTION_NODES,
	OPTION_LANES,
	OPTION_WATCHES,
	OPTION_HEARTBEAT,
	OPTION_STALL,
};

static const struct option long_options[] = {
	{ "listen", required_argument, NULL, 'l' },
	{ "share", required_argument, NULL, 's' },
	{ "settings", required_argument, NULL, OPTION_SETTINGS },
	{ "admin-settings", required_argument, NULL, OPTION_ADMIN_SETTINGS },
	{ "token-file", required_argument, NULL, OPTION_TOKEN_FILE },
	{ "trust-cid", required_argument, NULL, OPTION_TRUST_CID },
	{ "control", required_argument, NULL, OPTION_CONTROL },
	{ "allow-root", no_argument, NULL, OPTION_ALLOW_ROOT },
	{ "ready-fd", required_argument, NULL, OPTION_READY_FD },
	{ "log-level", required_argument, NULL, OPTION_LOG_LEVEL },
	{ "log-format", required_argument, NULL, OPTION_LOG_FORMAT },
	{ "log-file", required_argument, NULL, OPTION_LOG_FILE },
	{ "disk-reserve", required_argument, NULL, OPTION_DISK_RESERVE },
	{ "descriptors", required_argument, NULL, OPTION_DESCRIPTORS },
	{ "nodes", required_argument, NULL, OPTION_NODES },
	{ "lanes", required_argument, NULL, OPTION_LANES },
	{ "watches", required_argument, NULL, OPTION_WATCHES },
	{ "heartbeat", required_argument, NULL, OPTION_HEARTBEAT },
	{ "stall", required_argument, NULL, OPTION_STALL },
	{ "version", no_argument, NULL, 'V' },
	{ "help", no_argument, NULL, 'h' },
	{ 0 },
};

static int usage(const char *format, ...) __attribute__((format(printf, 1, 2)));
static int usage(const char *format, ...)
{
	va_list arguments;

	(void) fputs("bindshare-fileserver: ", stderr);
	va_start(arguments, format);
	(void) vfprintf(stderr, format, arguments);
	va_end(arguments);
	(void) fputs("\nUsage: bindshare-fileserver --listen ADDRESS [--share DIR[:ro]]... [OPTION]...; see --help\n",
	             stderr);
	return EX_USAGE;
}

/* -1, or EX_USAGE after a message. */
static int take_number(const char *name, uint64_t least, uint64_t most, uint64_t *ret_number)
{
	if (number_parse(optarg, least, most, ret_number) < 0)
		return usage("--%s %s: not a number from %llu to %llu", name, optarg, (unsigned long long) least,
		             (unsigned long long) most);
	return -1;
}

static int take_number32(const char *name, uint32_t least, uint32_t most, uint32_t *ret_number)
{
	uint64_t number = 0;
	int r = take_number(name, least, most, &number);

	*ret_number = (uint32_t) number;
	return r;
}

static int take_share(struct options *options)
{
	struct options_share *share = &options->shares[options->share_count];
	size_t length = strlen(optarg);

	if (options->share_count == OPTIONS_SHARES_MAX)
		return usage("more than %d shares", OPTIONS_SHARES_MAX);
	share->path = optarg;
	if (length > 3 && strcmp(optarg + length - 3, ":ro") == 0)
		share->read_only = true;
	if (length > 3 && (share->read_only || strcmp(optarg + length - 3, ":rw") == 0))
		optarg[length - 3] = '\0';
	if (share->path[0] == '\0')
		return usage("--share needs a directory");
	options->share_count++;
	return -1;
}

static int take_cid(struct options *options)
{
	if (options->cid_count == ADMISSION_CIDS_MAX)
		return usage("more than %d CIDs", ADMISSION_CIDS_MAX);
	return take_number32("trust-cid", 0, UINT32_MAX - 1, &options->cids[options->cid_count++]);
}

static int take_log_level(struct options *options)
{
	if (log_level_parse(optarg, &options->log_level) < 0)
		return usage("--log-level %s: not one of error, warning, info, debug", optarg);
	return -1;
}

static int take_log_format(struct options *options)
{
	if (log_format_parse(optarg, &options->log_format) < 0)
		return usage("--log-format %s: not one of text, json", optarg);
	return -1;
}

/* What is one word. False: it is another option. */
static bool take_path(struct options *options, int option)
{
	const char **place = option == OPTION_SETTINGS         ? &options->settings
	                     : option == OPTION_ADMIN_SETTINGS ? &options->admin_settings
	                     : option == OPTION_TOKEN_FILE     ? &options->token_file
	                     : option == OPTION_CONTROL        ? &options->control
	                     : option == OPTION_LOG_FILE       ? &options->log_file
	                                                       : NULL;

	if (place != NULL)
		*place = optarg;
	return place != NULL;
}

static int take_limit(struct options *options, int option)
{
	struct worker_config *limits = &options->limits;
	uint32_t fd;
	int r;

	switch (option) {
	case OPTION_READY_FD:
		r = take_number32("ready-fd", 1, INT32_MAX, &fd);
		options->ready_fd = (int) fd;
		return r;
	case OPTION_DISK_RESERVE:
		return take_number("disk-reserve", 0, INT64_MAX, &limits->disk_reserve);
	case OPTION_DESCRIPTORS:
		return take_number32("descriptors", 16, 1 << 20, &limits->descriptors_max);
	case OPTION_NODES:
		return take_number32("nodes", 16, 1 << 30, &limits->nodes_max);
	case OPTION_LANES:
		return take_number32("lanes", 1, 64, &limits->lanes_max);
	case OPTION_WATCHES:
		return take_number32("watches", 1, 1 << 20, &limits->watches_max);
	case OPTION_HEARTBEAT:
		return take_number32("heartbeat", 50, 600000, &limits->heartbeat_ms);
	default:
		return take_number32("stall", 50, 600000, &limits->stall_ms);
	}
}

/* -1, or the exit code. */
static int take(struct options *options, int option)
{
	if (take_path(options, option))
		return -1;
	switch (option) {
	case 'l':
		if (options->listen_text != NULL)
			return usage("--listen was given twice; a server listens at one address");
		options->listen_text = optarg;
		return -1;
	case 's':
		return take_share(options);
	case OPTION_TRUST_CID:
		return take_cid(options);
	case OPTION_ALLOW_ROOT:
		options->allow_root = true;
		return -1;
	case OPTION_LOG_LEVEL:
		return take_log_level(options);
	case OPTION_LOG_FORMAT:
		return take_log_format(options);
	case 'V':
		(void) puts("bindshare-fileserver " BINDSHARE_VERSION);
		return EX_OK;
	case 'h':
		(void) fputs(help, stdout);
		return EX_OK;
	case '?':
		(void) fputs("Try: bindshare-fileserver --help\n", stderr);
		return EX_USAGE;
	default:
		return take_limit(options, option);
	}
}

/* What must go together. -1, or EX_USAGE. */
static int check(struct options *options)
{
	const struct proto_address *listen = &options->listen;
	char error[512];

	if (options->listen_text == NULL)
		return usage(
		        "--listen is missing: say where, for example --listen unix:$XDG_RUNTIME_DIR/bindshare.sock");
	if (proto_address_parse(options->listen_text, &options->listen, error, sizeof(error)) < 0)
		return usage("--listen %s", error);
	if (listen->kind == PROTO_ADDRESS_VSOCK && listen->cid != VMADDR_CID_ANY)
		return usage("--listen %s: to listen write vsock:PORT; which CIDs may come in says --trust-cid",
		             options->listen_text);
	if (listen->kind == PROTO_ADDRESS_VSOCK && options->cid_count == 0)
		return usage("--listen %s needs --trust-cid CID, the guest's number", options->listen_text);
	if ((listen->kind == PROTO_ADDRESS_VSOCK || listen->hybrid) && options->token_file == NULL)
		return usage("--listen %s needs --token-file FILE: such a socket does not tell who connects",
		             options->listen_text);
	return -1;
}

static uint32_t default_descriptors(void)
{
	struct rlimit files;
	rlim_t spare;

	if (getrlimit(RLIMIT_NOFILE, &files) < 0)
		return 512;
	/* The rest is for what operations open for moments, and for lanes. */
	spare = files.rlim_max / 2 < SPARE_DESCRIPTORS ? files.rlim_max / 2 : SPARE_DESCRIPTORS;
	return files.rlim_max - spare < 65536 ? (uint32_t) (files.rlim_max - spare) : 65536;
}

int options_parse(int argc, char **argv, struct options *ret_options)
{
	int option, code = -1;

	*ret_options = (struct options){
		.ready_fd = -1,
		.log_level = LOG_LEVEL_INFO,
		.limits = { .lanes_max = 64,
		            .heartbeat_ms = 60000,
		            .nodes_max = 1000000,
		            .descriptors_max = default_descriptors(),
		            .stall_ms = 30000,
		            .disk_reserve = 1 << 30 },
	};
	while (code < 0 && (option = getopt_long(argc, argv, "l:s:Vh", long_options, NULL)) != -1)
		code = take(ret_options, option);
	if (code >= 0)
		return code;
	if (optind < argc)
		return usage("\"%s\" is no option; a directory to share goes behind --share", argv[optind]);
	return check(ret_options);
}
