/* SPDX-License-Identifier: Apache-2.0 */
/* What happens, as lines of JSON: whole lines with what every event has, also of paths that are no text. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "fileserver/broker/events.h"

static char heard[4096];
static unsigned lines;

static void hear(void *context, const char *line, size_t length)
{
	assert_ptr_equal(context, heard);
	assert_true(length < sizeof(heard));
	memcpy(heard, line, length);
	heard[length] = '\0';
	lines++;
}

static int set_up(void **state)
{
	static struct events events;

	events = (struct events){ .line = hear, .context = heard };
	heard[0] = '\0';
	lines = 0;
	*state = &events;
	return 0;
}

/* The line that was heard last, which must be one line. The caller's. */
static json_t *last(void)
{
	json_t *event = json_loads(heard, 0, NULL);

	assert_non_null(event);
	assert_ptr_equal(strchr(heard, '\n'), heard + strlen(heard) - 1);
	return event;
}

static void an_event_says_what_and_when_and_is_numbered(void **state)
{
	struct events *events = *state;
	double before = (double) time(NULL) - 1;
	json_t *event;

	for (unsigned i = 1; i <= 3; i++) {
		events_tell(events, "share-added", json_pack("{ss}", "path", "/srv"));
		assert_int_equal(lines, i);
		event = last();
		assert_string_equal(json_string_value(json_object_get(event, "event")), "share-added");
		assert_string_equal(json_string_value(json_object_get(event, "path")), "/srv");
		assert_int_equal(json_integer_value(json_object_get(event, "sequence")), i);
		assert_int_equal(json_integer_value(json_object_get(event, "version")), 1);
		assert_true(json_number_value(json_object_get(event, "time")) >= before);
		json_decref(event);
	}
}

static void an_event_needs_no_details(void **state)
{
	json_t *event;

	events_tell(*state, "settings-read", NULL);
	event = last();
	assert_string_equal(json_string_value(json_object_get(event, "event")), "settings-read");
	json_decref(event);
}

static void a_line_stays_one_line(void **state)
{
	json_t *event;

	events_tell(*state, "share-added", json_pack("{ss}", "path", "/with\na line\r and \x1b[H"));
	event = last();
	assert_string_equal(json_string_value(json_object_get(event, "path")), "/with\na line\r and \x1b[H");
	json_decref(event);
}

static void where_nobody_listens_nothing_is_counted(void **state)
{
	struct events *events = *state;

	events->line = NULL;
	events_tell(events, "share-added", json_object());
	assert_int_equal(events->sequence, 0);
	events_tell(NULL, "share-added", json_object());
	assert_int_equal(lines, 0);
}

static void assert_text(const char *bytes, const char *expected)
{
	json_t *text = events_text(bytes);

	assert_string_equal(json_string_value(text), expected);
	json_decref(text);
}

static void bytes_that_are_no_text_become_question_marks(void **state)
{
	assert_text("/srv/plain", "/srv/plain");
	assert_text("", "");
	assert_text("/srv/gr\xc3\xbc\xc3\x9f", "/srv/gr\xc3\xbc\xc3\x9f");
	assert_text("/srv/\xff", "/srv/?");
	assert_text("\x80/\xfe", "?/?");
}

#define TEST(function) cmocka_unit_test_setup(function, set_up)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(an_event_says_what_and_when_and_is_numbered),
		TEST(an_event_needs_no_details),
		TEST(a_line_stays_one_line),
		TEST(where_nobody_listens_nothing_is_counted),
		TEST(bytes_that_are_no_text_become_question_marks),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
