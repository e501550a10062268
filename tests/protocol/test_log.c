/* SPDX-License-Identifier: Apache-2.0 */
/* Log lines: their form, escapes, levels and the limit on lines that a peer can cause. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "protocol/cleanup.h"
#include "protocol/log.h"
#include "tests/support/scratch.h"

static char text[65536];
static int saved_stderr, output[2];

static void capture_begin(void)
{
	assert_int_equal(pipe2(output, O_CLOEXEC | O_NONBLOCK), 0);
	saved_stderr = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
	assert_int_equal(dup2(output[1], STDERR_FILENO), STDERR_FILENO);
}

static void capture_end(void)
{
	ssize_t n;

	assert_int_equal(dup2(saved_stderr, STDERR_FILENO), STDERR_FILENO);
	close_fd(saved_stderr);
	n = read(output[0], text, sizeof(text) - 1);
	text[n < 0 ? 0 : n] = '\0';
	close_fd(output[0]);
	close_fd(output[1]);
}

static void a_line_names_program_process_and_level(void **state)
{
	char expected[64];

	log_init("test", LOG_LEVEL_INFO);
	capture_begin();
	log_warning("the number %d", 7);
	capture_end();
	(void) snprintf(expected, sizeof(expected), "test[%d]: warning: the number 7\n", (int) getpid());
	assert_string_equal(text, expected);
}

static void the_journal_gets_the_level_alone(void **state)
{
	static const char expected[] = "<3>one\n<4>two\\x0a<0>\n<6>three\n<7>four\n{\"time\"";
	char stream[64];
	struct stat st;

	log_init("test", LOG_LEVEL_DEBUG);
	capture_begin();
	assert_int_equal(fstat(STDERR_FILENO, &st), 0);
	(void) snprintf(stream, sizeof(stream), "%llu:%llu", (unsigned long long) st.st_dev,
	                (unsigned long long) st.st_ino);
	assert_int_equal(setenv("JOURNAL_STREAM", stream, 1), 0);
	log_error("one");
	log_warning("two\n<0>");
	log_info("three");
	log_debug("four");
	log_set_format(LOG_FORMAT_JSON);
	log_info("five");
	log_set_format(LOG_FORMAT_TEXT);
	/* Another file than the journal's. */
	assert_int_equal(setenv("JOURNAL_STREAM", "1:2", 1), 0);
	log_info("six");
	assert_int_equal(unsetenv("JOURNAL_STREAM"), 0);
	capture_end();
	assert_memory_equal(text, expected, strlen(expected));
	assert_non_null(strstr(text, "]: info: six\n"));
}

static void a_name_that_a_peer_chose_cannot_forge_a_line(void **state)
{
	log_init("test", LOG_LEVEL_INFO);
	capture_begin();
	log_info("%s", "a\nb\x1b[2J\xff\x7f");
	capture_end();
	assert_non_null(strstr(text, ": a\\x0ab\\x1b[2J\\xff\\x7f\n"));
	assert_ptr_equal(strchr(text, '\n'), text + strlen(text) - 1);
}

static void a_line_of_any_length_is_cut_and_whole(void **state)
{
	static char longest[5000];

	memset(longest, 1, sizeof(longest) - 1);
	log_init("test", LOG_LEVEL_INFO);
	capture_begin();
	log_info("%s", longest);
	capture_end();
	assert_true(strlen(text) > 8000 || text[strlen(text) - 1] == '\n');
}

static void a_level_above_the_most_is_silent(void **state)
{
	log_init("test", LOG_LEVEL_WARNING);
	capture_begin();
	log_info("not this");
	log_error("but this");
	capture_end();
	assert_null(strstr(text, "not this"));
	assert_non_null(strstr(text, "error: but this"));
}

static void lines_of_one_second_are_limited_and_counted(void **state)
{
	struct log_limit limit = { 0 };
	unsigned allowed = 0;

	log_init("test", LOG_LEVEL_INFO);
	for (unsigned i = 0; i < 1000; i++)
		allowed += log_limit_allows(&limit);
	/* The second may have turned in between. */
	assert_in_range(allowed, LOG_LIMIT_BURST, LOG_LIMIT_BURST + 2);
	limit.at -= 2000;
	limit.left_out = 990;
	capture_begin();
	assert_true(log_limit_allows(&limit));
	capture_end();
	assert_non_null(strstr(text, "990 lines like the next one were left out"));
	assert_true(log_limit_allows(&limit));
	assert_false(log_limit_allows(&limit));
	/* After a pause it is full again, and no fuller. */
	limit.at -= 10 * LOG_LIMIT_BURST * 1000LL;
	allowed = 0;
	for (unsigned i = 0; i < 1000; i++)
		allowed += log_limit_allows(&limit);
	assert_in_range(allowed, LOG_LIMIT_BURST, LOG_LIMIT_BURST + 2);
}

static void what_a_peer_can_cause_is_cut_and_limited(void **state)
{
	char path[4096];
	unsigned lines = 0;

	memset(path, 'x', sizeof(path) - 1);
	path[sizeof(path) - 1] = '\0';
	log_init("test", LOG_LEVEL_INFO);
	capture_begin();
	for (unsigned i = 0; i < 1000; i++)
		log_peer_info("%s", i % 2 == 0 ? path : "short");
	capture_end();
	for (const char *at = text; (at = strchr(at, '\n')) != NULL; at++)
		lines++;
	assert_in_range(lines, LOG_LIMIT_BURST, LOG_LIMIT_BURST + 4);
	assert_true(strlen(text) < LOG_LIMIT_BURST * (LOG_PEER_MAX + 64));
	assert_non_null(strstr(text, "xxx...\n"));
	assert_non_null(strstr(text, "info: short\n"));
}

static void a_line_of_json_is_whole_whatever_the_text(void **state)
{
	char expected[128];

	log_init("test", LOG_LEVEL_INFO);
	log_set_format(LOG_FORMAT_JSON);
	capture_begin();
	log_error("a \"b\" \\ %s", "\n\xff");
	capture_end();
	log_set_format(LOG_FORMAT_TEXT);
	(void) snprintf(expected, sizeof(expected),
	                "Z\",\"level\":\"error\",\"program\":\"test\",\"pid\":%d,"
	                "\"text\":\"a \\\"b\\\" \\\\ \\\\x0a\\\\xff\"}\n",
	                (int) getpid());
	assert_int_equal(strncmp(text, "{\"time\":\"2", 10), 0);
	assert_non_null(strstr(text, expected));
}

static void a_file_that_was_renamed_away_is_made_anew(void **state)
{
	const char *names[] = { "log", "log.1" }, *lines[] = { "second", "first" };
	char bytes[256];
	int keep = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);

	(void) scratch_make();
	log_init("test", LOG_LEVEL_INFO);
	assert_int_equal(log_to_file(scratch_path("log")), 0);
	log_info("first");
	assert_int_equal(rename(scratch_path("log"), scratch_path("log.1")), 0);
	assert_int_equal(log_to_file(scratch_path("log")), 0);
	log_info("second");
	assert_int_equal(log_to_file(scratch_path("none/log")), -ENOENT);
	assert_int_equal(dup2(keep, STDERR_FILENO), STDERR_FILENO);
	close_fd(keep);
	for (unsigned i = 0; i < 2; i++) {
		int fd = open(scratch_path(names[i]), O_RDONLY | O_CLOEXEC);
		ssize_t n = read(fd, bytes, sizeof(bytes) - 1);

		assert_true(n > 0);
		bytes[n] = '\0';
		assert_non_null(strstr(bytes, lines[i]));
		assert_ptr_equal(strchr(bytes, '\n'), bytes + n - 1);
		close_fd(fd);
	}
	scratch_remove();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_line_names_program_process_and_level),
		cmocka_unit_test(the_journal_gets_the_level_alone),
		cmocka_unit_test(a_name_that_a_peer_chose_cannot_forge_a_line),
		cmocka_unit_test(a_line_of_any_length_is_cut_and_whole),
		cmocka_unit_test(a_level_above_the_most_is_silent),
		cmocka_unit_test(a_line_of_json_is_whole_whatever_the_text),
		cmocka_unit_test(a_file_that_was_renamed_away_is_made_anew),
		cmocka_unit_test(lines_of_one_second_are_limited_and_counted),
		cmocka_unit_test(what_a_peer_can_cause_is_cut_and_limited),
	};

	return cmocka_run_group_tests_name("log", tests, NULL, NULL);
}
