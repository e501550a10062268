/* SPDX-License-Identifier: Apache-2.0 */
/* bindsharectl: asks a running file server what it serves and what it did. */
#include <errno.h>
#include <getopt.h>
#include <jansson.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sysexits.h>

#include "fileserver/broker/control-path.h"
#include "fileserver/ctl/tables.h"
#include "protocol/address.h"
#include "protocol/cleanup.h"

enum { ANSWER_MAX = 16 * 1024 * 1024, DEADLINE_MS = 5000 };

static const char help[] = "Usage: bindsharectl [--json] [--control PATH] COMMAND\n"
                           "Asks the bindshare file server that runs as this user.\n"
                           "\n"
                           "  status     what is mounted\n"
                           "  stats      requests, errors, bytes and times by operation\n"
                           "  share ls   which directories may be mounted\n"
                           "\n"
                           "  -c, --control PATH  control socket (default: $XDG_RUNTIME_DIR/bindshare/control.sock)\n"
                           "  -j, --json          print the server's answer as JSON\n"
                           "  -V, --version       print the version\n"
                           "  -h, --help          print this\n";

struct command {
	const char *words[2];
	const char *request;
	const char *member; /* that the answer must have */
	void (*print)(const json_t *answer);
};

static const struct command commands[] = {
	{ { "status" }, "status", "mounts", tables_status },
	{ { "stats" }, "stats", "operations", tables_stats },
	{ { "share", "ls" }, "shares", "shares", tables_shares },
};

static int usage(const char *words)
{
	(void) fprintf(stderr,
	               "bindsharectl: %s\nUsage: bindsharectl [--json] [--control PATH] status | stats | share ls\n",
	               words);
	return EX_USAGE;
}

static const struct command *find_command(char **words, int count)
{
	for (unsigned i = 0; i < ARRAY_SIZE(commands); i++) {
		const struct command *command = &commands[i];
		int length = command->words[1] == NULL ? 1 : 2;

		if (count == length && strcmp(words[0], command->words[0]) == 0 &&
		    (length == 1 || strcmp(words[1], command->words[1]) == 0))
			return command;
	}
	return NULL;
}

/* EX_OK, or an exit code after a message. */
static int connect_to(const char *path, int *ret_fd)
{
	struct proto_address address = { .kind = PROTO_ADDRESS_UNIX };

	if (strlen(path) >= sizeof(address.path))
		return usage("the control socket's path is too long");
	strcpy(address.path, path);
	*ret_fd = proto_address_connect(&address, DEADLINE_MS);
	if (*ret_fd >= 0)
		return EX_OK;
	(void) fprintf(stderr,
	               "bindsharectl: no file server at %s: %s\n"
	               "Start bindshare-fileserver, or say with --control where its socket is.\n",
	               path, strerror(-*ret_fd));
	return EX_UNAVAILABLE;
}

/* Reads until the server closes. The caller frees it; NULL: the connection broke, or the server was silent. */
static char *read_answer(int fd, size_t *ret_length)
{
	struct pollfd poller = { .fd = fd, .events = POLLIN };
	_cleanup_free_ char *answer = NULL;
	size_t length = 0, size = 0;

	for (;;) {
		ssize_t n;

		if (length == size) {
			char *larger = size >= ANSWER_MAX ? NULL : realloc(answer, size + 65536);

			if (larger == NULL)
				return NULL;
			answer = larger;
			size += 65536;
		}
		if (poll(&poller, 1, DEADLINE_MS) <= 0)
			return NULL;
		n = read(fd, answer + length, size - length);
		if (n < 0)
			return NULL;
		if (n == 0)
			break;
		length += (size_t) n;
	}
	*ret_length = length;
	return TAKE_PTR(answer);
}

static json_t *ask(int fd, const char *request)
{
	_cleanup_free_ char *answer = NULL;
	char line[128];
	size_t length;
	int n = snprintf(line, sizeof(line), "{\"version\":1,\"request\":\"%s\"}\n", request);

	if (send(fd, line, (size_t) n, MSG_NOSIGNAL) != n)
		return NULL;
	answer = read_answer(fd, &length);
	return answer == NULL ? NULL : json_loadb(answer, length, 0, NULL);
}

/* Prints the answer. The exit code. */
static int print_answer(const struct command *command, const json_t *answer, bool as_json)
{
	const char *error = json_string_value(json_object_get(answer, "error"));

	if (json_object_get(answer, command->member) == NULL) {
		(void) fprintf(stderr, "bindsharectl: %s\n",
		               error != NULL ? error : "the answer of the file server makes no sense");
		return EX_PROTOCOL;
	}
	if (as_json) {
		(void) json_dumpf(answer, stdout, JSON_COMPACT);
		(void) putchar('\n');
	} else {
		command->print(answer);
	}
	return fflush(stdout) == 0 ? EX_OK : EX_IOERR;
}

static int run(const struct command *command, const char *path, bool as_json)
{
	_cleanup_close_ int fd = -EBADF;
	json_t *answer;
	int code = connect_to(path, &fd);

	if (code != EX_OK)
		return code;
	answer = ask(fd, command->request);
	if (answer == NULL) {
		(void) fprintf(stderr, "bindsharectl: the file server at %s gave no answer\n", path);
		return EX_PROTOCOL;
	}
	code = print_answer(command, answer, as_json);
	json_decref(answer);
	return code;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "control", required_argument, NULL, 'c' },
		{ "json", no_argument, NULL, 'j' },
		{ "version", no_argument, NULL, 'V' },
		{ "help", no_argument, NULL, 'h' },
		{ 0 },
	};
	const struct command *command;
	const char *path = NULL;
	char default_path[256];
	bool as_json = false;
	int option;

	while ((option = getopt_long(argc, argv, "c:jVh", options, NULL)) != -1) {
		switch (option) {
		case 'c':
			path = optarg;
			break;
		case 'j':
			as_json = true;
			break;
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
	command = find_command(argv + optind, argc - optind);
	if (command == NULL)
		return usage("the command is one of: status, stats, share ls");
	if (path == NULL && control_default_path(default_path, sizeof(default_path), false) < 0)
		return usage("XDG_RUNTIME_DIR is not set; say with --control where the control socket is");
	return run(command, path == NULL ? default_path : path, as_json);
}
