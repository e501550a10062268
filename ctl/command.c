/* SPDX-License-Identifier: Apache-2.0 */
/* Help, and what is said about a word or an option that there is not. */
#include "ctl/command.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sysexits.h>

#include "ctl/nearest.h"
#include "ctl/top.h"
#include "guest-fuse/binds/config.h"
#include "protocol/cleanup.h"

enum { NAME_SIZE = 32, SUMMARY_AT = 20, OPTION_AT = 23 /* columns */ };

const char command_short_options[] = ":c:jri:n:Vh";

const struct option command_long_options[] = {
	{ "control", required_argument, NULL, 'c' },
	{ "json", no_argument, NULL, 'j' },
	{ "read-only", no_argument, NULL, 'r' },
	{ "no-persist", no_argument, NULL, OPTION_NO_PERSIST },
	{ "interval", required_argument, NULL, 'i' },
	{ "count", required_argument, NULL, 'n' },
	{ "sort", required_argument, NULL, OPTION_SORT },
	{ "timeout", required_argument, NULL, OPTION_TIMEOUT },
	{ "from-file", no_argument, NULL, OPTION_FROM_FILE },
	{ "end-mounts", no_argument, NULL, OPTION_END_MOUNTS },
	{ "guest", no_argument, NULL, OPTION_GUEST },
	{ "config", required_argument, NULL, OPTION_CONFIG },
	{ "version", no_argument, NULL, 'V' },
	{ "help", no_argument, NULL, 'h' },
	{ 0 },
};

/* In the order of the help. */
static const struct {
	int option;
	const char *shape, *text;
} option_texts[] = {
	{ 'c', "-c, --control PATH", "control socket (default: $XDG_RUNTIME_DIR/bindshare/control.sock)" },
	{ 'j', "-j, --json", "print JSON: the server's answer, or an object a line" },
	{ 'r', "-r, --read-only", "only for reading" },
	{ OPTION_NO_PERSIST, "    --no-persist", "not in the settings file, only until the server ends" },
	{ 'i', "-i, --interval S", "seconds between two looks (default: 1)" },
	{ 'n', "-n, --count N", "end after so many looks" },
	{ OPTION_SORT, "    --sort KEY", "order: " TOP_KEYS " (default: requests)" },
	{ OPTION_TIMEOUT, "    --timeout S", "seconds to wait for guests (default: 10)" },
	{ OPTION_FROM_FILE, "    --from-file", "take the token that is in the file by now" },
	{ OPTION_END_MOUNTS, "    --end-mounts", "end every mount, too" },
	{ OPTION_GUEST, "    --guest", "check the guest: what mounting needs, bindshare-guestd, Docker" },
	{ OPTION_CONFIG, "    --config PATH", "bindshare-guestd's, with --guest (default: " GUEST_CONFIG_PATH ")" },
	{ 'V', "-V, --version", "print the version" },
	{ 'h', "-h, --help", "print help; of a command when it stands there, too" },
};

/* Words of other programs, and what they are here. */
static const struct {
	const char *word, *command;
} synonyms[] = {
	{ "list", "share ls" },   { "mounts", "status" },    { "log", "events" },   { "delete", "share rm" },
	{ "remove", "share rm" }, { "unshare", "share rm" }, { "del", "share rm" }, { "create", "share add" },
	{ "monitor", "events" },  { "check", "doctor" },     { "ps", "status" },    { "new", "share add" },
	{ "watch", "top" },       { "wait", "sync" },        { "flush", "sync" },
};

static const char *name_of(const struct command *command, char name[NAME_SIZE])
{
	(void) snprintf(name, NAME_SIZE, "%s%s%s", command->words[0], command->words[1] != NULL ? " " : "",
	                command->words[1] != NULL ? command->words[1] : "");
	return name;
}

/* An option of every command. */
static bool is_common(int option)
{
	return option == 'c' || option == 'j' || option == 'V' || option == 'h';
}

static bool takes(const struct command *command, int option)
{
	if (is_common(option))
		return true;
	for (unsigned i = 0; i < COMMAND_OPTIONS_MAX && command->options[i] != 0; i++)
		if (command->options[i] == option)
			return true;
	return false;
}

int command_usage(const struct command *command, const char *format, ...)
{
	va_list arguments;
	char name[NAME_SIZE];

	(void) fputs("bindsharectl: ", stderr);
	va_start(arguments, format);
	(void) vfprintf(stderr, format, arguments);
	va_end(arguments);
	(void) fprintf(stderr, "\nUsage: bindsharectl %s%s%s%s[OPTION]...; see bindsharectl %s%s--help\n",
	               command == NULL ? "COMMAND " : name_of(command, name), command == NULL ? "" : " ",
	               command == NULL || command->operand == NULL ? "" : command->operand,
	               command == NULL || command->operand == NULL ? "" : " ",
	               command == NULL ? "" : name_of(command, name), command == NULL ? "" : " ");
	return EX_USAGE;
}

/* The commands that begin with a word, or all: "share ls, share add DIR". */
static void list_names(const char *first, char *text, size_t size)
{
	size_t used = 0;
	char name[NAME_SIZE];

	text[0] = '\0';
	for (size_t i = 0; i < command_count && used < size; i++)
		if (first == NULL || strcmp(commands[i].words[0], first) == 0)
			used += (size_t) snprintf(text + used, size - used, "%s%s%s%s", used > 0 ? ", " : "",
			                          name_of(&commands[i], name), commands[i].operand != NULL ? " " : "",
			                          commands[i].operand != NULL ? commands[i].operand : "");
}

/* The command that may have been meant. first: its first word is known to be right, or NULL. False: there is none. */
static bool guess(const char *first, const char *word, char ret_name[NAME_SIZE])
{
	struct nearest nearest = nearest_begin(word);
	const char *found = NULL;
	char name[NAME_SIZE];

	for (unsigned i = 0; i < ARRAY_SIZE(synonyms) && found == NULL; i++)
		if (strcmp(synonyms[i].word, word) == 0 &&
		    (first == NULL || strncmp(synonyms[i].command, first, strlen(first)) == 0))
			found = synonyms[i].command;
	for (size_t i = 0; i < command_count && found == NULL; i++) {
		const struct command *command = &commands[i];

		if (first == NULL)
			nearest_try(&nearest, command->words[0], command->words[0]);
		if (command->words[1] != NULL && (first == NULL || strcmp(command->words[0], first) == 0))
			nearest_try(&nearest, command->words[1], command);
	}
	if (found == NULL && nearest.found == NULL)
		return false;
	if (found == NULL) {
		found = nearest.found;
		for (size_t i = 0; i < command_count; i++)
			if (nearest.found == &commands[i])
				found = name_of(&commands[i], name);
	}
	(void) snprintf(ret_name, NAME_SIZE, "%s", found);
	return true;
}

static void refuse_words(char **words, int count)
{
	char names[256], meant[NAME_SIZE];
	bool is_first = false;

	for (size_t i = 0; i < command_count && count > 0; i++)
		is_first = is_first || strcmp(commands[i].words[0], words[0]) == 0;
	if (count == 0) {
		list_names(NULL, names, sizeof(names));
		(void) command_usage(NULL, "a command is missing; there are %s", names);
	} else if (is_first && count == 1) {
		list_names(words[0], names, sizeof(names));
		(void) command_usage(NULL, "\"%s\" needs another word; there are %s", words[0], names);
	} else if (is_first) {
		list_names(words[0], names, sizeof(names));
		if (guess(words[0], words[1], meant))
			(void) command_usage(NULL, "there is no command \"%s %s\"; did you mean \"%s\"? There are %s",
			                     words[0], words[1], meant, names);
		else
			(void) command_usage(NULL, "there is no command \"%s %s\"; there are %s", words[0], words[1],
			                     names);
	} else {
		list_names(NULL, names, sizeof(names));
		if (guess(NULL, words[0], meant))
			(void) command_usage(NULL, "there is no command \"%s\"; did you mean \"%s\"?", words[0], meant);
		else
			(void) command_usage(NULL, "there is no command \"%s\"; there are %s", words[0], names);
	}
}

const struct command *command_find(char **words, int count, bool help, const char **ret_operand)
{
	const struct command *command = NULL;
	char name[NAME_SIZE];
	int length = 0;

	for (size_t i = 0; i < command_count && command == NULL; i++) {
		length = commands[i].words[1] == NULL ? 1 : 2;
		if (count >= length && strcmp(words[0], commands[i].words[0]) == 0 &&
		    (length == 1 || strcmp(words[1], commands[i].words[1]) == 0))
			command = &commands[i];
	}
	if (command == NULL) {
		refuse_words(words, count);
		return NULL;
	}
	*ret_operand = count > length ? words[length] : NULL;
	if (help)
		return command;
	if (count > length && command->operand == NULL) {
		(void) command_usage(command, "\"%s\" is one word too many: %s takes no argument", words[length],
		                     name_of(command, name));
		return NULL;
	}
	if (count > length + 1) {
		(void) command_usage(command, "\"%s\" is one word too many: %s takes one %s; call it for each",
		                     words[length + 1], name_of(command, name), command->operand);
		return NULL;
	}
	if (count == length && command->operand != NULL && command->operand[0] != '[') {
		(void) command_usage(command, "%s needs a directory: bindsharectl %s %s", name_of(command, name), name,
		                     command->operand);
		return NULL;
	}
	return command;
}

/* A line of a text for each of its lines, the first behind what stands there by now. */
static void print_lines(const char *text, int column)
{
	for (const char *end; (end = strchr(text, '\n')) != NULL; text = end + 1)
		(void) printf("%.*s\n%*s", (int) (end - text), text, column, "");
	(void) puts(text);
}

static void print_command(const struct command *command)
{
	char name[NAME_SIZE], shape[2 * NAME_SIZE];

	(void) snprintf(shape, sizeof(shape), "%s%s%s", name_of(command, name), command->operand != NULL ? " " : "",
	                command->operand != NULL ? command->operand : "");
	(void) printf("  %-*s", SUMMARY_AT, shape);
	print_lines(command->summary, SUMMARY_AT + 2);
}

/* command: NULL for all, and then each tells whose it is. */
static void print_options(const struct command *command)
{
	for (unsigned i = 0; i < ARRAY_SIZE(option_texts); i++) {
		char owners[128] = "", name[NAME_SIZE];
		int option = option_texts[i].option;

		if (command != NULL && !takes(command, option))
			continue;
		for (size_t k = 0; k < command_count && command == NULL; k++)
			if (takes(&commands[k], option) && !is_common(option))
				(void) snprintf(owners + strlen(owners), sizeof(owners) - strlen(owners), "%s%s",
				                owners[0] != '\0' ? ", " : "", name_of(&commands[k], name));
		(void) printf("  %-*s%s%s%s\n", OPTION_AT, option_texts[i].shape, owners, owners[0] != '\0' ? ": " : "",
		              option_texts[i].text);
	}
}

int command_help(char **words, int count)
{
	const struct command *command = NULL;
	const char *operand;
	unsigned known = 0;
	char name[NAME_SIZE];

	for (size_t i = 0; i < command_count && count == 1; i++)
		known += strcmp(commands[i].words[0], words[0]) == 0 && commands[i].words[1] != NULL;
	if (count > 0 && known == 0) {
		command = command_find(words, count, true, &operand);
		if (command == NULL)
			return EX_USAGE;
		(void) printf("Usage: bindsharectl %s [OPTION]...%s%s\n", name_of(command, name),
		              command->operand != NULL ? " " : "", command->operand != NULL ? command->operand : "");
		print_lines(command->summary, 0);
		(void) putchar('\n');
		print_options(command);
		return EX_OK;
	}
	(void) printf("Usage: bindsharectl [OPTION]... %s\n", count == 0 ? "COMMAND" : words[0]);
	if (count == 0)
		(void) puts("Asks the bindshare file server that runs as this user, and tells it what to share.");
	(void) putchar('\n');
	for (size_t i = 0; i < command_count; i++)
		if (count == 0 || strcmp(commands[i].words[0], words[0]) == 0)
			print_command(&commands[i]);
	if (count == 0)
		(void) printf("  %-*s%s\n", SUMMARY_AT, "help [COMMAND]", "this, or what a command does and takes");
	(void) putchar('\n');
	if (count == 0)
		print_options(NULL);
	else
		(void) printf("See bindsharectl %s WORD --help.\n", words[0]);
	return EX_OK;
}

static const char *long_name(int option)
{
	for (const struct option *next = command_long_options; next->name != NULL; next++)
		if (next->val == option)
			return next->name;
	return "?";
}

int command_bad_option(char **argv, int result)
{
	const char *word = argv[optind - 1];
	size_t length = strcspn(word, "=");
	char given[64];
	struct nearest nearest;

	if (result == ':')
		return command_usage(NULL, "--%s needs a value", long_name(optopt));
	if (strncmp(word, "--", 2) != 0)
		return command_usage(NULL, "there is no option -%c", optopt);
	if (optopt != 0)
		return command_usage(NULL, "--%s takes no value", long_name(optopt));
	(void) snprintf(given, sizeof(given), "%.*s", (int) length - 2, word + 2);
	nearest = nearest_begin(given);
	for (const struct option *next = command_long_options; next->name != NULL; next++)
		nearest_try(&nearest, next->name, next->name);
	if (nearest.found != NULL)
		return command_usage(NULL, "there is no option --%s; did you mean --%s?", given,
		                     (const char *) nearest.found);
	return command_usage(NULL, "there is no option --%s", given);
}

int command_check_option(const struct command *command, int option)
{
	char name[NAME_SIZE], owner[NAME_SIZE] = "another command";

	if (takes(command, option))
		return EX_OK;
	for (size_t i = command_count; i-- > 0;)
		if (takes(&commands[i], option))
			(void) name_of(&commands[i], owner);
	return command_usage(command, "--%s is an option of %s, not of %s", long_name(option), owner,
	                     name_of(command, name));
}
