/* SPDX-License-Identifier: Apache-2.0 */
/* The command line of an OCI runtime. */
#include "guest-fuse/runtime/command.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "protocol/cleanup.h"

/* Options whose value may be the next word; with all others it follows '=' or there is none. */
static const char *const global_values[] = { "log",  "log-format", "log-level",     "root",
	                                     "criu", "rootless",   "cgroup-manager" };
static const char *const command_values[] = { "bundle", "b", "console-socket", "pid-file", "preserve-fds",
	                                      "config", "f", "pidfd-socket" };

struct option {
	const char *name;
	size_t length;
	const char *value; /* NULL: none so far */
};

/* "--name", "-name" (runc takes both), "--name=value". False: it is no option. */
static bool split(const char *word, struct option *ret_option)
{
	if (word[0] != '-' || word[1] == '\0')
		return false;
	ret_option->name = word + (word[1] == '-' ? 2 : 1);
	ret_option->length = strcspn(ret_option->name, "=");
	ret_option->value =
	        ret_option->name[ret_option->length] == '=' ? ret_option->name + ret_option->length + 1 : NULL;
	return true;
}

static bool is(const struct option *option, const char *name)
{
	return option->length == strlen(name) && strncmp(option->name, name, option->length) == 0;
}

static bool is_one_of(const struct option *option, const char *const *names, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (is(option, names[i]))
			return true;
	return false;
}

/* Takes an option of bindshare's own, and its value, out of the words at *words. 1: it was one; 0; or -EINVAL. */
static int take_own(char **words, const struct option *option, struct command *command)
{
	char **rest = words + 1;

	if (!is(option, "bindshare-config"))
		return 0;
	command->config = option->value;
	if (option->value == NULL)
		command->config = *rest++;
	if (command->config == NULL) {
		fprintf(stderr, "bindshare-runtime: --bindshare-config wants a file\n");
		return -EINVAL;
	}
	do
		*words++ = *rest;
	while (*rest++ != NULL);
	return 1;
}

static void take_global(const struct option *option, struct command *command)
{
	if (is(option, "log"))
		command->log = option->value;
	else if (is(option, "log-format"))
		command->log_json = option->value != NULL && strcmp(option->value, "json") == 0;
	else if (is(option, "version") || is(option, "v"))
		command->action = COMMAND_VERSION;
}

/* The options before the command; the word after them. NULL: there is none. -EINVAL in *ret_error. */
static char **parse_global(char **words, struct command *command, int *ret_error)
{
	struct option option;

	*ret_error = 0;
	while (*words != NULL && split(*words, &option)) {
		int r = take_own(words, &option, command);

		if (r < 0)
			*ret_error = r;
		if (r < 0)
			return NULL;
		if (r > 0)
			continue;
		if (option.value == NULL && words[1] != NULL &&
		    is_one_of(&option, global_values, ARRAY_SIZE(global_values)))
			option.value = *++words;
		take_global(&option, command);
		words++;
	}
	return *words == NULL ? NULL : words;
}

static void take_option(const struct option *option, struct command *command)
{
	if (is(option, "bundle") || is(option, "b"))
		command->bundle = option->value;
	else if (is(option, "detach") || is(option, "d"))
		command->detach = option->value == NULL || strcmp(option->value, "false") != 0;
}

/* The options and the operand of create, run and delete. */
static void parse_operands(char **words, struct command *command)
{
	bool options = true;

	for (; *words != NULL; words++) {
		struct option option;

		if (options && strcmp(*words, "--") == 0) {
			options = false;
		} else if (options && split(*words, &option)) {
			/* -f is --force of delete, which has no value, and --config of crun's create. */
			if (option.value == NULL && words[1] != NULL && command->action != COMMAND_DELETE &&
			    is_one_of(&option, command_values, ARRAY_SIZE(command_values)))
				option.value = *++words;
			take_option(&option, command);
		} else if (command->id == NULL) {
			command->id = *words;
		}
	}
	if (command->bundle == NULL)
		command->bundle = ".";
}

int command_parse(char **argv, struct command *ret_command)
{
	static const struct {
		const char *name;
		enum command_action action;
	} actions[] = { { "create", COMMAND_CREATE }, { "run", COMMAND_RUN }, { "delete", COMMAND_DELETE } };
	struct command command = { .action = COMMAND_OTHER, .argv = argv };
	char **words;
	int r;

	if (argv[1] != NULL && strcmp(argv[1], "--bindshare-sweep") == 0) {
		command.action = COMMAND_SWEEP;
		(void) parse_global(argv + 2, &command, &r);
		*ret_command = command;
		return r;
	}
	words = parse_global(argv + 1, &command, &r);
	if (words != NULL)
		command.action = COMMAND_OTHER;
	for (size_t i = 0; words != NULL && i < ARRAY_SIZE(actions); i++)
		if (strcmp(*words, actions[i].name) == 0)
			command.action = actions[i].action;
	if (command.action == COMMAND_CREATE || command.action == COMMAND_RUN || command.action == COMMAND_DELETE)
		parse_operands(words + 1, &command);
	*ret_command = command;
	return r;
}
