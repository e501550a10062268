/* SPDX-License-Identifier: Apache-2.0 */
/* What a program that guestd calls says, and what becomes of one that does not end. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <signal.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "guest-fuse/agent/mount-program.h"
#include "protocol/cleanup.h"
#include "protocol/clock.h"

static const char *words(const char *output, size_t size)
{
	static char text[256];

	memset(text, '#', sizeof(text));
	mount_program_words(output, text, size);
	return text;
}

static void messages_become_a_part_of_a_sentence(void **state)
{
	static const char *const cases[][2] = {
		{ "", "" },
		{ "\n", "" },
		{ "bindshare-mount[12]: error: no such share.\n", "no such share" },
		{ "bindshare-mount[12]: warning: a: b: c\n", "a: b: c" },
		{ "bindshare-mount: option x=: a number is wanted\n", "option x=: a number is wanted" },
		{ "bindshare-mount[1]: error: one.\nbindshare-mount[1]: error: two.\n", "one; two" },
		{ "one without an end", "one without an end" },
		{ "fusermount3: no\n", "fusermount3: no" },
		{ "bindshare-mount\n", "bindshare-mount" },
		{ "bindshare-mount[12]: error\n", "bindshare-mount[12]: error" },
		{ "bindshare-mount[12] error: x\nnext: line\n", "bindshare-mount[12] error: x; next: line" },
		{ "one...\n\n\ntwo\n", "one..; two" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		assert_string_equal(words(cases[i][0], 256), cases[i][1]);
}

static void only_whole_lines_are_taken_as_far_as_they_fit(void **state)
{
	assert_string_equal(words("0123456789\n0123456789\n", 30), "0123456789; 0123456789");
	assert_string_equal(words("0123456789\n0123456789\n", 23), "0123456789");
	assert_string_equal(words("0123456789\nab\n", 17), "0123456789; ab");
	assert_string_equal(words("0123456789\n", 8), "");
}

/* Calls the shell. The status; what it wrote is in output. */
static int call(const char *script, int timeout_ms, char output[64])
{
	char *argv[] = { (char *) "sh", (char *) "-c", (char *) script, NULL };
	int status = -1;

	assert_int_equal(mount_program_call(argv, timeout_ms, &status, output, 64), 0);
	return status;
}

static void status_and_both_outputs_are_told(void **state)
{
	char output[64];
	int status = call("echo out; echo err >&2; exit 3", 60000, output);

	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 3);
	assert_string_equal(output, "out\nerr\n");
	status = call("kill -9 $$", 60000, output);
	assert_true(WIFSIGNALED(status));
	assert_string_equal(output, "");
}

static void more_output_than_fits_is_read_and_cut(void **state)
{
	char output[64];
	int status =
	        call("i=0; while [ $i -lt 3000 ]; do echo 0123456789012345678901234567890123456789; i=$((i + 1)); done",
	             60000, output);

	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	assert_int_equal(strlen(output), 63);
}

static void one_that_does_not_end_is_killed(void **state)
{
	char output[64];
	int64_t before = clock_ms();
	int status = call("echo here; exec sleep 1000", 100, output);

	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	assert_string_equal(output, "here\n");
	assert_true(clock_ms() - before >= 100);
}

/* bindshare-mount closes its outputs when the mount serves, and goes on. */
static void one_that_goes_on_in_another_process_is_not_waited_for(void **state)
{
	char output[64];
	int status = call("(exec >/dev/null 2>&1; exec sleep 2) & echo started", 60000, output);

	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	assert_string_equal(output, "started\n");
}

static void one_that_is_not_there_is_told(void **state)
{
	char *argv[] = { (char *) "/nonexistent/program", NULL };
	char output[64];
	int status;

	assert_int_equal(mount_program_call(argv, 1000, &status, output, sizeof(output)), -ENOENT);
}

static void it_has_no_input(void **state)
{
	char output[64];

	(void) call("cat; echo end", 60000, output);
	assert_string_equal(output, "end\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(messages_become_a_part_of_a_sentence),
		cmocka_unit_test(only_whole_lines_are_taken_as_far_as_they_fit),
		cmocka_unit_test(status_and_both_outputs_are_told),
		cmocka_unit_test(more_output_than_fits_is_read_and_cut),
		cmocka_unit_test(one_that_does_not_end_is_killed),
		cmocka_unit_test(one_that_goes_on_in_another_process_is_not_waited_for),
		cmocka_unit_test(one_that_is_not_there_is_told),
		cmocka_unit_test(it_has_no_input),
	};

	return cmocka_run_group_tests_name("mount-program", tests, NULL, NULL);
}
