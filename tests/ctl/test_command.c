/* SPDX-License-Identifier: Apache-2.0 */
/* The command line: which command words are, which options it takes, and what is said where that is unclear. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include <cmocka.h>

#include "ctl/command.h"
#include "protocol/cleanup.h"
#include "tests/ctl/printed.h"

static int run(const struct arguments *arguments)
{
	return 0;
}

/* Commands of this test's own; command.c reads whatever table the program has. */
const struct command commands[] = {
	{ { "status" }, NULL, "what is mounted", { 0 }, run },
	{ { "share", "ls" }, NULL, "what is shared", { 0 }, run },
	{ { "share", "add" }, "DIR", "share it\nas it is", { 'r', OPTION_NO_PERSIST }, run },
	{ { "share", "rm" }, "DIR", "do not", { OPTION_NO_PERSIST }, run },
	{ { "sync" }, "[DIR]", "wait", { OPTION_TIMEOUT }, run },
	{ { "doctor" }, NULL, "what is wrong", { OPTION_GUEST }, run },
};
const size_t command_count = ARRAY_SIZE(commands);

static const struct command *found;
static const char *operand;

/* Finds the command of words that are apart by a blank. Returns what was said. */
static const char *find(const char *words, bool help)
{
	static char text[256];
	char *list[8], *rest = NULL;
	int count = 0;

	(void) snprintf(text, sizeof(text), "%s", words);
	for (char *word = strtok_r(text, " ", &rest); word != NULL; word = strtok_r(NULL, " ", &rest))
		list[count++] = word;
	operand = NULL;
	printed_begin();
	found = command_find(list, count, help, &operand);
	return printed_end();
}

static void commands_are_found_by_their_words(void **state)
{
	assert_string_equal(find("status", false), "");
	assert_ptr_equal(found, &commands[0]);
	assert_null(operand);
	assert_string_equal(find("share ls", false), "");
	assert_ptr_equal(found, &commands[1]);
	assert_string_equal(find("share add /a", false), "");
	assert_ptr_equal(found, &commands[2]);
	assert_string_equal(operand, "/a");
	/* A word in brackets may be given. */
	assert_string_equal(find("sync", false), "");
	assert_ptr_equal(found, &commands[4]);
	assert_null(operand);
	assert_string_equal(find("sync /a", false), "");
	assert_string_equal(operand, "/a");
	assert_non_null(strstr(find("sync /a /b", false), "\"/b\" is one word too many: sync takes one [DIR]"));
	assert_non_null(strstr(find("sync /a /b", false), "Usage: bindsharectl sync [DIR] [OPTION]..."));
}

static void a_wrong_number_of_words_is_told(void **state)
{
	assert_non_null(strstr(find("status now", false), "\"now\" is one word too many: status takes no argument"));
	assert_null(found);
	assert_non_null(strstr(find("share add /a /b", false), "\"/b\" is one word too many: share add takes one DIR"));
	assert_null(found);
	assert_non_null(strstr(find("share add", false), "share add needs a directory: bindsharectl share add DIR"));
	assert_null(found);
	assert_string_equal(find("share add", true), ""); /* for its help none is needed */
	assert_ptr_equal(found, &commands[2]);
}

static void a_word_that_there_is_not_is_told_with_what_may_be_meant(void **state)
{
	static const char *const cases[][2] = {
		{ "",
		  "a command is missing; there are status, share ls, share add DIR, share rm DIR, sync [DIR], doctor" },
		{ "share", "\"share\" needs another word; there are share ls, share add DIR, share rm DIR" },
		{ "share lst", "there is no command \"share lst\"; did you mean \"share ls\"? There are share ls" },
		{ "share frobnicate", "there is no command \"share frobnicate\"; there are share ls" },
		{ "statsu", "there is no command \"statsu\"; did you mean \"status\"?" },
		{ "add", "did you mean \"share add\"?" },
		{ "list", "did you mean \"share ls\"?" }, /* other programs' words */
		{ "share delete", "did you mean \"share rm\"?" },
		{ "frobnicate", "there is no command \"frobnicate\"; there are status" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const char *said = find(cases[i][0], false);

		if (strstr(said, cases[i][1]) == NULL)
			fail_msg("\"%s\": %s", cases[i][0], said);
		assert_null(found);
		assert_non_null(strstr(said, "--help"));
	}
}

static void options_of_other_commands_are_refused(void **state)
{
	static const struct {
		unsigned command;
		int option;
		bool taken;
	} cases[] = { { 2, 'r', true },
		      { 3, 'r', false },
		      { 2, OPTION_NO_PERSIST, true },
		      { 3, OPTION_NO_PERSIST, true },
		      { 1, OPTION_NO_PERSIST, false },
		      { 1, 'j', true },
		      { 0, 'c', true },
		      { 0, 'h', true },
		      { 0, OPTION_GUEST, false } };

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const char *said;
		int code;

		printed_begin();
		code = command_check_option(&commands[cases[i].command], cases[i].option);
		said = printed_end();
		assert_int_equal(code, cases[i].taken ? EX_OK : EX_USAGE);
		assert_int_equal(said[0] == '\0', cases[i].taken);
	}
	printed_begin();
	(void) command_check_option(&commands[1], 'r');
	assert_non_null(strstr(printed_end(), "--read-only is an option of share add, not of share ls"));
}

/* What is said of an option, as getopt_long() leaves it. */
static const char *bad_option(const char *word)
{
	char *argv[] = { (char *) "bindsharectl", (char *) word, NULL };
	int result, code;
	const char *said;

	optind = 0;
	result = getopt_long(2, argv, command_short_options, command_long_options, NULL);
	assert_true(result == '?' || result == ':');
	printed_begin();
	code = command_bad_option(argv, result);
	said = printed_end();
	assert_int_equal(code, EX_USAGE);
	return said;
}

static void an_option_that_there_is_not_is_told(void **state)
{
	assert_non_null(strstr(bad_option("--jsn"), "there is no option --jsn; did you mean --json?"));
	assert_non_null(strstr(bad_option("--frobnicate"), "there is no option --frobnicate\n"));
	assert_non_null(strstr(bad_option("-x"), "there is no option -x\n"));
	assert_non_null(strstr(bad_option("--control"), "--control needs a value"));
	assert_non_null(strstr(bad_option("-i"), "--interval needs a value"));
	assert_non_null(strstr(bad_option("--json=yes"), "--json takes no value"));
}

static const char *help(const char *first, const char *second, int expected)
{
	char *words[] = { (char *) first, (char *) second };
	int code;
	const char *said;

	printed_begin();
	code = command_help(words, first == NULL ? 0 : second == NULL ? 1 : 2);
	said = printed_end();
	assert_int_equal(code, expected);
	return said;
}

static void help_is_of_all_of_a_command_or_of_those_that_begin_so(void **state)
{
	const char *said = help(NULL, NULL, EX_OK);

	for (size_t i = 0; i < command_count; i++)
		assert_non_null(strstr(said, commands[i].words[0]));
	assert_non_null(strstr(said, "share add: only for reading"));
	assert_non_null(strstr(said, "share add, share rm: not in the settings file"));
	assert_non_null(strstr(said, "\n                      as it is\n")); /* beneath the line before */
	said = help("share", "add", EX_OK);
	assert_non_null(strstr(said, "Usage: bindsharectl share add [OPTION]... DIR\nshare it\nas it is\n"));
	assert_non_null(strstr(said, "--read-only"));
	assert_null(strstr(said, "--guest"));
	said = help("share", NULL, EX_OK);
	assert_non_null(strstr(said, "share rm DIR"));
	assert_null(strstr(said, "doctor"));
	assert_non_null(strstr(help("doctro", NULL, EX_USAGE), "did you mean \"doctor\"?"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(commands_are_found_by_their_words),
		cmocka_unit_test(a_wrong_number_of_words_is_told),
		cmocka_unit_test(a_word_that_there_is_not_is_told_with_what_may_be_meant),
		cmocka_unit_test(options_of_other_commands_are_refused),
		cmocka_unit_test(an_option_that_there_is_not_is_told),
		cmocka_unit_test(help_is_of_all_of_a_command_or_of_those_that_begin_so),
	};

	return cmocka_run_group_tests_name("command", tests, NULL, NULL);
}
