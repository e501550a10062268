/* SPDX-License-Identifier: Apache-2.0 */
/* Tables for people: what they show of answers, and in which width. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "ctl/tables.h"
#include "protocol/cleanup.h"
#include "protocol/document.h"
#include "tests/ctl/printed.h"

static const char *table(void (*print)(const json_t *answer), json_t *answer)
{
	assert_non_null(answer);
	printed_begin();
	print(answer);
	json_decref(answer);
	return printed_end();
}

static void shares_are_a_line_each(void **state)
{
	assert_string_equal(
	        table(tables_shares, json_pack("{s[{sb ss ss ss} {sb ss ss ss}]}", "shares", "read_only", 0, "state",
	                                       "active", "source", "settings", "path", "/a", "read_only", 1, "state",
	                                       "missing", "source", "command-line", "path", "/b c")),
	        "rw active   settings     /a\nro missing  command-line /b c\n");
	assert_string_equal(table(tables_shares, json_pack("{s[]}", "shares")), "no directory is shared\n");
}

static void what_moves_a_terminals_cursor_is_not_printed(void **state)
{
	assert_string_equal(table(tables_token, json_pack("{ss}", "token_file", "/a\x1b[2J\x07\n\x7f\xc3\xa4")),
	                    "the token changed; give it to the guest: /a\\x1b[2J\\x07\\x0a\\x7f\xc3\xa4\n");
}

static void a_text_that_is_missing_is_a_dash(void **state)
{
	assert_string_equal(table(tables_token, json_object()), "the token changed; give it to the guest: -\n");
}

static void a_change_tells_how_long_it_lasts(void **state)
{
	assert_string_equal(table(tables_change, json_pack("{ss sb}", "added", "/a", "persistent", 1)), "shared /a\n");
	assert_string_equal(table(tables_change, json_pack("{ss sb}", "added", "/a", "persistent", 0)),
	                    "shared /a (until the server ends)\n");
	assert_string_equal(
	        table(tables_change, json_pack("{ss sb sb}", "removed", "/a", "persistent", 1, "still_shared", 1)),
	        "no longer shared /a, but it lies in another shared directory and can be mounted through that\n");
}

static void status_has_a_line_for_each_mount_and_each_error(void **state)
{
	const char *text =
	        table(tables_status,
	              json_pack("{ss si si s[s] sb ss si s[{si ss sb si si si si si ss}]}", "release", "1.0", "pid", 42,
	                        "since", 0, "listen", "unix:/s", "token", 1, "settings_error", "line 3", "mounts_max",
	                        64, "mounts", "pid", 7, "state", "serving", "read_only", 1, "since", 0, "lanes", 3,
	                        "nodes", 4, "handles", 5, "descriptors", 6, "share", "/home/me"));

	assert_non_null(strstr(text, "bindshare-fileserver 1.0, pid 42, since 19"));
	assert_non_null(strstr(text, "listening at unix:/s, token required\n"));
	assert_non_null(strstr(text, "ERROR: line 3\n"));
	assert_non_null(strstr(text, "1 of 64 shares mounted\n"));
	assert_non_null(strstr(text, "      7 serving  ro 19"));
	assert_non_null(strstr(text, "     3        4       5           6           -        0  /home/me\n"));
}

static void status_tells_of_leases_and_why_there_are_none(void **state)
{
	const char *text =
	        table(tables_status,
	              json_pack("{ss si si s[] si s[{si ss si si s{ss si si si si} ss} {si ss si si s{ss si} ss} "
	                        "{si ss si si ss}]}",
	                        "release", "1.0", "pid", 42, "since", 0, "listen", "mounts_max", 64, "mounts", "pid", 7,
	                        "state", "serving", "since", 0, "descriptors", 6, "leases", "state", "given",
	                        "directories", 1234, "directories_max", 65536, "events", 56, "overflows", 2, "share",
	                        "/a", "pid", 8, "state", "serving", "since", 0, "descriptors", 6, "leases", "state",
	                        "file-system", "directories", 0, "share", "/b", "pid", 9, "state", "serving", "since",
	                        0, "descriptors", 6, "share", "/c"));

	assert_non_null(strstr(text, "DESCRIPTORS      LEASES   EVENTS  SHARE\n"));
	assert_non_null(
	        strstr(text, "          6  1234/65536       56  /a\n        the host's queue of events overflowed 2"));
	assert_non_null(strstr(text, "          6 file-system        0  /b\n        no leases: others can write"));
	/* An older server does not say. */
	assert_non_null(strstr(text, "          6           -        0  /c\n"));
}

static void a_sync_tells_how_many_mounts_it_was_for(void **state)
{
	assert_string_equal(table(tables_sync, json_pack("{si}", "mounts", 3)), "taken in by 3 mounts\n");
}

static void a_mean_of_no_calls_is_zero(void **state)
{
	const char *text =
	        table(tables_stats, json_pack("{s{s{si si si si} s{si si si si}} s[]}", "operations", "read", "count",
	                                      4, "errors", 1, "bytes", 8, "nanoseconds", 8000, "write", "count", 0,
	                                      "errors", 0, "bytes", 0, "nanoseconds", 0, "mounts"));

	assert_non_null(strstr(text, "read                    4          1                8       2.0 us\n"));
	assert_non_null(strstr(text, "write                   0          0                0       0.0 us\n"));
}

static void an_event_tells_what_it_has(void **state)
{
	const char *text = table(tables_event, json_pack("{sf ss ss si ss sb}", "time", 0.5, "event", "mounted",
	                                                 "share", "/a", "pid", 3, "reason", "so", "read_only", 1));

	assert_non_null(strstr(text, " mounted  share: /a  reason: so  ro\n"));
}

static void a_finding_has_its_advice_beneath_it(void **state)
{
	assert_string_equal(
	        table(tables_doctor, json_pack("{s[{ss ss ss so} {ss ss ss ss}]}", "findings", "check", "one", "level",
	                                       "ok", "text", "fine", "advice", json_null(), "check", "two", "level",
	                                       "error", "text", "bad", "advice", "mend it")),
	        "ok       one        fine\nerror    two        bad\n                    mend it\n");
}

/* The rows of top in a terminal of this size. */
static const char *top(const char *share, const char *order, int columns, int lines)
{
	json_t *rows = json_pack("{si s[{si sb sf sf sf sf si ss ss} {si sb ss}]}", "time", 0, "mounts", "pid", 7,
	                         "read_only", 0, "requests_per_second", 12.0, "mean_microseconds", 3.5,
	                         "bytes_per_second", 2e6, "errors_per_second", 1.0, "lanes", 2, "peer", "uid 1000",
	                         "share", share, "pid", 8, "read_only", 1, "share", "/b");

	assert_non_null(rows);
	printed_begin();
	tables_top(rows, order, columns, lines);
	json_decref(rows);
	return printed_end();
}

static size_t longest_line(const char *text)
{
	size_t longest = 0;

	while (*text != '\0') {
		size_t length = strcspn(text, "\n");

		longest = length > longest ? length : longest;
		text += length + (text[length] == '\n');
	}
	return longest;
}

static void top_shows_all_where_there_is_no_terminal(void **state)
{
	const char *text = top("/home/me", NULL, 0, 0);

	assert_non_null(strstr(text, "2 mounts, 12 requests/s, 2.0 MB/s\n"));
	assert_non_null(strstr(text, "ERRORS/S      LEASES EVENTS/S LANES WHO"));
	assert_non_null(strstr(text, "          -        0     2 uid 1000             /home/me\n"));
	assert_null(strstr(text, "q ends"));
}

static void top_fits_into_a_terminal(void **state)
{
	static const int widths[] = { 20, 60, 69, 70, 99, 100, 119, 120, 200 };
	char share[300];

	memset(share, 'x', sizeof(share));
	share[0] = '/';
	strcpy(share + sizeof(share) - 5, "/end");
	for (size_t i = 0; i < ARRAY_SIZE(widths); i++) {
		const char *text = top(share, "requests", widths[i], 0);

		assert_int_equal(strstr(text, "ERRORS/S") != NULL, widths[i] >= 70);
		assert_int_equal(strstr(text, "LANES") != NULL, widths[i] >= 100);
		assert_int_equal(strstr(text, "LEASES") != NULL, widths[i] >= 120);
		if (widths[i] < 60)
			continue; /* no room is left for the share; the row is what it is */
		assert_true(longest_line(text) <= (size_t) widths[i]);
		assert_non_null(strstr(text, "/end\n")); /* its end tells more */
	}
}

static void top_ends_where_the_terminal_does(void **state)
{
	assert_non_null(strstr(top("/a", "requests", 80, 6), "/b\n"));
	assert_null(strstr(top("/a", "requests", 80, 5), "/b\n"));
	assert_non_null(strstr(top("/a", "requests", 80, 5), "/a\n"));
}

static void no_character_is_cut_in_two(void **state)
{
	char share[200] = "/";

	while (strlen(share) < 180)
		strcat(share, "\xc3\xa4");
	for (int width = 60; width < 64; width++) {
		const char *end = strstr(top(share, "requests", width, 0), "...");

		assert_non_null(end);
		assert_int_equal((unsigned char) end[3], 0xc3);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(shares_are_a_line_each),
		cmocka_unit_test(what_moves_a_terminals_cursor_is_not_printed),
		cmocka_unit_test(a_text_that_is_missing_is_a_dash),
		cmocka_unit_test(a_change_tells_how_long_it_lasts),
		cmocka_unit_test(status_has_a_line_for_each_mount_and_each_error),
		cmocka_unit_test(status_tells_of_leases_and_why_there_are_none),
		cmocka_unit_test(a_sync_tells_how_many_mounts_it_was_for),
		cmocka_unit_test(a_mean_of_no_calls_is_zero),
		cmocka_unit_test(an_event_tells_what_it_has),
		cmocka_unit_test(a_finding_has_its_advice_beneath_it),
		cmocka_unit_test(top_shows_all_where_there_is_no_terminal),
		cmocka_unit_test(top_fits_into_a_terminal),
		cmocka_unit_test(top_ends_where_the_terminal_does),
		cmocka_unit_test(no_character_is_cut_in_two),
	};

	(void) setenv("TZ", "UTC", 1);
	return cmocka_run_group_tests_name("tables", tests, NULL, NULL);
}
