/* SPDX-License-Identifier: Apache-2.0 */
/* bindsharectl: asks a running file server what it serves, and changes that. */
#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sysexits.h>

#include "fileserver/broker/control-path.h"
#include "ctl/client.h"
#include "ctl/doctor.h"
#include "ctl/tables.h"
#include "ctl/top.h"
#include "guest-fuse/binds/config.h"
#include "protocol/cleanup.h"

static const char help[] =
        "Usage: bindsharectl [OPTION]... COMMAND\n"
        "Asks the bindshare file server that runs as this user, and tells it what to share.\n"
        "\n"
        "  share ls            which directories are on the list, and in which state\n"
        "  share add DIR       put a directory on the list, or say that what lies there now is the one meant\n"
        "  share rm DIR        take one off; what is mounted and open of it fails at once\n"
        "  status              what is mounted\n"
        "  stats               requests, errors, bytes and times by operation\n"
        "  top                 the same live: mounts, requests per second, latency, bytes, by whom\n"
        "  events              what happens, line by line, until Ctrl-C\n"
        "  token rotate        make a new token in the server's token file\n"
        "  doctor              check this side, or with --guest the guest, and say what to do\n"
        "\n"
        "  -c, --control PATH  control socket (default: $XDG_RUNTIME_DIR/bindshare/control.sock)\n"
        "  -j, --json          print JSON: the server's answer, or an object a line\n"
        "  -r, --read-only     share add: only for reading\n"
        "      --no-persist    share add, share rm: not in the settings file, only until the server ends\n"
        "  -i, --interval S    top: seconds between two looks (default: 1)\n"
        "  -n, --count N       top: end after so many looks\n"
        "      --from-file     token rotate: take the token that is in the file by now\n"
        "      --end-mounts    token rotate: end every mount, too\n"
        "      --guest         doctor: check the guest: what mounting needs, bindshare-guestd, Docker\n"
        "      --config PATH   doctor --guest: bindshare-guestd's (default: " GUEST_CONFIG_PATH ")\n"
        "  -V, --version       print the version\n"
        "  -h, --help          print this\n";

struct arguments {
	const char *path; /* of the control socket */
	const char *directory;
	const char *config; /* of bindshare-guestd */
	bool json, read_only, no_persist, from_file, end_mounts, guest;
	long interval_s, count; /* count 0: without end */
};

static int usage(const char *words)
{
	(void) fprintf(stderr,
	               "bindsharectl: %s\nUsage: bindsharectl [--json] [--control PATH] share ls|add|rm | status | "
	               "stats | top | events | token rotate | doctor\n",
	               words);
	return EX_USAGE;
}

static int print_json(const json_t *object)
{
	(void) json_dumpf(object, stdout, JSON_COMPACT | JSON_REAL_PRECISION(13));
	(void) putchar('\n');
	return fflush(stdout) == 0 ? EX_OK : EX_IOERR;
}

/* Asks, which takes the request, and prints the answer, which must have this member. */
static int ask(const struct arguments *arguments, json_t *request, const char *member,
               void (*print)(const json_t *answer))
{
	int code;
	json_t *answer = client_ask(arguments->path, request, &code);

	if (answer == NULL)
		return code;
	code = client_check(answer);
	if (code == EX_OK && json_object_get(answer, member) == NULL) {
		(void) fprintf(stderr, "bindsharectl: the answer of the file server makes no sense\n");
		code = EX_PROTOCOL;
	}
	if (arguments->json)
		(void) print_json(answer);
	else if (code == EX_OK)
		print(answer);
	json_decref(answer);
	return code == EX_OK && fflush(stdout) != 0 ? EX_IOERR : code;
}

static int run_status(const struct arguments *arguments)
{
	return ask(arguments, client_request("status"), "mounts", tables_status);
}

static int run_stats(const struct arguments *arguments)
{
	return ask(arguments, client_request("stats"), "operations", tables_stats);
}

static int run_list(const struct arguments *arguments)
{
	return ask(arguments, client_request("shares"), "shares", tables_shares);
}

/* A directory as the server is to know it: a relative path is completed, by its name where that is possible. */
static int complete(const char *directory, char path[PATH_MAX])
{
	char here[PATH_MAX];

	if (directory[0] == '/')
		return snprintf(path, PATH_MAX, "%s", directory) < PATH_MAX ? 0 : -ENAMETOOLONG;
	if (strstr(directory, "..") != NULL && realpath(directory, path) != NULL)
		return 0;
	if (getcwd(here, sizeof(here)) == NULL)
		return -errno;
	return snprintf(path, PATH_MAX, "%s/%s", here, directory) < PATH_MAX ? 0 : -ENAMETOOLONG;
}

static int run_change(const struct arguments *arguments, const char *name, const char *member)
{
	char path[PATH_MAX];
	json_t *request, *text;

	if (complete(arguments->directory, path) < 0)
		return usage("the path is too long");
	text = json_string(path);
	if (text == NULL) {
		(void) fputs("bindsharectl: a path that is not UTF-8 cannot be told to the server; share a directory "
		             "above it\n",
		             stderr);
		return EX_DATAERR;
	}
	request = client_request(name);
	(void) json_object_set_new(request, "path", text);
	(void) json_object_set_new(request, "persist", json_boolean(!arguments->no_persist));
	if (arguments->read_only)
		(void) json_object_set_new(request, "read_only", json_true());
	return ask(arguments, request, member, tables_change);
}

static int run_add(const struct arguments *arguments)
{
	return run_change(arguments, "share-add", "added");
}

static int run_remove(const struct arguments *arguments)
{
	return run_change(arguments, "share-remove", "removed");
}

static int run_rotate(const struct arguments *arguments)
{
	json_t *request = client_request("token-rotate");

	(void) json_object_set_new(request, "from_file", json_boolean(arguments->from_file));
	(void) json_object_set_new(request, "end_mounts", json_boolean(arguments->end_mounts));
	return ask(arguments, request, "token_file", tables_token);
}

static int run_events(const struct arguments *arguments)
{
	struct client_lines lines = { .fd = client_connect(arguments->path) };
	json_t *event;
	bool first = true;

	if (lines.fd < 0 || !client_send(lines.fd, client_request("subscribe"))) {
		(void) fprintf(stderr, "bindsharectl: no file server at %s: %s\n", arguments->path,
		               lines.fd < 0 ? strerror(-lines.fd) : "the connection broke");
		client_done(&lines);
		return EX_UNAVAILABLE;
	}
	while ((event = client_next(&lines, first ? CLIENT_DEADLINE_MS : -1)) != NULL) {
		if (arguments->json)
			(void) print_json(event);
		else if (!first)
			tables_event(event);
		else
			(void) fputs("bindsharectl: waiting for events; Ctrl-C ends this\n", stderr);
		first = false;
		(void) fflush(stdout);
		json_decref(event);
	}
	client_done(&lines);
	(void) fputs("bindsharectl: the file server closed the connection\n", stderr);
	return EX_UNAVAILABLE;
}

static int run_top(const struct arguments *arguments)
{
	return top_run(arguments->path, arguments->interval_s, arguments->count, arguments->json);
}

static int run_doctor(const struct arguments *arguments)
{
	return doctor_run(arguments->guest ? NULL : arguments->path, arguments->config, arguments->json);
}

struct command {
	const char *words[2];
	bool takes_directory;
	int (*run)(const struct arguments *arguments);
};

static const struct command commands[] = {
	{ { "status" }, false, run_status },     { { "stats" }, false, run_stats },
	{ { "share", "ls" }, false, run_list },  { { "share", "add" }, true, run_add },
	{ { "share", "rm" }, true, run_remove }, { { "top" }, false, run_top },
	{ { "events" }, false, run_events },     { { "token", "rotate" }, false, run_rotate },
	{ { "doctor" }, false, run_doctor },
};

static const struct command *find_command(char **words, int count)
{
	for (unsigned i = 0; i < ARRAY_SIZE(commands); i++) {
		const struct command *command = &commands[i];
		int length = command->words[1] == NULL ? 1 : 2;

		if (count == length + command->takes_directory && strcmp(words[0], command->words[0]) == 0 &&
		    (length == 1 || strcmp(words[1], command->words[1]) == 0))
			return command;
	}
	return NULL;
}

enum { OPTION_NO_PERSIST = 256, OPTION_FROM_FILE, OPTION_END_MOUNTS, OPTION_GUEST, OPTION_CONFIG };

static const struct option long_options[] = {
	{ "control", required_argument, NULL, 'c' },
	{ "json", no_argument, NULL, 'j' },
	{ "read-only", no_argument, NULL, 'r' },
	{ "no-persist", no_argument, NULL, OPTION_NO_PERSIST },
	{ "interval", required_argument, NULL, 'i' },
	{ "count", required_argument, NULL, 'n' },
	{ "from-file", no_argument, NULL, OPTION_FROM_FILE },
	{ "end-mounts", no_argument, NULL, OPTION_END_MOUNTS },
	{ "guest", no_argument, NULL, OPTION_GUEST },
	{ "config", required_argument, NULL, OPTION_CONFIG },
	{ "version", no_argument, NULL, 'V' },
	{ "help", no_argument, NULL, 'h' },
	{ 0 },
};

/* -1, or EX_USAGE after a message. */
static int take_number(const char *words, long *ret_number)
{
	char *end;

	errno = 0;
	*ret_number = strtol(optarg, &end, 10);
	return errno != 0 || optarg[0] < '0' || optarg[0] > '9' || *end != '\0' || *ret_number < 1 ||
	                       *ret_number > 86400
	               ? usage(words)
	               : -1;
}

/* -1, or the exit code. */
static int take(struct arguments *arguments, int option)
{
	switch (option) {
	case 'c':
		arguments->path = optarg;
		return -1;
	case 'j':
		arguments->json = true;
		return -1;
	case 'r':
		arguments->read_only = true;
		return -1;
	case 'i':
		return take_number("--interval needs a number of seconds from 1 to 86400", &arguments->interval_s);
	case 'n':
		return take_number("--count needs a number from 1 to 86400", &arguments->count);
	case OPTION_NO_PERSIST:
		arguments->no_persist = true;
		return -1;
	case OPTION_FROM_FILE:
		arguments->from_file = true;
		return -1;
	case OPTION_END_MOUNTS:
		arguments->end_mounts = true;
		return -1;
	case OPTION_GUEST:
		arguments->guest = true;
		return -1;
	case OPTION_CONFIG:
		arguments->config = optarg;
		return -1;
	case 'V':
		(void) puts("bindsharectl " BINDSHARE_VERSION);
		return EX_OK;
	case 'h':
		(void) fputs(help, stdout);
		return EX_OK;
	default:
		(void) fputs("Try: bindsharectl --help\n", stderr);
		return EX_USAGE;
	}
}

int main(int argc, char **argv)
{
	struct arguments arguments = { .config = GUEST_CONFIG_PATH, .interval_s = 1 };
	const struct command *command;
	char default_path[256];
	int option, code = -1;

	while (code < 0 && (option = getopt_long(argc, argv, "c:jri:n:Vh", long_options, NULL)) != -1)
		code = take(&arguments, option);
	if (code >= 0)
		return code;
	command = find_command(argv + optind, argc - optind);
	if (command == NULL)
		return usage(
		        "the command is one of: share ls, share add DIR, share rm DIR, status, stats, top, events, "
		        "token rotate, doctor");
	if (command->takes_directory)
		arguments.directory = argv[argc - 1];
	if (arguments.path == NULL && !arguments.guest) {
		if (control_default_path(default_path, sizeof(default_path), false) < 0)
			return usage("XDG_RUNTIME_DIR is not set; say with --control where the control socket is");
		arguments.path = default_path;
	}
	return command->run(&arguments);
}
