/* SPDX-License-Identifier: Apache-2.0 */
/* bindsharectl: asks a running file server what it serves, and changes that. */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sysexits.h>

#include "ctl/client.h"
#include "ctl/command.h"
#include "ctl/doctor.h"
#include "ctl/tables.h"
#include "ctl/top.h"
#include "guest-fuse/binds/config.h"
#include "protocol/cleanup.h"
#include "protocol/clock.h"
#include "protocol/control-path.h"
#include "protocol/number.h"

static int print_json(const json_t *object)
{
	(void) json_dumpf(object, stdout, JSON_COMPACT | JSON_REAL_PRECISION(13));
	(void) putchar('\n');
	return fflush(stdout) == 0 ? EX_OK : EX_IOERR;
}

/* Prints the answer, or what is wrong with it; it must have this member. Takes it. The exit code. */
static int show(const struct arguments *arguments, json_t *answer, const char *member,
                void (*print)(const json_t *answer))
{
	int code = client_check(answer);

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

/* Asks, which takes the request, and shows the answer. */
static int ask(const struct arguments *arguments, json_t *request, const char *member,
               void (*print)(const json_t *answer))
{
	int code;
	json_t *answer = client_ask(arguments->path, request, &code);

	return answer == NULL ? code : show(arguments, answer, member, print);
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

/* A request about a directory. NULL after words on stderr, and the exit code. */
static json_t *request_about(const struct arguments *arguments, const char *name, int *ret_code)
{
	char path[PATH_MAX];
	json_t *request, *text;

	if (complete(arguments->directory, path) < 0) {
		*ret_code = command_usage(NULL, "%.64s...: the path is too long", arguments->directory);
		return NULL;
	}
	text = json_string(path);
	if (text == NULL) {
		(void) fputs("bindsharectl: a path that is not UTF-8 cannot be told to the server; name a directory "
		             "above it\n",
		             stderr);
		*ret_code = EX_DATAERR;
		return NULL;
	}
	request = client_request(name);
	(void) json_object_set_new(request, "path", text);
	return request;
}

static int run_change(const struct arguments *arguments, const char *name, const char *member)
{
	int code = EX_OSERR;
	json_t *request = request_about(arguments, name, &code);

	if (request == NULL)
		return code;
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

/* The server waits for guests, and a moment for what they may keep. */
static int run_sync(const struct arguments *arguments)
{
	int code = EX_OSERR;
	json_t *request =
	        arguments->directory == NULL ? client_request("sync") : request_about(arguments, "sync", &code);
	json_t *answer;

	if (request == NULL)
		return code;
	(void) json_object_set_new(request, "timeout", json_integer(arguments->timeout_s));
	answer = client_ask_longer(arguments->path, request, arguments->timeout_s * 1000, &code);
	return answer == NULL ? code : show(arguments, answer, "mounts", tables_sync);
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
	_cleanup_json_lines_ struct json_lines lines = { .fd = -EBADF };
	int64_t deadline = clock_ms() + CLIENT_DEADLINE_MS;
	int r = client_open(arguments->path, &lines);
	const char *problem = r < 0 ? strerror(-r) : "the connection broke";
	json_t *event;
	bool first = true;

	if (r == 0)
		r = json_lines_send(&lines, client_request("subscribe"), deadline);
	if (r < 0) {
		(void) fprintf(stderr, "bindsharectl: no file server at %s: %s\n", arguments->path, problem);
		return EX_UNAVAILABLE;
	}
	while (json_lines_next(&lines, first ? deadline : JSON_LINES_EVER, &event) == 0) {
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
	(void) fputs("bindsharectl: the file server closed the connection\n", stderr);
	return EX_UNAVAILABLE;
}

static int run_top(const struct arguments *arguments)
{
	const struct top_options options = { .interval_s = arguments->interval_s,
		                             .count = arguments->count,
		                             .as_json = arguments->json,
		                             .sort = arguments->sort };

	return top_run(arguments->path, &options);
}

static int run_doctor(const struct arguments *arguments)
{
	return doctor_run(arguments->guest ? NULL : arguments->path, arguments->config, arguments->json);
}

const struct command commands[] = {
	{ { "share", "ls" }, NULL, "which directories are on the list, and in which state", { 0 }, run_list },
	{ { "share", "add" },
	  "DIR",
	  "put a directory on the list, or say that what lies there now is the one meant",
	  { 'r', OPTION_NO_PERSIST },
	  run_add },
	{ { "share", "rm" },
	  "DIR",
	  "take one off; what is mounted and open of it fails at once",
	  { OPTION_NO_PERSIST },
	  run_remove },
	{ { "status" }, NULL, "what is mounted", { 0 }, run_status },
	{ { "stats" }, NULL, "requests, errors, bytes and times by operation", { 0 }, run_stats },
	{ { "top" },
	  NULL,
	  "the same live: mounts, requests per second, latency, bytes, by whom;\n"
	  "q ends it, and the first letter of an order (see --sort) chooses that",
	  { 'i', 'n', OPTION_SORT },
	  run_top },
	{ { "sync" },
	  "[DIR]",
	  "return when the guests have taken in every change made on the host before:\n"
	  "of what they have mounted, or of a shared directory alone",
	  { OPTION_TIMEOUT },
	  run_sync },
	{ { "events" }, NULL, "what happens, line by line, until Ctrl-C", { 0 }, run_events },
	{ { "token", "rotate" },
	  NULL,
	  "make a new token in the server's token file",
	  { OPTION_FROM_FILE, OPTION_END_MOUNTS },
	  run_rotate },
	{ { "doctor" },
	  NULL,
	  "check this side, or with --guest the guest, and say what to do",
	  { OPTION_GUEST, OPTION_CONFIG },
	  run_doctor },
};
const size_t command_count = ARRAY_SIZE(commands);

/* -1, or EX_USAGE after a message. */
static int take_number(const char *option, long *ret_number)
{
	uint64_t number;

	if (number_parse(optarg, 1, 86400, &number) < 0)
		return command_usage(NULL, "%s %s: not a number from 1 to 86400", option, optarg);
	*ret_number = (long) number;
	return -1;
}

/* -1, or the exit code. */
static int take(struct arguments *arguments, int option, char **argv)
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
		return take_number("--interval", &arguments->interval_s);
	case 'n':
		return take_number("--count", &arguments->count);
	case OPTION_TIMEOUT:
		return take_number("--timeout", &arguments->timeout_s);
	case OPTION_SORT:
		arguments->sort = optarg;
		return top_knows(optarg) ? -1 : command_usage(NULL, "--sort %s: not one of " TOP_KEYS, optarg);
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
	default:
		return command_bad_option(argv, option);
	}
}

/* Asks at the usual place where nobody said another. EX_OK or an exit code after a message. */
static int choose_socket(struct arguments *arguments, const struct command *command, char *path, size_t size)
{
	int r = arguments->path == NULL && !arguments->guest ? control_path_default(path, size, false) : 0;

	if (r == -EPERM)
		return command_usage(command,
		                     "%s is in a directory of somebody else; say with --control where the control "
		                     "socket is",
		                     path);
	if (r < 0)
		return command_usage(command,
		                     "XDG_RUNTIME_DIR is too long; say with --control where the control socket is");
	if (arguments->path == NULL && !arguments->guest)
		arguments->path = path;
	return EX_OK;
}

int main(int argc, char **argv)
{
	struct arguments arguments = {
		.config = GUEST_CONFIG_PATH, .interval_s = 1, .timeout_s = 10, .sort = TOP_DEFAULT_KEY
	};
	const struct command *command;
	int option, code = -1, given[64], count = 0;
	char default_path[256];
	bool help = false;

	while (code < 0 &&
	       (option = getopt_long(argc, argv, command_short_options, command_long_options, NULL)) != -1) {
		help = help || option == 'h';
		code = option == 'h' ? -1 : take(&arguments, option, argv);
		if (count < (int) ARRAY_SIZE(given))
			given[count++] = option;
	}
	if (code >= 0)
		return code;
	argc -= optind;
	argv += optind;
	if (argc > 0 && strcmp(argv[0], "help") == 0)
		return command_help(argv + 1, argc - 1);
	if (argc == 2 && strcmp(argv[1], "help") == 0)
		return command_help(argv, 1);
	if (help)
		return command_help(argv, argc);
	command = command_find(argv, argc, false, &arguments.directory);
	if (command == NULL)
		return EX_USAGE;
	for (int i = 0; i < count; i++)
		if (command_check_option(command, given[i]) != EX_OK)
			return EX_USAGE;
	code = choose_socket(&arguments, command, default_path, sizeof(default_path));
	return code == EX_OK ? command->run(&arguments) : code;
}
