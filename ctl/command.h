/* SPDX-License-Identifier: Apache-2.0 */
/* bindsharectl's commands and options as tables, and the help and the usage errors that come from them. */
#pragma once

#include <getopt.h>
#include <stdbool.h>
#include <stddef.h>

enum {
	OPTION_NO_PERSIST = 256,
	OPTION_FROM_FILE,
	OPTION_END_MOUNTS,
	OPTION_GUEST,
	OPTION_CONFIG,
	OPTION_SORT,
	OPTION_TIMEOUT,
	COMMAND_OPTIONS_MAX = 4,
};

struct arguments {
	const char *path; /* of the control socket */
	const char *directory;
	const char *config; /* of bindshare-guestd */
	const char *sort;   /* one of top.h's keys */
	bool json, read_only, no_persist, from_file, end_mounts, guest;
	long interval_s, count; /* count 0: without end */
	long timeout_s;
};

struct command {
	const char *words[2];
	const char *operand;              /* NULL: it takes none; in brackets: one may be given */
	const char *summary;              /* lines of help, without the last newline */
	int options[COMMAND_OPTIONS_MAX]; /* beside those of every command; 0 ends them */
	int (*run)(const struct arguments *arguments);
};

extern const struct command commands[];
extern const size_t command_count;

/* For getopt_long(). */
extern const char command_short_options[];
extern const struct option command_long_options[];

/*
 * The command that these words are. *ret_operand: its operand, or NULL; with help none is needed. NULL: they are none,
 * which was told.
 */
const struct command *command_find(char **words, int count, bool help, const char **ret_operand);
/* Prints help: of all, of a command, or of those that begin with a word. 0, or EX_USAGE after words. */
int command_help(char **words, int count);
/* EX_USAGE after words about an option that there is not, that lacks its value, or that has one too many. */
int command_bad_option(char **argv, int result);
/* EX_OK, or EX_USAGE after words: an option that is none of this command's was given. */
int command_check_option(const struct command *command, int option);

/* Words on stderr, and where more help is. EX_USAGE. command: NULL for none. */
int command_usage(const struct command *command, const char *format, ...) __attribute__((format(printf, 2, 3)));
