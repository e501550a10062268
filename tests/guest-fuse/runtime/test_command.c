/* SPDX-License-Identifier: Apache-2.0 */
/* Command lines as engines write them, and numbers that come out as they went in. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "guest-fuse/binds/clones.h"
#include "guest-fuse/runtime/command.h"
#include "guest-fuse/runtime/numbers.h"

static char memory[4096];
static char *words[64];

/* Splits a line at its spaces. */
static struct command parse(const char *line, int expected)
{
	struct command command = { .action = COMMAND_OTHER };
	char *state = NULL;
	size_t count = 0;

	strcpy(memory, line);
	for (char *word = strtok_r(memory, " ", &state); word != NULL; word = strtok_r(NULL, " ", &state))
		words[count++] = word;
	words[count] = NULL;
	assert_int_equal(command_parse(words, &command), expected);
	return command;
}

static void engines_are_understood(void **state)
{
	struct command command =
	        parse("x --root /run/r --log /l/log.json --log-format json --systemd-cgroup create --bundle /b "
	              "--pid-file /b/pid --console-socket /s ID",
	              0);

	assert_int_equal(command.action, COMMAND_CREATE);
	assert_string_equal(command.id, "ID");
	assert_string_equal(command.bundle, "/b");
	assert_string_equal(command.log, "/l/log.json");
	assert_true(command.log_json);
	command = parse(
	        "x --log=/l --log-format=text --root=/r --cgroup-manager cgroupfs run -d -b=/b --preserve-fds 3 ID", 0);
	assert_int_equal(command.action, COMMAND_RUN);
	assert_true(command.detach);
	assert_false(command.log_json);
	assert_string_equal(command.bundle, "/b");
	assert_string_equal(command.id, "ID");
	command = parse("x -root /r delete -f ID", 0);
	assert_int_equal(command.action, COMMAND_DELETE);
	assert_string_equal(command.id, "ID");
	command = parse("x delete --force=true -- -ID", 0);
	assert_string_equal(command.id, "-ID");
	command = parse("x run ID", 0);
	assert_string_equal(command.bundle, ".");
	command = parse("x create -f other.json ID", 0);
	assert_string_equal(command.id, "ID");
	command = parse("x create", 0);
	assert_int_equal(command.action, COMMAND_CREATE);
	assert_null(command.id);
}

static void all_else_is_left_to_the_runtime(void **state)
{
	static const char *const lines[] = { "x",
		                             "x state ID",
		                             "x exec --user 1 ID create",
		                             "x --root create state ID",
		                             "x start ID",
		                             "x --debug",
		                             "x kill ID run",
		                             "x features" };

	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++)
		assert_int_equal(parse(lines[i], 0).action, COMMAND_OTHER);
	assert_int_equal(parse("x --version", 0).action, COMMAND_VERSION);
	assert_int_equal(parse("x --bindshare-sweep", 0).action, COMMAND_SWEEP);
}

static void own_options_are_taken_out(void **state)
{
	struct command command = parse("x --root /r --bindshare-config /c --debug create ID", 0);

	assert_string_equal(command.config, "/c");
	assert_string_equal(command.argv[1], "--root");
	assert_string_equal(command.argv[2], "/r");
	assert_string_equal(command.argv[3], "--debug");
	assert_string_equal(command.argv[4], "create");
	assert_string_equal(command.argv[5], "ID");
	assert_null(command.argv[6]);
	command = parse("x --bindshare-config=/c state ID", 0);
	assert_string_equal(command.config, "/c");
	assert_string_equal(command.argv[1], "state");
	(void) parse("x --bindshare-config", -EINVAL);
}

static void numbers_come_out_as_they_went_in(void **state)
{
	static const char text[] =
	        "{\"a\":18446744073709551615,\"b\":[-1,1e3,0.1,-0.0],\"c\":\"12 \\\"34\\\\\",\"d\":7,"
	        "\"1\":\"x\\\\\\\"9\",\"e\":null}";
	struct numbers numbers;
	char *hidden = numbers_hide(&numbers, text, strlen(text)), *dumped, *shown;
	json_t *root = json_loads(hidden, 0, NULL);

	assert_non_null(root);
	assert_int_equal(numbers_value(&numbers, json_object_get(root, "d")), 7);
	assert_int_equal(numbers_value(&numbers, json_array_get(json_object_get(root, "b"), 0)), -1);
	assert_int_equal(numbers_value(&numbers, json_object_get(root, "c")), 0);
	assert_int_equal(numbers_value(&numbers, json_object_get(root, "none")), 0);
	dumped = json_dumps(root, JSON_COMPACT | JSON_PRESERVE_ORDER);
	shown = numbers_show(&numbers, dumped);
	assert_string_equal(shown, text);
	free(hidden);
	free(dumped);
	free(shown);
	json_decref(root);
}

static void what_is_no_json_stays_none(void **state)
{
	static const char *const texts[] = { "", "{", "\"", "\"\\", "1", "--", "{\"a\":1", "{\"a\":\"", "[1,,2]" };
	struct numbers numbers;

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		char *hidden = numbers_hide(&numbers, texts[i], strlen(texts[i]));
		json_t *root = json_loads(hidden, 0, NULL);

		assert_null(root);
		free(hidden);
	}
}

static void is_map(unsigned id, const char *lines)
{
	char text[256];

	assert_int_equal(clones_map_lines(id, text, sizeof(text)), strlen(lines));
	assert_string_equal(text, lines);
}

static void maps_exchange_two_ids_and_leave_the_others(void **state)
{
	is_map(0, "0 0 4294967295\n");
	is_map(1, "0 1 1\n1 0 1\n2 2 4294967293\n");
	is_map(2, "0 2 1\n1 1 1\n2 0 1\n3 3 4294967292\n");
	is_map(1000, "0 1000 1\n1 1 999\n1000 0 1\n1001 1001 4294966294\n");
	is_map(4294967294U, "0 4294967294 1\n1 1 4294967293\n4294967294 0 1\n");
}

static void names_of_containers_are_names(void **state)
{
	assert_true(clones_id_is_valid("a.b-c_D9"));
	assert_false(clones_id_is_valid(""));
	assert_false(clones_id_is_valid("."));
	assert_false(clones_id_is_valid(".."));
	assert_false(clones_id_is_valid("../x"));
	assert_false(clones_id_is_valid("a/b"));
	assert_false(clones_id_is_valid(NULL));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(engines_are_understood),
		cmocka_unit_test(all_else_is_left_to_the_runtime),
		cmocka_unit_test(own_options_are_taken_out),
		cmocka_unit_test(numbers_come_out_as_they_went_in),
		cmocka_unit_test(what_is_no_json_stays_none),
		cmocka_unit_test(maps_exchange_two_ids_and_leave_the_others),
		cmocka_unit_test(names_of_containers_are_names),
	};

	return cmocka_run_group_tests_name("command", tests, NULL, NULL);
}
